"""The marked reads, the same from every implementation: in order, in pages, of one tenant."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tegata.identity.account import Role
from tegata.storage.marked_reads import EventSearch, TenantReads
from tegata.storage.records import AuditEvent
from tegata.testing.records import NOW, Inhabited, World, event

pytestmark = pytest.mark.anyio


async def reads_of(world: World, tenant: Inhabited | None = None) -> TenantReads:
    return await world.storage.tenant_readonly((tenant or world.here).tenant_id)


async def write(world: World, *events: AuditEvent) -> None:
    await world.storage.write_events([(world.here.tenant_id, found) for found in events])


async def test_events_come_newest_first_by_time_whatever_their_ids_say(world: World) -> None:
    first, second, third = (event(f"made.{n}") for n in range(3))  # their ids rise
    events = [replace(first, at=NOW + 30), replace(second, at=NOW + 10), replace(third, at=NOW + 20)]
    await write(world, *events)
    found = await (await reads_of(world)).search_events(EventSearch(type_prefix="made."), limit=10)
    assert found == [events[0], events[2], events[1]]


async def test_a_search_is_of_a_time_with_its_beginning_and_without_its_end(world: World) -> None:
    await write(world, *(event(f"at.{n}", at=NOW + n) for n in range(6)))
    reads = await reads_of(world)
    found = await reads.search_events(EventSearch(since=NOW + 2, until=NOW + 4, type_prefix="at."), limit=10)
    assert [e.type for e in found] == ["at.3", "at.2"]


async def test_pages_hold_every_event_once_also_of_one_and_the_same_microsecond(world: World) -> None:
    moments = [NOW + 0.123456, NOW + 0.123456, NOW + 0.123456, NOW + 0.123457, NOW + 0.000001, NOW + 0.999999]
    await write(world, *(event(f"page.{n}", at=at) for n, at in enumerate(moments)))
    reads, search = await reads_of(world), EventSearch(since=NOW, until=NOW + 1, type_prefix="page.")
    whole = await reads.search_events(search, limit=100)
    assert len({e.event_id for e in whole}) == len(moments)
    for size in (1, 2, 4):
        paged: list[AuditEvent] = []
        while page := await reads.search_events(search, limit=size, before=paged[-1] if paged else None):
            paged += page
        assert paged == whole


async def test_a_prefix_is_text_and_no_pattern(world: World) -> None:
    await write(world, event("token.issued"), event("tokenXissued"), event("to%en.issued"))
    reads = await reads_of(world)
    for prefix in ("token.", "to%en"):
        found = await reads.search_events(EventSearch(type_prefix=prefix), limit=10)
        assert [e.type for e in found] == [f"{prefix}issued" if prefix == "token." else "to%en.issued"]


async def test_nothing_of_another_tenant_is_read(world: World) -> None:
    await write(world, event("only.here"))
    await world.operator.put_role(world.here.tenant_id, Role("only-here", "", ()), events=[])
    there = await reads_of(world, world.there)
    assert await there.search_events(EventSearch(type_prefix="only."), limit=10) == []
    assert await there.list_roles() == []
    assert {found.user.user_id for found in await there.list_users()} == {world.there.user_id}


async def test_lists_are_what_the_operator_lists(world: World) -> None:
    await world.operator.put_role(world.here.tenant_id, Role("editor", "Edits", ("orders:write",)), events=[])
    reads, tenant_id = await reads_of(world), world.here.tenant_id
    assert await reads.list_clients() == await world.operator.list_clients(tenant_id) != []
    assert await reads.list_roles() == [Role("editor", "Edits", ("orders:write",))]
    assert await reads.list_users(limit=1) == await world.operator.list_users(tenant_id) != []
    assert await reads.list_users(after="TARO") == []
