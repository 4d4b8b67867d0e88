"""Runs one process as a container runs: with bubblewrap, which needs neither root nor a service.

What the kernel does here is what it does in a container: the process is number 1, it is a user without a name, it has
no capability and can get none, and what it sees of the file system is read-only but for what it was given. The network
is the machine's, or none; addresses and ports are the caller's affair.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin")
"""What an image has from its distribution, taken from the machine's."""
ETC = ("ssl/certs", "ssl/openssl.cnf", "ld.so.cache", "nsswitch.conf", "hosts", "resolv.conf")
_PASSWD = "root:x:0:0:root:/root:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Container:
    """What an engine is told. Paths of `mounts` and `writable` are those inside; `given` is its standard input."""

    command: Sequence[str]
    environment: Mapping[str, str]
    user: str = "10001:10001"
    mounts: Mapping[str, Path] = field(default_factory=dict)
    writable: Mapping[str, Path] = field(default_factory=dict)
    memory: Sequence[str] = ()
    workdir: str = "/"
    has_network: bool = True
    given: bytes = b""


def find_bubblewrap() -> str | None:
    """Return where bubblewrap is, None if it is not installed."""
    return shutil.which("bwrap")


def why_not() -> str | None:
    """Return why no sandbox can be had here, None if one can."""
    program = find_bubblewrap()
    if program is None:
        return "bubblewrap is not installed"
    tried = [program, "--ro-bind", "/", "/", "--unshare-all", "--uid", "10001", "--proc", "/proc", "true"]
    done = subprocess.run(tried, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"this kernel gives no user namespace: {done.stderr.strip()}"


class Running:
    """A started container: `log` is all it has written."""

    def __init__(self, process: subprocess.Popen[bytes], pid: int, log: Path) -> None:
        self._process, self.pid, self._log = process, pid, log

    @property
    def log(self) -> str:
        """Standard output and standard error."""
        return self._log.read_text(errors="replace")

    @property
    def status(self) -> int | None:
        """The exit status, None while it runs."""
        return self._process.poll()

    def wait(self, timeout: float = PATIENCE_SECONDS) -> int:
        """Wait for its end and return the exit status."""
        return self._process.wait(timeout)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to process 1, as an engine does."""
        os.kill(self.pid, number)

    def stop(self, timeout: float = PATIENCE_SECONDS) -> int:
        """Stop as `docker stop` does: SIGTERM, and SIGKILL when the time is over. Return the exit status."""
        if self.status is None:
            try:
                self.signal(signal.SIGTERM)
                return self.wait(timeout)
            except ProcessLookupError:
                pass
            except subprocess.TimeoutExpired:
                self.kill()
        return self.wait()

    def kill(self) -> None:
        """End it without a word; with process 1 every other one ends."""
        self._process.kill()
        self._process.wait()


def start(container: Container, root: Mapping[str, Path], log: Path) -> Running:
    """Start a container on `root`: folders of an image by the path they have in it."""
    reader, writer = os.pipe()
    try:
        passwd = log.with_suffix(".passwd")
        passwd.write_text(_PASSWD)
        command = [*_arguments(container, root, passwd), "--info-fd", str(writer), "--", *container.command]
        given = log.with_suffix(".stdin")
        given.write_bytes(container.given)
        with log.open("wb") as sink, given.open("rb") as source:
            process = subprocess.Popen(
                [find_bubblewrap() or "bwrap", *command],
                stdin=source,
                stdout=sink,
                stderr=sink,
                pass_fds=[writer],
                env={},
            )
    finally:
        os.close(writer)
    with open(reader) as told:
        text = told.read()
    if not text:
        process.wait()
        raise RuntimeError(f"no sandbox: {log.read_text()}")
    return Running(process, int(json.loads(text)["child-pid"]), log)


def run(container: Container, root: Mapping[str, Path], log: Path, timeout: float = PATIENCE_SECONDS) -> Running:
    """Start a container and wait for its end."""
    running = start(container, root, log)
    try:
        running.wait(timeout)
    except subprocess.TimeoutExpired:
        running.kill()
        raise RuntimeError(f"{' '.join(container.command)} did not end:\n{running.log}") from None
    return running


def _arguments(container: Container, root: Mapping[str, Path], passwd: Path) -> list[str]:
    uid, _, gid = container.user.partition(":")
    words = [
        "--unshare-all",
        *(["--share-net"] if container.has_network else []),
        "--uid",
        uid,
        "--gid",
        gid or uid,
        "--cap-drop",
        "ALL",
    ]
    words += ["--as-pid-1", "--die-with-parent", "--new-session", "--hostname", "container"]
    words += ["--proc", "/proc", "--dev", "/dev"]
    for path in SYSTEM:
        if Path(path).is_symlink():
            words += ["--symlink", os.readlink(path), path]
        elif Path(path).exists():
            words += ["--ro-bind", path, path]
    words += ["--ro-bind", sys.base_prefix, sys.base_prefix]
    for name in ETC:
        words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    words += ["--ro-bind", str(passwd), "/etc/passwd"]
    for where, place in {**root, **container.mounts}.items():
        words += ["--ro-bind", str(place), where]
    for where in container.memory:
        words += ["--tmpfs", where]
    for where, place in container.writable.items():
        words += ["--bind", str(place), where]
    # The rest of the root was made of memory to hold the mounts.
    words += ["--remount-ro", "/", "--chdir", container.workdir, "--clearenv"]
    for name, value in container.environment.items():
        words += ["--setenv", name, value]
    return words
