"""Server processes that answer at one address tell each other their metrics, over sockets in a private directory.

Whichever process is asked by the collector asks the others at that moment. Nothing is written down in between, and a
process that has died is simply not there; the one that replaces it takes its number.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from tegata.telemetry.metrics import Sample, Source, as_json, from_json

MOST_WORKERS = 64
PATIENCE_SECONDS = 1.0  # with another process


class SharedMetrics:
    """Implements `telemetry.metrics.Workers` for processes that were given the same directory (mode 0700)."""

    def __init__(self, directory: Path, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._directory = directory
        self._patience = patience_seconds
        self._own: Source = tuple
        self._number = ""
        self._lock: IO[str] | None = None
        self._server: asyncio.Server | None = None

    async def start(self, own: Source) -> None:
        self._own = own
        self._take_number()
        path = self._socket(self._number)
        path.unlink(missing_ok=True)  # of the process that had this number before
        self._server = await asyncio.start_unix_server(self._tell, path)

    async def samples(self) -> Mapping[str, Sequence[Sample]]:
        others = [path.stem for path in sorted(self._directory.glob("*.sock")) if path.stem != self._number]
        answers = await asyncio.gather(*(self._ask(number) for number in others))
        found = {number: answer for number, answer in zip(others, answers, strict=True) if answer is not None}
        return {self._number: list(self._own()), **found}

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
            self._socket(self._number).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take_number(self) -> None:
        """Take the lowest number that no living process has: the kernel gives a lock back when its holder dies."""
        for number in range(MOST_WORKERS):
            lock = (self._directory / f"{number}.lock").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
            else:
                self._lock, self._number = lock, str(number)
                return
        raise RuntimeError(f"more than {MOST_WORKERS} server processes share {self._directory}")

    def _socket(self, number: str) -> Path:
        return self._directory / f"{number}.sock"

    async def _tell(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(json.dumps(as_json(self._own())).encode())
            await writer.drain()
        writer.close()

    async def _ask(self, number: str) -> list[Sample] | None:
        """Return another process's samples; None if it is gone, or does not answer in time."""
        with suppress(OSError, ValueError, TimeoutError):
            async with asyncio.timeout(self._patience):
                reader, writer = await asyncio.open_unix_connection(self._socket(number))
                try:
                    return from_json(json.loads(await reader.read()))
                finally:
                    writer.close()
        return None
