"""Who serves a data directory: finding a postmaster left behind, proving that it is ours, and ending it.

PostgreSQL refuses to start while `postmaster.pid` names a living process. After a power cut, or in a container where
process ids start again from 1, that process may be anything; these functions tell the cases apart before a file is
removed or a signal is sent.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import psycopg

from tegata.postgres.target import ConnectionTarget


class EmbeddedPostgresError(Exception):
    """The embedded server cannot be started or stopped; the message says what to do about it."""


def cluster_name(data: Path) -> str:
    """Return the name that the processes of this data directory carry in their titles."""
    return f"tegata-{sha256(str(data).encode()).hexdigest()[:12]}"


def read_pid(data: Path) -> int | None:
    """Return the process id in `postmaster.pid`; None if there is none or it is unreadable."""
    try:
        return int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def is_ready(data: Path, pid: int) -> bool:
    """Whether the postmaster `pid` has written that it accepts connections (line 8 of its lock file)."""
    try:
        lines = (data / "postmaster.pid").read_text().split("\n")
    except OSError:
        return False
    return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"


def is_alive(pid: int) -> bool:
    """Whether a process with this id exists (a zombie does not count where /proc can tell)."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def end_leftover(data: Path, target: ConnectionTarget, *, timeout_seconds: float = 20.0) -> None:
    """End what still serves `data` and remove lock files that nobody holds.

    The caller holds the lock of the state directory, so whatever runs here lost its parent. Raises
    `EmbeddedPostgresError` rather than signal a process, or remove a file, that is not provably ours.
    """
    pid = read_pid(data)
    ours = _processes_of(data)
    if pid is not None and is_alive(pid) and (_answers_for(data, target) if ours is None else pid in ours):
        _end(pid, timeout_seconds)
    deadline = time.monotonic() + timeout_seconds
    while remaining := _processes_of(data):
        # Children notice that their postmaster is gone by themselves; starting before would risk the data.
        if time.monotonic() > deadline:
            raise EmbeddedPostgresError(f"PostgreSQL processes {sorted(remaining)} still use {data}; end them first")
        time.sleep(0.02)
    pid = read_pid(data)
    if pid is not None and is_alive(pid):
        if ours is None:
            raise EmbeddedPostgresError(
                f"{data / 'postmaster.pid'} names process {pid}, which is alive and cannot be proved to be a "
                "PostgreSQL of this directory; if it is none, remove that file"
            )
        (data / "postmaster.pid").unlink(missing_ok=True)
    for name in (f".s.PGSQL.{target.port}", f".s.PGSQL.{target.port}.lock"):
        (Path(target.host) / name).unlink(missing_ok=True)


def _processes_of(data: Path) -> frozenset[int] | None:
    """Return the processes that serve `data`; None where there is no /proc to tell.

    Found by command line, which everybody may read, unlike /proc/PID/cwd.
    """
    if not sys.platform.startswith("linux"):
        return None
    title = f"postgres: {cluster_name(data)}: ".encode()
    argument = b"\0-D\0" + os.fsencode(data) + b"\0"
    found = set()
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            line = Path(entry.path, "cmdline").read_bytes()
            program = line.split(b"\0", 1)[0]
            if line.startswith(title) or (program.endswith(b"/postgres") and argument in line):
                found.add(int(entry.name))
    return frozenset(pid for pid in found if is_alive(pid))


def _answers_for(data: Path, target: ConnectionTarget) -> bool:
    """Whether the server behind our private socket says that it serves `data`."""
    try:
        with psycopg.connect(target.psycopg_conninfo(), connect_timeout=2) as connection:
            row = connection.execute("show data_directory").fetchone()
    except psycopg.Error:
        return False
    return row is not None and Path(str(row[0])) == data


def _end(pid: int, timeout_seconds: float) -> None:
    """Fast shutdown, then immediate shutdown. SIGKILL is never sent: it would leave shared memory behind."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + timeout_seconds / 2
        while time.monotonic() < deadline:
            if not is_alive(pid):
                return
            time.sleep(0.01)
    raise EmbeddedPostgresError(f"the PostgreSQL server {pid} left behind earlier does not end; end it by hand")
