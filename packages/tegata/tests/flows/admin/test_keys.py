"""Signing keys: published before they sign, and kept until nothing they signed is valid."""

from __future__ import annotations

import asyncio

import pytest

from tegata.crypto.envelope import Envelope, SealBroken
from tegata.flows.admin.key_times import MARGIN_SECONDS
from tegata.flows.admin.keys import NoSuchTenant, list_keys, rotate
from tegata.storage.records import SigningKeyRecord

from .conftest import Desk
from .documents_of import client, tenant

pytestmark = pytest.mark.anyio


async def keys(desk: Desk) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for key in await list_keys(desk.storage, "acme"):
        found.setdefault((key.algorithm, key.state), []).append(key.kid)
    return found


async def test_next_becomes_active_and_active_previous(desk: Desk) -> None:
    await desk.apply(tenant())
    before = await keys(desk)
    (rotation,) = await rotate(desk.storage, desk.maker, "acme", ["ES256"])
    after = await keys(desk)
    assert rotation.outcome == "rotated"
    assert after["ES256", "active"] == before["ES256", "next"] == [rotation.active]
    assert after["ES256", "previous"] == before["ES256", "active"]
    assert after["ES256", "next"] == [rotation.next]
    assert rotation.next not in {kid for kids in before.values() for kid in kids}


async def test_other_algorithms_are_left_alone(desk: Desk) -> None:
    await desk.apply(tenant())
    before = await keys(desk)
    await rotate(desk.storage, desk.maker, "acme", ["ES256"])
    after = await keys(desk)
    assert {k: v for k, v in after.items() if k[0] == "RS256"} == {k: v for k, v in before.items() if k[0] == "RS256"}


async def test_all_algorithms_by_default(desk: Desk) -> None:
    await desk.apply(tenant())
    assert [r.algorithm for r in await rotate(desk.storage, desk.maker, "acme")] == ["ES256", "RS256"]


async def test_a_previous_key_goes_when_the_longest_token_it_can_have_signed_is_over(desk: Desk) -> None:
    await desk.apply(tenant(id_token_lifetime_seconds=7200), client(access_token_lifetime_seconds=10_000))
    await rotate(desk.storage, desk.maker, "acme", ["ES256"])
    (first,) = (await keys(desk))["ES256", "previous"]
    desk.time += 10_000 + MARGIN_SECONDS - 100
    await rotate(desk.storage, desk.maker, "acme", ["ES256"])
    assert first in (await keys(desk))["ES256", "previous"]
    desk.time += 200
    await rotate(desk.storage, desk.maker, "acme", ["ES256"])
    assert first not in (await keys(desk))["ES256", "previous"]


async def test_a_missing_next_key_is_made_before_rotating(desk: Desk) -> None:
    await desk.apply(tenant())
    tables = desk.storage._state.of((await desk.tenant()).record.tenant_id)
    (gone,) = (await keys(desk))["ES256", "next"]
    del tables.keys[gone]
    (rotation,) = await rotate(desk.storage, desk.maker, "acme", ["ES256"])
    assert rotation.outcome == "rotated"
    assert len((await keys(desk))["ES256", "active"]) == 1


async def test_two_operators_at_once_leave_one_active_and_one_next_key(desk: Desk) -> None:
    await desk.apply(tenant())
    await asyncio.gather(*(rotate(desk.storage, desk.maker, "acme", ["ES256"]) for _ in range(4)))
    found = await keys(desk)
    assert len(found["ES256", "active"]) == len(found["ES256", "next"]) == 1


async def test_rotation_is_an_event_and_names_keys_only(desk: Desk) -> None:
    await desk.apply(tenant())
    (rotation,) = await rotate(desk.storage, desk.maker, "acme", ["RS256"])
    event = next(event for event in await desk.events() if event.type == "signing_key.rotated")
    assert event.details == {"algorithm": "RS256", "next_kid": rotation.next}
    assert event.actor == "operator"


async def test_an_unknown_tenant_is_told(desk: Desk) -> None:
    with pytest.raises(NoSuchTenant, match="nobody"):
        await rotate(desk.storage, desk.maker, "nobody")


async def test_a_record_does_not_show_its_sealed_key(desk: Desk) -> None:
    await desk.apply(tenant())
    for key in await list_keys(desk.storage, "acme"):
        assert isinstance(key, SigningKeyRecord)
        assert "sealed" not in repr(key)


async def test_another_master_key_is_refused_before_a_key_is_sealed_under_it(desk: Desk) -> None:
    """The server could open one of the two only."""
    await desk.apply(tenant())
    before = await keys(desk)
    desk.envelope = Envelope([b"x" * 32])
    with pytest.raises(SealBroken):
        await rotate(desk.storage, desk.maker, "acme")
    with pytest.raises(SealBroken):
        await desk.apply(tenant("beta"))
    assert await keys(desk) == before
    assert await desk.storage.find_tenant("beta") is None
