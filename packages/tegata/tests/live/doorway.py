"""The way to the store of secrets, which can be closed: then connections are refused, as when nothing is there."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType


class Doorway:
    """Passes on what arrives at `address`, while it is open."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def address(self) -> str:
        """Where it is, open or closed."""
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        """Let everybody through, at the same port as before."""
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse new connections and cut the others."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks)

    async def __aenter__(self) -> Doorway:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        back, onward = await asyncio.open_connection("127.0.0.1", self._to)
        writers = {writer, onward}
        self._writers |= writers
        await asyncio.gather(_copy(reader, onward), _copy(back, writer))
        self._writers -= writers


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while content := await reader.read(65_536):
            writer.write(content)
            await writer.drain()
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
