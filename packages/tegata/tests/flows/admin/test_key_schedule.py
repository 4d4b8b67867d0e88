"""Rotating signing keys by age: late or early, once or by many at once, for one tenant or all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tegata.crypto.envelope import Envelope, SealBroken
from tegata.flows.admin.key_schedule import ScheduleReport, rotate_due
from tegata.flows.admin.key_times import (
    KEPT_SECONDS,
    MOST_PUBLISHED_KEYS,
    PUBLISHED_SECONDS,
    KeySchedule,
    published_seconds_for,
)
from tegata.flows.admin.keys import NoSuchTenant, list_keys, rotate
from tegata.storage.records import TenantRecord
from tegata.testing.memory import MemoryStorage

from .conftest import Desk
from .documents_of import tenant

pytestmark = pytest.mark.anyio

DAY = 24 * 3600
HOUR = 3600
MONTHLY = KeySchedule(days=30)


async def run(desk: Desk, schedule: KeySchedule = MONTHLY, name: str | None = None) -> ScheduleReport:
    return await rotate_due(desk.storage, desk.maker, schedule, name)


async def kids(desk: Desk, name: str = "acme", algorithm: str = "ES256") -> dict[str, list[str]]:
    """By state."""
    found: dict[str, list[str]] = {}
    for key in await list_keys(desk.storage, name):
        if key.algorithm == algorithm:
            found.setdefault(key.state, []).append(key.kid)
    return found


async def test_nothing_is_rotated_before_its_time(desk: Desk) -> None:
    await desk.apply(tenant())
    made = desk.time
    desk.time += 30 * DAY - HOUR
    before = await kids(desk)
    report = await run(desk)
    assert {key.outcome for key in report.keys} == {"not_due"}
    assert await kids(desk) == before
    assert report.next_due_at == pytest.approx(made + 30 * DAY, abs=60)


async def test_what_is_due_is_rotated_once_and_next_due_a_whole_time_later(desk: Desk) -> None:
    await desk.apply(tenant())
    before = await kids(desk)
    desk.time += 30 * DAY
    report = await run(desk)
    assert [(key.algorithm, key.outcome) for key in report.keys] == [("ES256", "rotated"), ("RS256", "rotated")]
    after = await kids(desk)
    assert (after["active"], after["previous"]) == (before["next"], before["active"])
    assert report.next_due_at == pytest.approx(desk.time + 30 * DAY, abs=60)
    assert {key.outcome for key in (await run(desk)).keys} == {"not_due"}
    assert await kids(desk) == after


async def test_ten_tenants_by_an_hourly_clock_never_sign_early_and_never_late(desk: Desk) -> None:
    """Tenants made at different hours; the run itself is late, early or missing."""
    names = [f"tenant-{number}" for number in range(10)]
    signed_since: dict[str, tuple[float, float]] = {}
    for number, name in enumerate(names):
        desk.time += 3 * HOUR
        await desk.apply(tenant(name))
        assert number == 0 or {key.outcome for key in (await run(desk, KeySchedule(2), names[0])).keys} == {"not_due"}
    firsts = {key.kid for name in names for key in await list_keys(desk.storage, name) if key.state == "active"}
    for hour in range(24 * 5):
        desk.time += HOUR + (hour % 5 - 2) * 700
        if hour % 9 != 4:  # no worker ran at that hour
            await run(desk, KeySchedule(days=2))
        for name in names:
            for key in await list_keys(desk.storage, name):
                if key.state == "active":
                    signed_since[key.kid] = (key.created_at, key.state_changed_at)
                    assert desk.time - key.state_changed_at < 2 * DAY + 3 * HOUR
    assert len(firsts) == 20
    assert len(signed_since.keys() - firsts) >= 10 * 2 * 2
    for kid in signed_since.keys() - firsts:
        published, since = signed_since[kid]
        assert since - published >= PUBLISHED_SECONDS


async def test_a_successor_that_not_everybody_can_have_waits_for_its_turn(desk: Desk) -> None:
    await desk.apply(tenant())
    desk.time += 30 * DAY
    tables = desk.storage._state.of((await desk.tenant()).record.tenant_id)
    (gone,) = (await kids(desk))["next"]
    del tables.keys[gone]
    before = (await kids(desk))["active"]
    waiting = (await run(desk)).keys[0]
    assert waiting.outcome == "waiting"
    assert (await kids(desk))["active"] == before
    assert waiting.due_at is not None
    desk.time = waiting.due_at - 10
    assert (await run(desk)).keys[0].outcome == "waiting"
    desk.time = waiting.due_at
    assert (await run(desk)).keys[0].outcome == "rotated"


async def test_a_tenant_whose_keys_are_replaced_by_hand_is_counted_from_then(desk: Desk) -> None:
    await desk.apply(tenant())
    desk.time += 29 * DAY
    await rotate(desk.storage, desk.maker, "acme")
    desk.time += 2 * DAY
    assert {key.outcome for key in (await run(desk)).keys} == {"not_due"}


async def test_zero_days_is_never_but_what_nothing_needs_goes(desk: Desk) -> None:
    await desk.apply(tenant())
    await rotate(desk.storage, desk.maker, "acme")
    desk.time += 400 * DAY
    report = await run(desk, KeySchedule(days=0))
    assert {key.outcome for key in report.keys} == {"never"}
    assert (report.next_due_at, report.dropped) == (None, 2)
    assert "previous" not in await kids(desk)


async def test_a_previous_key_goes_at_the_first_run_after_its_last_token(desk: Desk) -> None:
    await desk.apply(tenant())
    await rotate(desk.storage, desk.maker, "acme", ["ES256"])
    desk.time += KEPT_SECONDS - 100
    assert (await run(desk)).dropped == 0
    desk.time += 200
    assert (await run(desk)).dropped == 1


async def test_a_new_key_each_day_is_below_the_bound(desk: Desk) -> None:
    await desk.apply(tenant())
    most, outcomes = 0, set()
    for _ in range(7 * 24):
        desk.time += HOUR
        outcomes |= {key.outcome for key in (await run(desk, KeySchedule(days=1))).keys}
        most = max(most, len(await list_keys(desk.storage, "acme")))
    assert outcomes == {"not_due", "rotated"}
    assert most < MOST_PUBLISHED_KEYS


async def test_at_most_ten_keys_are_published_and_it_is_said(desk: Desk) -> None:
    await desk.apply(tenant())
    often = KeySchedule(days=HOUR / DAY)
    outcomes = []
    for _ in range(8):
        desk.time += HOUR
        outcomes += [key.outcome for key in (await run(desk, often)).keys]
        assert len(await list_keys(desk.storage, "acme")) <= MOST_PUBLISHED_KEYS
    assert outcomes == ["rotated"] * 6 + ["full"] * 10
    full = (await run(desk, often)).keys[0]
    assert full.needs_a_person
    assert full.due_at is not None
    desk.time = full.due_at + 1
    report = await run(desk, often)
    assert report.dropped >= 1
    assert report.keys[0].outcome == "rotated"


async def test_many_runs_at_once_rotate_each_key_once(desk: Desk) -> None:
    for number in range(3):
        await desk.apply(tenant(f"tenant-{number}"))
    desk.time += 30 * DAY
    reports = await asyncio.gather(*(run(desk) for _ in range(4)))
    assert sum(report.count("rotated") for report in reports) == 3 * 2
    for number in range(3):
        found = await kids(desk, f"tenant-{number}")
        assert {state: len(of) for state, of in found.items()} == {"active": 1, "next": 1, "previous": 1}


async def test_two_machines_whose_clocks_differ_rotate_once(desk: Desk) -> None:
    """The second one has read the keys before the first changed them, and its clock is ahead."""
    await desk.apply(tenant())
    record = (await desk.tenant()).record
    (seen,) = (await kids(desk))["active"]
    await rotate(desk.storage, desk.maker, "acme", ["ES256"])
    after = await kids(desk)
    desk.time += 20
    new = await desk.maker.make(record.tenant_id, "ES256", "next")
    event = (await desk.events())[-1]
    assert not await desk.storage.rotate_keys(
        record.tenant_id, "ES256", new, now=desk.now(), event=event, replacing=seen
    )
    assert await kids(desk) == after


async def test_one_tenant_alone_if_it_is_named(desk: Desk) -> None:
    await desk.apply(tenant("one"))
    await desk.apply(tenant("two"))
    desk.time += 30 * DAY
    assert {key.tenant for key in (await run(desk, name="two")).keys} == {"two"}
    assert "previous" not in await kids(desk, "one")
    with pytest.raises(NoSuchTenant):
        await run(desk, name="three")


class SmallPages(MemoryStorage):
    """Tells of two tenants at a time."""

    async def list_tenants(self, *, after: str | None = None, limit: int = 100) -> Sequence[TenantRecord]:
        return await super().list_tenants(after=after, limit=min(limit, 2))


async def test_every_page_of_tenants_is_seen() -> None:
    desk = Desk(storage=SmallPages())
    await desk.apply(*(tenant(f"tenant-{number}") for number in range(5)))
    report = await run(desk, KeySchedule(days=0))
    assert len({key.tenant for key in report.keys}) == 5


async def test_a_successor_that_the_master_key_does_not_open_does_not_become_active(desk: Desk) -> None:
    """One tenant's row was restored from elsewhere: the others go on."""
    await desk.apply(tenant("one"))
    await desk.apply(tenant("two"))
    other = Envelope([b"x" * 32])
    record = (await desk.tenant("two")).record
    tables = desk.storage._state.of(record.tenant_id)
    for kid, key in tables.keys.items():
        if key.state == "next":
            foreign = other.seal(b"key", tenant=str(record.tenant_id), purpose="signing-key")
            tables.keys[kid] = type(key)(kid, key.algorithm, "next", key.public_jwk, foreign, key.created_at, 0.0)
    desk.time += 30 * DAY
    report = await run(desk)
    assert [(key.tenant, key.outcome) for key in report.keys if key.algorithm == "ES256"] == [
        ("one", "rotated"),
        ("two", "sealed"),
    ]


