"""Start and stop `tegata dev`, alone for one test or once for a whole test run."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from .contract import Dev, read_dev
from .guardian import is_running

TEGATA = str(Path(sys.executable).parent / "tegata")
START_SECONDS = 60
STOP_SECONDS = 30


def make_home() -> Path:
    """A fresh state directory: short, for a Unix socket; enterable, for a database that another user owns."""
    home = Path(tempfile.mkdtemp(prefix="tegata-"))
    home.chmod(0o755)
    return home


def clean_environment(home: Path, **extra: str) -> dict[str, str]:
    """This process's environment without any Tegata setting of the person who runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEGATA_", "DATABASE_URL"))}
    return kept | {"TEGATA_HOME": str(home), "TEGATA_PORT": "0", "PYTHONUNBUFFERED": "1"} | extra


@dataclass(slots=True)
class Running:
    """One `tegata dev` process that a test owns."""

    process: subprocess.Popen[bytes]
    home: Path
    log: Path
    dev: Dev

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal to this process only, and give its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


def start(home: Path, *arguments: str, command: list[str] | None = None) -> Running:
    """Start `tegata dev`, and come back when it answers.

    The address is read from a dev.json written by this start, not by an earlier one.
    """
    descriptor, name = tempfile.mkstemp(prefix="tegata-dev-", suffix=".log")
    log = Path(name)
    written_before = _stamp(home)
    with os.fdopen(descriptor, "wb") as sink:
        process = subprocess.Popen(
            [*(command or [TEGATA, "dev"]), *arguments],
            env=clean_environment(home),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(
                f"tegata dev ended with {process.returncode}:\n{log.read_text(errors='replace')[-4000:]}"
            )
        if _stamp(home) != written_before and (dev := _answering(home)) is not None:
            return Running(process, home, log, dev)
        time.sleep(0.05)
    process.terminate()
    process.wait(STOP_SECONDS)
    raise RuntimeError(f"tegata dev did not answer in {START_SECONDS} s:\n{log.read_text(errors='replace')[-4000:]}")


def _stamp(home: Path) -> tuple[int, int] | None:
    try:
        found = (home / "dev.json").stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _answering(home: Path) -> Dev | None:
    try:
        dev = read_dev(home)
        return dev if httpx2.get(dev.base_url + "/livez", timeout=5, verify=False).status_code == 200 else None
    except (ValueError, httpx2.TransportError):
        return None


def processes_of(home: Path) -> list[str]:
    """Command lines of all processes that name this state directory (the database among them)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(home) in words and is_running(int(entry.name)):
                found.append(f"{entry.name}: {words}")
    return found


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that processes of this machine share through the file."""
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def shared(place: Path, run: int) -> Iterator[Path]:
    """One server for all worker processes of the test run with process id `run`: first starts it, last stops it."""
    lock, state, users = place / "tegata.lock", place / "tegata.state", place / "tegata.users"
    with locked(lock):
        users.mkdir(exist_ok=True)
        home = _join(state, run)
        (users / str(os.getpid())).touch()
    try:
        yield home
    finally:
        with locked(lock):
            (users / str(os.getpid())).unlink()
            if not any(is_running(int(user.name)) for user in users.iterdir()):
                _stop_shared(state)


def _join(state: Path, run: int) -> Path:
    if state.exists():
        pid, _, place = state.read_text().partition(" ")
        home = Path(place)
        if is_running(int(pid)):
            return home
    else:
        home = make_home()
    guardian = str(Path(__file__).with_name("guardian.py"))
    running = start(home, command=[sys.executable, guardian, str(run), TEGATA, "dev"])
    _forget(running.process)
    state.write_text(f"{running.process.pid} {home}")
    return home


def _forget(process: subprocess.Popen[bytes]) -> None:
    """Another worker may have to stop it: keep Popen from warning that it still runs when it is collected."""
    process.returncode = 0


def _stop_shared(state: Path) -> None:
    if not state.exists():
        return
    pid = int(state.read_text().partition(" ")[0])
    if not is_running(pid):
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
