"""The audit queue: bounded, never waited for, and it keeps what the store cannot take yet (pitfalls P61, P81)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import fields
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from tegata.identifiers import TenantId
from tegata.storage.errors import Conflict, Unavailable
from tegata.storage.records import AuditEvent
from tegata.telemetry.audit import AuditQueue, Origin, event

pytestmark = pytest.mark.anyio
TENANT = TenantId(UUID(int=1))
Written = list[str]
PATIENCE_SECONDS = 60


class FakeLog:
    """A log that fails as it is told. `poison` is an event type that no write may hold."""

    def __init__(self) -> None:
        self.batches: list[Written] = []
        self.error: Exception | None = None
        self.poison: dict[str, Exception] = {}
        self.gate: asyncio.Event | None = None
        self.asked = asyncio.Event()

    @property
    def written(self) -> Written:
        return [type_ for batch in self.batches for type_ in batch]

    async def until_asked(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.asked.wait()

    async def write_events(self, events: Sequence[tuple[TenantId, AuditEvent]]) -> None:
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        for _, one in events:
            if one.type in self.poison:
                raise self.poison[one.type]
        self.batches.append([one.type for _, one in events])

    async def read_events(
        self, tenant_id: TenantId, *, limit: int, before: str | None = None, type_prefix: str | None = None
    ) -> Sequence[AuditEvent]:
        raise NotImplementedError


def queue_on(log: FakeLog, **limits: int) -> AuditQueue:
    return AuditQueue(log, interval_seconds=3600, **limits)


def fill(queue: AuditQueue, *types: str) -> None:
    for type_ in types:
        queue.add(TENANT, event(type_, now=1.0, origin=None))


async def test_events_are_written_in_order_and_in_batches() -> None:
    log = FakeLog()
    queue = queue_on(log, batch=2)
    fill(queue, "a", "b", "c")
    await queue.flush()
    assert log.batches == [["a", "b"], ["c"]]
    await queue.flush()
    assert len(log.batches) == 2


@pytest.mark.parametrize("error", [Unavailable("down"), RuntimeError("a fault of ours")])
async def test_what_the_store_cannot_take_now_is_kept_in_order(error: Exception) -> None:
    log = FakeLog()
    queue = queue_on(log, batch=2)
    log.error = error
    fill(queue, "a", "b", "c")
    with capture_logs() as told:
        await queue.flush()
    assert [(entry["event"], entry["waiting"]) for entry in told] == [("audit_not_written", 3)]
    fill(queue, "d")
    log.error = None
    await queue.flush()
    assert log.written == ["a", "b", "c", "d"]


async def test_a_full_queue_drops_the_newest_and_says_how_many() -> None:
    log = FakeLog()
    queue = queue_on(log, capacity=3)
    log.error = Unavailable("down")
    fill(queue, "a", "b", "c", "d")
    await queue.flush()
    fill(queue, "e")
    log.error = None
    with capture_logs() as told:
        await queue.flush()
        await queue.flush()
    assert log.written == ["a", "b", "c"]
    assert [(entry["event"], entry["count"]) for entry in told] == [("audit_events_dropped", 2)]


@pytest.mark.parametrize("error", [Conflict("tenant"), ValueError("no JSON")])
async def test_an_event_that_the_store_refuses_does_not_hold_up_the_others(error: Exception) -> None:
    """Its tenant was deleted in the meantime, say."""
    log = FakeLog()
    queue = queue_on(log, batch=3)
    log.poison["bad"] = error
    fill(queue, "a", "bad", "b", "c")
    with capture_logs() as told:
        await queue.flush()
    assert log.written == ["a", "b", "c"]
    assert [(entry["event"], entry["type"]) for entry in told] == [("audit_event_refused", "bad")]


async def test_a_store_that_refuses_everything_is_broken_and_nothing_is_given_up() -> None:
    log = FakeLog()
    queue = queue_on(log)
    log.poison = {"a": ValueError("x"), "b": ValueError("x")}
    fill(queue, "a", "b")
    await queue.flush()
    log.poison = {}
    await queue.flush()
    assert log.written == ["a", "b"]


async def test_events_that_were_kept_before_do_not_block_the_queue() -> None:
    """The commit came through and the answer did not: the same events again are refused, one and all."""
    log = FakeLog()
    queue = queue_on(log, batch=2)
    log.poison = {"a": Conflict("audit_event"), "b": Conflict("audit_event")}
    fill(queue, "a", "b", "c")
    await queue.flush()
    assert log.written == ["c"]


async def test_stopping_writes_what_waits() -> None:
    log = FakeLog()
    queue = queue_on(log)
    queue.start()
    fill(queue, "a", "b")
    await queue.stop()
    assert log.written == ["a", "b"]


async def test_stopping_waits_for_the_batch_that_is_being_written() -> None:
    """Cancelled in the middle, nobody could tell whether it was kept."""
    log = FakeLog()
    log.gate = asyncio.Event()
    queue = AuditQueue(log, interval_seconds=0.001)
    fill(queue, "a")
    queue.start()
    await log.until_asked()
    stopping = asyncio.create_task(queue.stop())
    fill(queue, "b")
    await asyncio.sleep(0.01)
    assert not stopping.done()
    log.gate.set()
    await stopping
    assert log.written == ["a", "b"]


async def test_a_cancelled_flush_loses_nothing() -> None:
    log = FakeLog()
    log.gate = asyncio.Event()
    queue = queue_on(log)
    fill(queue, "a")
    flushing = asyncio.create_task(queue.flush())
    await log.until_asked()
    flushing.cancel()
    await asyncio.gather(flushing, return_exceptions=True)
    log.gate.set()
    await queue.flush()
    assert log.written == ["a"]


async def test_it_goes_on_in_the_background_after_a_fault() -> None:
    log = FakeLog()
    log.error = RuntimeError("a fault of ours")
    queue = AuditQueue(log, interval_seconds=0.001)
    queue.start()
    fill(queue, "a")
    await log.until_asked()
    await asyncio.sleep(0)
    log.error = None
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not log.written:
            await asyncio.sleep(0.001)
    assert log.written == ["a"]
    await queue.stop()


async def test_it_can_be_started_again_and_stopped_twice() -> None:
    log = FakeLog()
    queue = queue_on(log)
    for type_ in ("a", "b"):
        queue.start()
        fill(queue, type_)
        await queue.stop()
        await queue.stop()
    assert log.written == ["a", "b"]


async def test_an_event_is_built_from_a_list_of_fields() -> None:
    """No secret has a place to stand (pitfalls P61)."""
    made = event(
        "sign_in.failed",
        now=5.0,
        origin=Origin("192.0.2.1", "r"),
        outcome="failure",
        actor="anna",
        client_id="web",
        reason="wrong_password",
        details={"method": "password"},
    )
    assert (made.at, made.address, made.outcome, made.actor) == (5.0, "192.0.2.1", "failure", "anna")
    assert {field.name for field in fields(made)} == {
        "event_id", "at", "type", "outcome", "actor", "client_id", "reason", "address", "details",
    }  # fmt: skip
    assert event("a", now=1.0, origin=None).address is None


async def test_events_sort_by_the_order_they_were_made_in() -> None:
    made = [event("a", now=1.0, origin=None).event_id for _ in range(50)]
    assert made == sorted(made)
    assert len(set(made)) == 50