async def test_a_first_tenant_that_the_master_key_does_not_open_stops_no_other(desk: Desk) -> None:
    await desk.apply(tenant("one"))
    await desk.apply(tenant("two"))
    other, tenant_id = Envelope([b"x" * 32]), (await desk.tenant("one")).record.tenant_id
    tables = desk.storage._state.of(tenant_id)
    for kid, key in tables.keys.items():
        foreign = other.seal(b"key", tenant=str(tenant_id), purpose="signing-key")
        tables.keys[kid] = replace(key, sealed_private_key=foreign)
    desk.time += 30 * DAY
    report = await run(desk)
    assert [key.outcome for key in report.keys] == ["sealed", "sealed", "rotated", "rotated"]


async def test_another_master_key_changes_nothing_at_all(desk: Desk) -> None:
    await desk.apply(tenant())
    before = await kids(desk)
    desk.time += 30 * DAY
    desk.envelope = Envelope([b"x" * 32])
    with pytest.raises(SealBroken):
        await run(desk)
    assert await kids(desk) == before


async def test_rotation_by_age_is_the_same_event_as_by_hand(desk: Desk) -> None:
    await desk.apply(tenant())
    desk.time += 30 * DAY
    await run(desk)
    rotated = [event for event in await desk.events() if event.type == "signing_key.rotated"]
    assert [event.details["algorithm"] for event in rotated] == ["ES256", "RS256"]


def test_what_others_may_keep_and_a_minute_is_how_long_a_key_is_published() -> None:
    assert published_seconds_for(300) == PUBLISHED_SECONDS == 360
