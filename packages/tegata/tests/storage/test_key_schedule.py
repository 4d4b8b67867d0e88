"""A rotation by age names the key that it found old: of several, on machines whose clocks differ, one wins."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from tegata.storage.records import KeyState, SigningKeyRecord
from tegata.testing.records import NOW, World, event

pytestmark = pytest.mark.anyio


def key(state: KeyState, at: float = NOW) -> SigningKeyRecord:
    kid = secrets.token_hex(6)
    return SigningKeyRecord(kid, "ES256", state, {"kty": "EC", "kid": kid}, b"sealed", at, at)


async def test_the_key_that_is_to_be_replaced_is_replaced_once_whatever_the_clocks_say(world: World) -> None:
    tenant_id = world.here.tenant_id
    active, following = key("active"), key("next")
    for one in (active, following):
        await world.operator.add_key(tenant_id, one, events=[])
    # Each clock is an hour ahead of the one before, so no machine's new key looks older than another's rotation.
    clocks = [NOW + 3600 * number for number in range(1, 9)]
    won = await asyncio.gather(
        *(
            world.operator.rotate_keys(
                tenant_id, "ES256", key("next", at), now=at, event=event("x"), replacing=active.kid
            )
            for at in clocks
        )
    )
    assert sorted(won) == [False] * 7 + [True]
    states = {found.kid: found.state for found in await world.storage.signing_keys(tenant_id)}
    assert (states[active.kid], states[following.kid], len(states)) == ("previous", "active", 3)


async def test_a_key_of_another_state_or_tenant_is_not_the_one_to_replace(world: World) -> None:
    tenant_id = world.here.tenant_id
    active, following = key("active"), key("next")
    for one in (active, following):
        await world.operator.add_key(tenant_id, one, events=[])
    for kid in (following.kid, "nobody", ""):
        late = key("next", NOW + 100)
        assert not await world.operator.rotate_keys(
            tenant_id, "ES256", late, now=NOW + 100, event=event("x"), replacing=kid
        )
    states = {found.kid: found.state for found in await world.storage.signing_keys(tenant_id)}
    assert states == {active.kid: "active", following.kid: "next"}
