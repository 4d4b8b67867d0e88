"""Health: alive says nothing of the database, ready says everything, and nobody is told internals (pitfalls P102)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tegata.api.health import HealthEndpoints
from tegata.api.http import Request
from tegata.storage.errors import Unavailable
from tegata.telemetry.audit import Origin

pytestmark = pytest.mark.anyio
PATHS = {"/livez", "/readyz", "/healthz", "/health/db", "/actuator/health"}


class FakeDatabase:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def check(self) -> None:
        self.asked += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error


class Clock:
    """A clock set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def never() -> dict[str, Any]:
    raise AssertionError


class Server:
    """The endpoints over a database and a clock that the test holds."""

    def __init__(self) -> None:
        self.database, self.clock = FakeDatabase(), Clock()
        self.health = HealthEndpoints(self.database, self.clock, auth_method="managed_identity")

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        request = Request({"method": "GET", "path": path, "headers": [], "query_string": b""}, never, Origin(None, "r"))
        response = await self.health.routes()[path](request)
        assert (b"cache-control", b"no-store") in response.headers
        return response.status, json.loads(response.body)


async def test_every_address_answers_when_all_is_well() -> None:
    server = Server()
    assert set(server.health.routes()) == PATHS
    assert await server.get("/livez") == (200, {"status": "ok"})
    assert await server.get("/readyz") == await server.get("/healthz") == (200, {"status": "ok"})
    assert await server.get("/actuator/health") == (200, {"status": "UP"})
    assert await server.get("/health/db") == (
        200,
        {"status": "healthy", "database": "connected", "auth_method": "managed_identity"},
    )


async def test_without_its_database_the_server_is_alive_and_not_ready() -> None:
    server = Server()
    server.database.error = Unavailable("host db.internal refused user tegata_app")
    assert (await server.get("/livez"))[0] == 200
    for path in PATHS - {"/livez"}:
        status, document = await server.get(path)
        assert status == 503
        assert "db.internal" not in str(document)
    unhealthy = {"status": "unhealthy", "database": "disconnected", "auth_method": "managed_identity"}
    assert (await server.get("/health/db"))[1] == unhealthy


async def test_the_database_is_asked_once_a_second_however_many_ask() -> None:
    server = Server()
    for _ in range(10):
        await server.get("/readyz")
        await server.get("/health/db")
    assert server.database.asked == 1
    server.clock.now += 1.0
    await server.get("/readyz")
    assert server.database.asked == 2


async def test_two_who_ask_at_once_wait_for_one_answer() -> None:
    """The second must not be told what was known before: at the start that is nothing."""
    server = Server()
    server.database.gate.clear()
    both = [asyncio.create_task(server.get("/readyz")) for _ in range(2)]
    await asyncio.sleep(0.01)
    server.database.gate.set()
    assert [status for status, _ in await asyncio.gather(*both)] == [200, 200]
    assert server.database.asked == 1


async def test_one_who_goes_away_does_not_spoil_the_answer_for_the_other() -> None:
    server = Server()
    server.database.gate.clear()
    first, second = (asyncio.create_task(server.get("/readyz")) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    server.database.gate.set()
    assert (await second)[0] == 200


async def test_it_is_ready_again_as_soon_as_the_database_is_back() -> None:
    server = Server()
    server.database.error = Unavailable("down")
    assert (await server.get("/readyz"))[0] == 503
    server.database.error = None
    server.clock.now += 1.0
    assert (await server.get("/readyz"))[0] == 200


async def test_a_draining_server_is_not_ready_but_alive_and_its_database_healthy() -> None:
    server = Server()
    server.health.draining = True
    assert (await server.get("/readyz"))[0] == (await server.get("/actuator/health"))[0] == 503
    assert (await server.get("/livez"))[0] == (await server.get("/health/db"))[0] == 200


async def test_after_a_fault_of_ours_nobody_is_told_what_was_true_before_it() -> None:
    server = Server()
    assert (await server.get("/readyz"))[0] == 200
    server.clock.now += 2
    server.database.error = RuntimeError("not foreseen")
    with pytest.raises(RuntimeError):
        await server.get("/readyz")
    assert (await server.get("/actuator/health"))[0] == 503
