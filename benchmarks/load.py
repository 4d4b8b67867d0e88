"""A closed-loop load generator over keep-alive connections, cheap enough not to be what is measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reply:
    """A response: status, lower-case headers as text, body."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the first header of that name."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.lower() == name.encode():
                return value.strip().decode()
        return None


class Connection:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, request: bytes) -> Reply:
        """Send a whole request and read the whole response."""
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 : lower.index(b"\r\n", at)]) if at >= 0 else 0
        body = await self._reader.readexactly(length) if length else b""
        return Reply(int(head[9:12]), head, body)

    def close(self) -> None:
        """Close the connection."""
        if self._writer is not None:
            self._writer.close()


def build_request(method: str, path: str, port: int, *, headers: dict[str, str] | None = None, body: str = "") -> bytes:
    """Return the bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if method == "POST":
        lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body.encode())}"]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


@dataclass(slots=True)
class Outcome:
    """What a run counted. `latencies` in seconds."""

    operations: int = 0
    errors: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Return a percentile of the latencies in milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else 0.0


Operation = Callable[[Connection], Awaitable[bool]]


async def run(port: int, make: Callable[[int], Awaitable[Operation]], *, connections: int, seconds: float) -> Outcome:
    """Run one operation per connection over and over. `make(index)` prepares each connection's own state."""
    outcome = Outcome()
    operations = [await make(index) for index in range(connections)]
    began = time.perf_counter()
    end = began + seconds

    async def loop(operation: Operation) -> None:
        connection = Connection(port)
        while (start := time.perf_counter()) < end:
            fine = await operation(connection)
            outcome.latencies.append(time.perf_counter() - start)
            outcome.operations += 1
            outcome.errors += not fine
        connection.close()

    await asyncio.gather(*(loop(operation) for operation in operations))
    outcome.seconds = time.perf_counter() - began
    return outcome
