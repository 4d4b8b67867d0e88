"""Start and stop `tegata dev`, alone for one test or once for a whole test run."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tegata.testing.warm_starts import WarmPopen

from .contract import Dev, read_dev
from .guardian import is_running

TEGATA = str(Path(sys.executable).parent / "tegata")
START_SECONDS = 120
STOP_SECONDS = 60
# Many sign in as the same person, from one address and at once, and on a busy machine that takes a while.
CROWDED = {
    "TEGATA_THROTTLE_ACCOUNT_FAILURES": "1000",
    "TEGATA_THROTTLE_ADDRESS_FAILURES": "1000",
    "TEGATA_DATABASE_POOL_WAIT_SECONDS": "60",
    "TEGATA_DATABASE_STATEMENT_TIMEOUT_SECONDS": "60",
}


def make_home() -> Path:
    """A fresh state directory: short, for a Unix socket; enterable, for a database that another user owns."""
    place = Path(tempfile.mkdtemp(prefix="tegata-"))
    place.chmod(0o755)
    return place / "home"


def remove_home(home: Path) -> None:
    """Remove the directory and the logs beside it."""
    shutil.rmtree(home.parent, ignore_errors=True)


def clean_environment(home: Path, **extra: str) -> dict[str, str]:
    """This process's environment without any setting of Tegata or Python of the person who runs the tests."""
    others = ("TEGATA_", "DATABASE_URL", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    return kept | {"TEGATA_HOME": str(home), "TEGATA_PORT": "0"} | extra


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


def start(home: Path, *arguments: str, command: list[str] | None = None, **settings: str) -> Running:
    """Start `tegata dev`, and come back when it answers.

    The address is read from a dev.json written by this start, not by an earlier one.
    """
    log = home.parent / f"dev-{time.monotonic_ns()}.log"
    written_before = _stamp(home)
    with log.open("wb") as sink:
        process = WarmPopen(
            [*(command or [TEGATA, "dev"]), *arguments],
            env=clean_environment(home, **settings),
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
        return dev if httpx2.get(dev.base_url + "/livez", timeout=20, verify=False).status_code == 200 else None
    except (OSError, ValueError, httpx2.TransportError):
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


@dataclass(frozen=True, slots=True)
class SharedRun:
    """One server for all worker processes of the test run whose process id is `run`.

    Each worker enters before the first test and leaves after its last one; the last to leave stops the server.
    Not in pytest's temporary directory: another test run of the same user may clear that away.
    """

    run: int

    @property
    def _place(self) -> Path:
        return Path(tempfile.gettempdir(), f"tegata-run-{os.getuid()}-{self.run}")

    @property
    def _state(self) -> Path:
        return self._place / "server"

    def enter(self) -> None:
        (self._place / "workers").mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._place / "workers" / str(os.getpid())).touch()

    def leave(self) -> None:
        with locked(self._place / "lock"):
            workers = self._place / "workers"
            (workers / str(os.getpid())).unlink()
            if any(is_running(int(worker.name)) for worker in workers.iterdir()):
                return
            if self._state.exists():
                pid, home = self._read()
                _stop(pid)
                remove_home(home)
            shutil.rmtree(self._place)

    def home(self, prepare: Callable[[Path], None]) -> Path:
        """Give the server's state directory; start and prepare the server if nobody has."""
        with locked(self._place / "lock"):
            if self._state.exists():
                pid, home = self._read()
                if is_running(pid):
                    return home
            home = make_home()
            guardian = str(Path(__file__).with_name("guardian.py"))
            running = start(home, command=[sys.executable, guardian, str(self.run), TEGATA, "dev"], **CROWDED)
            _forget(running.process)
            prepare(home)
            self._state.write_text(f"{running.process.pid} {home}")
            return home

    def _read(self) -> tuple[int, Path]:
        pid, _, home = self._state.read_text().partition(" ")
        return int(pid), Path(home)


def _forget(process: subprocess.Popen[bytes]) -> None:
    """Another worker may have to stop it: keep Popen from warning that it still runs when it is collected."""
    process.returncode = 0


def _stop(pid: int) -> None:
    if is_running(pid):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
