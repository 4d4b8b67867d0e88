"""What anybody can send must not fill memory, hold connections open or stop the audit trail."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest

from tegata.api import http
from tegata.api.http import Request
from tegata.flows.directory import Directory
from tegata.identifiers import TenantId
from tegata.protocol.errors import OAuthError
from tegata.storage.records import AuditEvent
from tegata.telemetry.audit import AuditQueue, Origin, event
from tegata.testing.clock import SetClock
from tegata.testing.memory import MemoryStorage
from tegata.testing.records import World
from tegata.testing.relying_party import Browser as AnyBrowser
from tegata.testing.relying_party import RelyingParty
from tegata.testing.server import Server

pytestmark = pytest.mark.anyio

ORIGIN = Origin("192.0.2.1", "r")
TENANT = TenantId(uuid4())


async def test_a_body_that_never_begins_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Content-Length: 100 and then silence: each such connection holds a task for ever."""
    monkeypatch.setattr(http, "BODY_TIMEOUT_SECONDS", 0.01)

    async def silence() -> MutableMapping[str, Any]:
        return await asyncio.Future()

    request = Request({"type": "http", "headers": []}, silence, ORIGIN)
    reading = asyncio.create_task(request.body())
    done, _ = await asyncio.wait([reading], timeout=60)
    reading.cancel()
    with suppress(asyncio.CancelledError, OAuthError):
        await reading
    assert done


class _Counting(MemoryStorage):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def find_client(self, tenant_id: TenantId, client_id: str) -> Any:
        self.asked.append(client_id)
        return await super().find_client(tenant_id, client_id)

    async def find_tenant(self, name: str) -> Any:
        self.asked.append(name)
        return await super().find_tenant(name)


async def test_names_that_nothing_can_have_are_neither_looked_up_nor_kept(server: Server) -> None:
    """Absent names are kept as well: 50,000 of 64 kB each would be 3 GB in every worker."""
    storage = _Counting()
    directory = Directory(storage, server.envelope, SetClock(), base_url="https://id.example.com")
    assert await directory.find_client(TENANT, "a" * 16_000) is None
    assert await directory.find_tenant("a" * 2_000) is None
    assert storage.asked == []


async def test_only_parameters_that_mean_something_are_kept_with_a_request(server: Server) -> None:
    party, browser = RelyingParty(server), AnyBrowser(server)
    junk = {f"junk{number}": "x" * 200 for number in range(50)}
    page = await browser.get(party.url(**junk))
    assert "/sign-in?" in page.url
    (kept,) = server.storage._state.of(party.tenant.tenant_id).interactions.values()
    assert set(kept.parameters) == set(party.request())


async def test_refusals_that_anybody_can_cause_are_one_event_a_minute(server: Server) -> None:
    """Without a credential: a row of the audit log for each request would fill the disk."""
    nobody, public = RelyingParty(server, "nobody"), RelyingParty(server, "spa")
    for _ in range(40):
        await nobody.refresh("x")
        await public.refresh("x")
        await AnyBrowser(server).get(public.url(response_type="token"))
    assert Counter(await server.reasons()) == {
        "token.refused client_unknown": 1,
        "token.refused refresh_unknown": 1,
        "authorization.refused unsupported_response_type": 1,
    }
    server.clock.advance(61)
    await nobody.refresh("x")
    counts = [one.details.get("count") for one in await server.audit() if one.reason == "client_unknown"]
    assert Counter(counts) == {None: 2, 39: 1}


class _Log:
    """Refuses, or is slow, as often as it is told to."""

    def __init__(self, *failures: BaseException | None) -> None:
        self.failures = list(failures)
        self.written: list[AuditEvent] = []
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def write_events(self, events: Sequence[tuple[TenantId, AuditEvent]]) -> None:
        self.entered.set()
        await self.go_on.wait()
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        self.written += [written for _, written in events]

    async def read_events(
        self, tenant_id: TenantId, *, limit: int, before: str | None = None, type_prefix: str | None = None
    ) -> Sequence[AuditEvent]:
        return self.written


def refusal() -> AuditEvent:
    return event("token.refused", now=1.0, origin=ORIGIN, outcome="failure", reason="client_unknown")


async def test_the_writer_of_the_audit_trail_survives_an_unexpected_error() -> None:
    log = _Log(RuntimeError("a row that the database refuses"))
    queue = AuditQueue(log, interval_seconds=0.001)
    queue.start()
    queue.add(TENANT, refusal())
    await asyncio.wait_for(log.entered.wait(), 60)
    log.entered.clear()
    queue.add(TENANT, refusal())
    with suppress(TimeoutError):
        await asyncio.wait_for(log.entered.wait(), 60)
    written = len(log.written)
    with suppress(RuntimeError):
        await queue.stop()
    assert written > 0


async def test_a_stop_in_the_middle_of_a_write_loses_nothing() -> None:
    log = _Log()
    log.go_on.clear()
    queue = AuditQueue(log, interval_seconds=0.001)
    queue.start()
    queue.add(TENANT, refusal())
    await asyncio.wait_for(log.entered.wait(), 60)
    stopping = asyncio.create_task(queue.stop())
    await asyncio.sleep(0)
    log.go_on.set()
    await stopping
    assert len(log.written) == 1


async def test_events_whose_answer_was_lost_may_be_written_again(world: World) -> None:
    """The commit came through, the answer did not: the queue cannot know, and 500 refused look like an outage."""
    events = [(world.here.tenant_id, refusal()) for _ in range(3)]
    await world.storage.write_events(events)
    await world.storage.write_events([*events, (world.here.tenant_id, refusal())])
    assert (await world.event_types()).count("token.refused") == 4
