"""Signing keys: published before they sign, and kept until nothing they signed is valid."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from tegata.crypto.envelope import Envelope, SealBroken
from tegata.flows.admin.key_times import LONGEST_TOKEN_SECONDS, MARGIN_SECONDS
from tegata.flows.admin.keys import NoSuchTenant, list_keys, rotate
from tegata.flows.admin.problems import InvalidDocuments
from tegata.storage.records import SigningKeyRecord

from .conftest import Desk
from .documents_of import client, parsed, tenant

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


async def test_a_previous_key_goes_when_the_longest_token_that_can_be_set_is_over(desk: Desk) -> None:
    await desk.apply(tenant())
    await rotate(desk.storage, desk.maker, "acme", ["ES256"])
    (first,) = (await keys(desk))["ES256", "previous"]
    desk.time += LONGEST_TOKEN_SECONDS + MARGIN_SECONDS - 100
    await rotate(desk.storage, desk.maker, "acme", ["ES256"])
    assert first in (await keys(desk))["ES256", "previous"]
    desk.time += 200
    await rotate(desk.storage, desk.maker, "acme", ["ES256"])
    assert first not in (await keys(desk))["ES256", "previous"]


async def shorten_lives(desk: Desk) -> None:
    await desk.apply(tenant(id_token_lifetime_seconds=60, access_token_lifetime_seconds=60), client())


async def shorten_the_clients(desk: Desk) -> None:
    await desk.apply(tenant(), client(access_token_lifetime_seconds=60))


async def remove_the_client(desk: Desk) -> None:
    await desk.apply(tenant(), prune=True)


@pytest.mark.parametrize("shorten", [shorten_lives, shorten_the_clients, remove_the_client])
async def test_a_life_that_is_shortened_ends_no_token_that_lives_longer(
    desk: Desk, shorten: Callable[[Desk], Awaitable[None]]
) -> None:
    """What counts is how long tokens lived when the key signed them."""
    await desk.apply(
        tenant(id_token_lifetime_seconds=LONGEST_TOKEN_SECONDS), client(access_token_lifetime_seconds=80_000)
    )
    await rotate(desk.storage, desk.maker, "acme", ["ES256"])
    (signed,) = (await keys(desk))["ES256", "previous"]
    await shorten(desk)
    desk.time += 80_000 + MARGIN_SECONDS - 100
    await rotate(desk.storage, desk.maker, "acme", ["ES256"])
    assert signed in (await keys(desk))["ES256", "previous"]


@pytest.mark.parametrize(
    "documents",
    [
        [tenant(access_token_lifetime_seconds=LONGEST_TOKEN_SECONDS + 1)],
        [tenant(id_token_lifetime_seconds=LONGEST_TOKEN_SECONDS + 1)],
        [tenant(), client(access_token_lifetime_seconds=LONGEST_TOKEN_SECONDS + 1)],
    ],
    ids=["access token", "ID token", "of a client"],
)
def test_no_document_lets_a_token_live_longer_than_its_key_is_kept(documents: list[str]) -> None:
    with pytest.raises(InvalidDocuments, match=f"{LONGEST_TOKEN_SECONDS} seconds"):
        parsed(*documents)


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


async def seal_elsewhere(desk: Desk, name: str, state: str = "next") -> None:
    """Let keys of one tenant be sealed under a master key that the operator has not got."""
    tenant_id = (await desk.tenant(name)).record.tenant_id
    held = desk.storage._state.of(tenant_id).keys
    for kid, key in held.items():
        if key.state == state:
            foreign = Envelope([b"x" * 32]).seal(b"key", tenant=str(tenant_id), purpose="signing-key")
            held[kid] = replace(key, sealed_private_key=foreign)


async def test_a_master_key_that_opens_the_first_tenant_only_is_refused(desk: Desk) -> None:
    await desk.apply(*(tenant(name) for name in "abcdefgh"))
    for name in "bcdefgh":
        await seal_elsewhere(desk, name)
    with pytest.raises(SealBroken, match="signing keys of b, c, d, e, f and 2 more"):
        await desk.apply(tenant("new"))
    assert await desk.storage.find_tenant("new") is None


async def test_a_first_tenant_without_keys_hides_no_wrong_master_key(desk: Desk) -> None:
    await desk.apply(tenant("a"), tenant("b"))
    desk.storage._state.of((await desk.tenant("a")).record.tenant_id).keys.clear()
    desk.envelope = Envelope([b"x" * 32])
    with pytest.raises(SealBroken, match="of b"):
        await desk.apply(tenant("new"))
    with pytest.raises(SealBroken, match="of b"):
        await rotate(desk.storage, desk.maker, "a")


async def test_keys_of_another_tenant_do_not_keep_a_leaked_one_in_use(desk: Desk) -> None:
    await desk.apply(tenant("a"), tenant("b"))
    await seal_elsewhere(desk, "a")
    assert [rotation.outcome for rotation in await rotate(desk.storage, desk.maker, "b")] == ["rotated", "rotated"]
    with pytest.raises(SealBroken, match="of a;"):
        await rotate(desk.storage, desk.maker, "a")


async def test_what_a_forgotten_master_key_has_sealed_and_only_verifies_is_no_hindrance(desk: Desk) -> None:
    await desk.apply(tenant())
    await rotate(desk.storage, desk.maker, "acme")
    await seal_elsewhere(desk, "acme", "previous")
    await rotate(desk.storage, desk.maker, "acme")
    await desk.apply(tenant("beta"))
