"""A PostgreSQL that keeps what it has committed, for tests that kill it, pause it and start it again."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tegata.postgres.bootstrap import bootstrap
from tegata.postgres.embedded import EmbeddedPostgres
from tegata.postgres.migrate import migrate
from tegata.postgres.postmaster import is_alive, read_pid
from tegata.testing.clusters import MigratedDatabase

_PATIENCE_SECONDS = 60.0


class DurableDatabase:
    """One migrated database on a disk, with fsync and synchronous commits as PostgreSQL has them by default."""

    def __init__(self, bindir: Path | None = None, *, settings: dict[str, str] | None = None) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="tegata-durable-"))
        self._state = self._directory / "pg"
        self._server = EmbeddedPostgres(self._state, bindir=bindir, settings=settings)

    def __enter__(self) -> MigratedDatabase:
        target = self._server.start()
        bootstrap(target)
        migrate(target)
        return MigratedDatabase.of(target)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resume()
        self._server.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def postmaster(self) -> int:
        """The process that takes connections and watches all others."""
        pid = read_pid(self._state / "data")
        assert pid is not None, "the server does not run"
        return pid

    def sessions(self) -> list[int]:
        """Return the processes that serve sessions."""
        pids = []
        for pid in _children(self.postmaster):
            with suppress(OSError):
                # The title says who is served: "postgres: cluster: user database client state".
                if b"tegata_app" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    pids.append(pid)
        return pids

    def kill(self) -> None:
        """Kill every process of the server at once, as a machine that loses its power would."""
        postmaster = self.postmaster
        self.pause()  # it begets nobody any more
        everybody = [postmaster, *_children(postmaster)]
        _kill(everybody)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while any(is_alive(pid) for pid in everybody):
            assert time.monotonic() < deadline, "a killed process lives on"
            time.sleep(0.005)

    def kill_one_session(self) -> None:
        """Kill one session's process: the server then ends all others and recovers by itself."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not (sessions := self.sessions()):
            assert time.monotonic() < deadline, "nobody has a session"
            time.sleep(0.005)
        _kill(sessions[:1])

    def start_again(self) -> None:
        """Start what was killed; it recovers from its log first."""
        self._server.stop()  # takes note of the end
        self._server.start()

    def pause(self) -> None:
        """Stop the postmaster in its tracks: the kernel still takes connections, and nobody answers them."""
        postmaster = self.postmaster
        os.kill(postmaster, signal.SIGSTOP)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < deadline, "a stopped process goes on"
            time.sleep(0.001)

    def resume(self) -> None:
        """Let a paused postmaster go on."""
        pid = read_pid(self._state / "data")
        if pid is not None and is_alive(pid):
            os.kill(pid, signal.SIGCONT)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
