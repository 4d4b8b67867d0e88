"""Authorization codes: taken once, and a replay costs what the first take issued."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tegata.storage.errors import Conflict
from tegata.testing.records import NOW, World, event

pytestmark = pytest.mark.anyio


async def test_a_taken_code_gives_back_what_was_stored(world: World) -> None:
    code = world.here.code()
    assert await world.storage.store_code(world.here.tenant_id, code, interaction=None, events=[event("code.issued")])
    taken = await world.storage.take_code(
        world.here.tenant_id, code.digest, client_id="web", now=NOW, replay_event=event("code.replayed")
    )
    assert taken.outcome == "taken"
    assert taken.code == code
    assert taken.user is not None
    assert (taken.user.user_id, taken.user.username, taken.user.roles) == (world.here.user_id, "taro", ("viewer",))
    assert taken.user.claims == {"name": "山田 太郎"}
    assert (await world.event_types())[0] == "code.issued"


async def test_of_fifty_concurrent_takes_one_wins_and_the_others_revoke_the_grant(world: World) -> None:
    code = world.here.code()
    await world.storage.store_code(world.here.tenant_id, code, interaction=None, events=[])
    taken = await asyncio.gather(
        *(
            world.storage.take_code(
                world.here.tenant_id, code.digest, client_id="web", now=NOW, replay_event=event("code.replayed")
            )
            for _ in range(50)
        )
    )
    outcomes = sorted(one.outcome for one in taken)
    assert outcomes == ["replayed"] * 49 + ["taken"]
    state = await world.storage.find_token_state(world.here.tenant_id, token_id="any", grant_id=code.grant.grant_id)
    assert not state.active
    assert (await world.event_types()).count("code.replayed") == 49


async def test_a_replay_revokes_what_the_first_take_issued(world: World) -> None:
    code = world.here.code()
    await world.storage.store_code(world.here.tenant_id, code, interaction=None, events=[])
    tenant_id = world.here.tenant_id
    await world.storage.take_code(tenant_id, code.digest, client_id="web", now=NOW, replay_event=event("x"))
    token = world.here.opaque(code.grant)
    await world.storage.store_tokens(
        tenant_id, grant_id=code.grant.grant_id, refresh=None, opaque=token, now=NOW, events=[]
    )
    found = await world.storage.find_opaque_token(tenant_id, token.digest, now=NOW)
    assert found is not None
    assert found.active
    await world.storage.take_code(tenant_id, code.digest, client_id="web", now=NOW + 900, replay_event=event("x"))
    found = await world.storage.find_opaque_token(tenant_id, token.digest, now=NOW)
    assert found is not None
    assert not found.active
    assert not await world.storage.store_tokens(
        tenant_id, grant_id=code.grant.grant_id, refresh=None, opaque=world.here.opaque(code.grant), now=NOW, events=[]
    )


async def test_another_client_learns_nothing_and_changes_nothing(world: World) -> None:
    code = world.here.code()
    await world.storage.store_code(world.here.tenant_id, code, interaction=None, events=[])
    for _ in range(2):
        foreign = await world.storage.take_code(
            world.here.tenant_id, code.digest, client_id="other", now=NOW, replay_event=event("code.replayed")
        )
        assert foreign == replace(foreign, outcome="wrong_client", code=None, user=None)
    own = await world.storage.take_code(
        world.here.tenant_id, code.digest, client_id="web", now=NOW, replay_event=event("code.replayed")
    )
    assert own.outcome == "taken"
    assert "code.replayed" not in await world.event_types()


async def test_another_tenants_code_is_unknown(world: World) -> None:
    code = world.here.code()
    await world.storage.store_code(world.here.tenant_id, code, interaction=None, events=[])
    there = await world.storage.take_code(
        world.there.tenant_id, code.digest, client_id="web", now=NOW, replay_event=event("code.replayed")
    )
    assert there.outcome == "unknown"
    here = await world.storage.take_code(
        world.here.tenant_id, code.digest, client_id="web", now=NOW, replay_event=event("code.replayed")
    )
    assert here.outcome == "taken"


async def test_an_expired_code_stays_expired(world: World) -> None:
    code = world.here.code(expires_at=NOW)
    await world.storage.store_code(world.here.tenant_id, code, interaction=None, events=[])
    for _ in range(2):
        taken = await world.storage.take_code(
            world.here.tenant_id, code.digest, client_id="web", now=NOW, replay_event=event("code.replayed")
        )
        assert taken.outcome == "expired"


async def test_a_code_of_a_grant_that_has_ended_is_told_apart_from_a_replay(world: World) -> None:
    code = world.here.code()
    await world.storage.store_code(world.here.tenant_id, code, interaction=None, events=[])
    await world.storage.revoke_grant(world.here.tenant_id, code.grant.grant_id, now=NOW, event=event("grant.revoked"))
    taken = await world.storage.take_code(
        world.here.tenant_id, code.digest, client_id="web", now=NOW, replay_event=event("code.replayed")
    )
    assert taken.outcome == "revoked"


async def test_of_two_tabs_with_one_interaction_one_gets_a_code(world: World) -> None:
    interaction = world.here.interaction()
    await world.storage.store_interaction(world.here.tenant_id, interaction)
    codes = [world.here.code() for _ in range(10)]
    stored = await asyncio.gather(
        *(
            world.storage.store_code(
                world.here.tenant_id, code, interaction=interaction.digest, events=[event("code.issued")]
            )
            for code in codes
        )
    )
    assert sorted(stored) == [False] * 9 + [True]
    assert (await world.event_types()).count("code.issued") == 1
    for code, kept in zip(codes, stored, strict=True):
        taken = await world.storage.take_code(
            world.here.tenant_id, code.digest, client_id="web", now=NOW, replay_event=event("code.replayed")
        )
        assert taken.outcome == ("taken" if kept else "unknown")


async def test_a_code_for_somebody_of_another_tenant_cannot_be_stored(world: World) -> None:
    code = world.here.code(replace(world.here.grant(), user_id=world.there.user_id))
    with pytest.raises(Conflict):
        await world.storage.store_code(world.here.tenant_id, code, interaction=None, events=[event("code.issued")])
    assert "code.issued" not in await world.event_types()
