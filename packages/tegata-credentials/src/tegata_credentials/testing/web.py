"""A web server on loopback that reads one request for each connection and can be made to misbehave.

It is as small as a stand-in may be: no keep-alive, no chunked bodies. Clients of it are the SDKs of others.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .ports import free_port

_LONGEST_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `parameters` are those of the query and of a form."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    parameters: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it goes over the wire: bytes as they are, anything else as JSON."""

    status: int = 200
    content: Any = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the whole answer."""
        body = self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()
        lines = [f"HTTP/1.1 {self.status} -", f"content-type: {self.content_type}", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "connection: close", "", ""]).encode() + body


class LoopbackServer:
    """Gives each request to `handle`, on one port that stays the same when it goes down and comes back."""

    def __init__(self, handle: Callable[[Request], Awaitable[Answer]], *, tls: ssl.SSLContext | None = None) -> None:
        self._handle = handle
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0

    async def open(self) -> None:
        """Listen; the first time on a free port, which nobody else gets while it is down."""
        self.port = self.port or free_port()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)

    async def close(self) -> None:
        """Stop listening and end what is under way: the next client is refused by the operating system."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            request = await _read_request(reader)
            writer.write((await self._handle(request)).to_bytes())
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # a client that went away or spoke no HTTP gets no answer
        finally:
            self._connections.discard(task)
            writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    start, *lines = head.strip().split("\r\n")
    method, target, _version = start.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= _LONGEST_BODY:
        raise ValueError("a body of this length is not read")
    body = (await reader.readexactly(length)).decode("latin-1")
    address = urlsplit(target)
    parameters = dict(parse_qsl(address.query)) | dict(parse_qsl(body))
    return Request(method, address.path, headers, parameters)
