"""An issuer's web server on loopback, and a clock set by hand."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from tegata_verify import CachePolicy, Generic, Tegata, Verifier
from tegata_verify.testing import TestIssuer

PATIENCE_SECONDS = 60
"""For what must happen: on a machine that has other things to do it may take its time."""


async def until(condition: Callable[[], object]) -> None:
    """Return when it has come about."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.001)


def wait_until(condition: Callable[[], object]) -> None:
    """Return when it has come about, for threads."""
    late = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < late, "it did not come about"
        time.sleep(0.01)


@dataclass
class Answer:
    """One HTTP answer, as it goes over the wire."""

    content: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drip_seconds: float | None = None

    @property
    def body(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()


@dataclass
class Clock:
    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class IssuerServer:
    """A real HTTP server that publishes a `TestIssuer`, counts what it is asked, and misbehaves on demand.

    `answers` maps a path to an `Answer`, or to a function of the request's headers that gives one. While `gate` is
    cleared, answers wait.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.requests: Counter[str] = Counter()
        self.seen: list[dict[str, str]] = []
        self.answers: dict[str, Answer | Callable[[dict[str, str]], Answer]] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.connections: set[asyncio.Task[None]] = set()

    def publish(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.signer = TestIssuer(f"{self.base}/demo", clock=self.clock)
        self.answers["/demo/.well-known/openid-configuration"] = lambda _: Answer(
            {"issuer": self.signer.issuer, "jwks_uri": f"{self.base}/demo/jwks"}
        )
        self.answers["/demo/jwks"] = lambda _: Answer(self.signer.jwks())

    @property
    def fetches(self) -> int:
        """How often the keys were asked for."""
        return self.requests["/demo/jwks"]

    @property
    def rules(self) -> Tegata:
        return Tegata(self.signer.issuer, [self.signer.audience], allow_loopback_http=True)

    def verifier(self, rules: Generic | None = None, **policy: Any) -> Verifier:
        patient = CachePolicy(**{"timeout": PATIENCE_SECONDS, **policy})
        return Verifier(rules or self.rules, clock=self.clock, cache_policy=patient)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self.connections.add(connection)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            request_line, *lines = head.strip().split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
            path = request_line.split(" ")[1]
            self.requests[path] += 1
            self.seen.append(headers)
            await self.gate.wait()
            found = self.answers.get(path, Answer(status=404))
            await self._write(writer, found(headers) if callable(found) else found)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self.connections.discard(connection)

    async def _write(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        head = f"HTTP/1.1 {answer.status} X\r\nconnection: close\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        writer.write(f"{head}\r\n".encode())
        if answer.drip_seconds is None:
            writer.write(answer.body if answer.status != 304 else b"")
        else:
            for byte in answer.body:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(answer.drip_seconds)
        await writer.drain()


@asynccontextmanager
async def serve(clock: Clock) -> AsyncIterator[IssuerServer]:
    issuer = IssuerServer(clock)
    server = await asyncio.start_server(issuer.handle, "127.0.0.1", 0)
    issuer.publish(server.sockets[0].getsockname()[1])
    async with server:
        yield issuer
    for connection in issuer.connections:
        connection.cancel()
    await asyncio.gather(*issuer.connections, return_exceptions=True)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server(clock: Clock, anyio_backend: str) -> AsyncIterator[IssuerServer]:
    async with serve(clock) as issuer:
        yield issuer


@pytest.fixture(name="until")
def until_fixture() -> Callable[[Callable[[], object]], Awaitable[None]]:
    return until


@pytest.fixture(name="wait_until", scope="session")
def wait_until_fixture() -> Callable[[Callable[[], object]], None]:
    return wait_until


@pytest.fixture
def answer() -> type[Answer]:
    return Answer
