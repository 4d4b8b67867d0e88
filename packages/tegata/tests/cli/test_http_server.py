"""The HTTP server's own limits, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tegata.cli import http_server
from tegata.cli.http_server import HttpServer, bind

pytestmark = pytest.mark.anyio
PATIENCE_SECONDS = 60


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server that waits for headers for a moment only, and no longer between requests."""
    monkeypatch.setattr(http_server, "HEADER_SECONDS", 0.2)
    monkeypatch.setattr(http_server, "_KEEP_ALIVE_SECONDS", 1)
    ready = asyncio.Event()
    with bind("127.0.0.1", 0) as listener:
        server = HttpServer(hello, shutdown_seconds=1, started=ready.set)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await ready.wait()
        yield listener.getsockname()[1]
        server.should_exit = True
        await serving


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Return what still comes until the server closes."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        try:
            return await reader.read()
        except ConnectionError:  # we were so slow that it had closed before we wrote
            return b""


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\r\n", id="an empty line"),
        pytest.param(b"GET / HT", id="half a request line"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ", id="half a header"),
    ],
)
async def test_a_connection_whose_request_never_comes_is_closed(port: int, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    assert await ended(reader) == b""
    writer.close()


async def test_a_second_request_that_never_ends_is_given_up_as_well(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "HEADER_SECONDS", PATIENCE_SECONDS)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for seconds in (PATIENCE_SECONDS, 0.2):
        # From here on: what counts for a request is what was said when the one before it ended.
        monkeypatch.setattr(http_server, "HEADER_SECONDS", seconds)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
    writer.write(b"GET / HTTP/1.1\r\nHost:")
    assert await ended(reader) == b""
    writer.close()


async def test_a_server_that_is_told_to_stop_serves_until_it_has_drained_and_then_ends_by_itself() -> None:
    ready, begun, drained = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def drain() -> None:
        begun.set()
        await drained.wait()

    with bind("127.0.0.1", 0) as listener:
        server = HttpServer(hello, shutdown_seconds=1, started=ready.set, drain=drain)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await ready.wait()
            server.stop()
            await begun.wait()
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await ended(reader)).endswith(b"hello")
            writer.close()
            assert not server.should_exit
            drained.set()
            await serving
