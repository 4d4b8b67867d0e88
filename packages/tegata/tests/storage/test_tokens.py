"""Refresh rotation under races, opaque tokens, revocation, and the single use of assertions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import uuid4

import pytest

from tegata.identifiers import Digest, GrantId, TenantId
from tegata.storage.records import DesiredUser, NewRefreshToken, RotatedRefreshToken
from tegata.testing.records import NOW, Inhabited, World, event, new_digest

pytestmark = pytest.mark.anyio

WEEK = 7 * 24 * 3600
GRACE = 20


async def rotate(
    world: World,
    presented: Digest,
    successor: Digest | None = None,
    *,
    tenant: Inhabited | None = None,
    client_id: str = "web",
    now: float = NOW,
    scopes: Sequence[str] | None = None,
    resources: Sequence[str] | None = None,
) -> RotatedRefreshToken:
    successor = successor or new_digest()
    return await world.storage.rotate_refresh_token(
        (tenant or world.here).tenant_id,
        presented,
        client_id=client_id,
        successor=NewRefreshToken(successor, now + WEEK),
        sealed_successor=b"sealed:" + successor,
        scopes=scopes,
        resources=resources,
        grace_seconds=GRACE,
        now=now,
        issued_event=event("token.issued"),
        reuse_event=event("refresh_token.reused"),
    )


async def is_active(world: World, digest: Digest, *, now: float = NOW) -> bool:
    found = await world.storage.find_refresh_token(world.here.tenant_id, digest, grace_seconds=GRACE, now=now)
    return found is not None and found.active


async def test_a_current_token_is_rotated_and_its_successor_is_current(world: World) -> None:
    grant, first = await world.issued()
    second = new_digest()
    rotated = await rotate(world, first, second)
    assert rotated.outcome == "rotated"
    assert rotated.grant == grant
    assert rotated.user is not None
    assert rotated.user.username == "taro"
    assert (await rotate(world, second)).outcome == "rotated"


async def test_of_fifty_concurrent_rotations_one_rotates_and_the_others_get_its_successor(world: World) -> None:
    _, first = await world.issued()
    offered = [new_digest() for _ in range(50)]
    results = await asyncio.gather(*(rotate(world, first, digest) for digest in offered))
    winners = [digest for digest, result in zip(offered, results, strict=True) if result.outcome == "rotated"]
    assert len(winners) == 1
    repeated = [result for result in results if result.outcome == "repeated"]
    assert len(repeated) == 49
    assert {result.sealed_successor for result in repeated} == {b"sealed:" + winners[0]}
    assert (await rotate(world, winners[0])).outcome == "rotated"
    assert (await world.event_types()).count("token.issued") == 51


async def test_the_parent_is_repeated_within_the_grace_only(world: World) -> None:
    _, first = await world.issued()
    second = new_digest()
    await rotate(world, first, second)
    assert (await rotate(world, first, now=NOW + GRACE)).outcome == "repeated"
    late = await rotate(world, first, now=NOW + GRACE + 1)
    assert late.outcome == "reused"
    assert (await rotate(world, second, now=NOW + GRACE + 1)).outcome == "revoked"
    assert "refresh_token.reused" in await world.event_types()


async def test_an_older_generation_ends_the_family_even_within_the_grace(world: World) -> None:
    _, first = await world.issued()
    second, third = new_digest(), new_digest()
    await rotate(world, first, second)
    await rotate(world, second, third)
    assert (await rotate(world, first)).outcome == "reused"
    assert (await rotate(world, third)).outcome == "revoked"
    assert not await is_active(world, third)


async def test_one_family_ends_and_the_other_of_the_same_user_and_client_lives(world: World) -> None:
    _, first = await world.issued()
    _, elsewhere = await world.issued()
    await rotate(world, first)
    assert (await rotate(world, first, now=NOW + GRACE + 1)).outcome == "reused"
    assert (await rotate(world, elsewhere)).outcome == "rotated"


async def test_fifty_reuses_at_once_all_find_the_family_dead(world: World) -> None:
    _, first = await world.issued()
    second = new_digest()
    await rotate(world, first, second)
    results = await asyncio.gather(*(rotate(world, first, now=NOW + 100) for _ in range(50)))
    assert sorted(result.outcome for result in results) == ["reused"] + ["revoked"] * 49
    assert not await is_active(world, second)


@pytest.mark.parametrize(
    ("scopes", "resources", "outcome"),
    [
        pytest.param(["read"], None, "rotated", id="fewer scopes are granted"),
        pytest.param(["read", "admin"], None, "scope", id="a new scope is refused"),
        pytest.param(None, ["https://api.example"], "rotated", id="a granted resource is granted"),
        pytest.param(None, ["https://other.example"], "resource", id="a new resource is refused"),
        pytest.param([], [], "rotated", id="nothing asked for is nothing refused"),
    ],
)
async def test_a_rotation_cannot_widen_the_grant(
    world: World, scopes: list[str] | None, resources: list[str] | None, outcome: str
) -> None:
    grant, first = await world.issued()
    result = await rotate(world, first, scopes=scopes, resources=resources)
    assert result.outcome == outcome
    if outcome == "rotated":
        assert result.grant is not None
        assert result.grant.scopes == grant.scopes
    else:
        assert (await rotate(world, first)).outcome == "rotated"


async def test_a_refused_rotation_changes_nothing(world: World) -> None:
    _, first = await world.issued()
    assert (await rotate(world, first, client_id="other")).outcome == "wrong_client"
    assert (await rotate(world, first, tenant=world.there)).outcome == "unknown"
    assert (await rotate(world, new_digest())).outcome == "unknown"
    assert (await rotate(world, first, now=NOW + WEEK)).outcome == "expired"
    assert "token.issued" not in await world.event_types()
    assert (await rotate(world, first)).outcome == "rotated"


async def test_a_disabled_user_gets_nothing_and_finds_nothing_again_when_enabled(world: World) -> None:
    grant, first = await world.issued()
    tenant_id = world.here.tenant_id
    token = world.here.opaque(grant)
    await world.storage.store_tokens(tenant_id, grant_id=grant.grant_id, refresh=None, opaque=token, now=NOW, events=[])
    for disabled in (True, False):
        await world.operator.put_user(
            tenant_id, world.here.user_id, DesiredUser("taro", {}, (), disabled=disabled), events=[]
        )
        state = await world.storage.find_token_state(tenant_id, token_id="j", grant_id=grant.grant_id)
        found = await world.storage.find_opaque_token(tenant_id, token.digest, now=NOW)
        assert found is not None
        assert (state.active, found.active, await is_active(world, first)) == (False,) * 3
        assert (await rotate(world, first)).outcome == "revoked"


async def test_introspection_sees_the_parent_as_active_within_its_grace(world: World) -> None:
    grant, first = await world.issued()
    second = new_digest()
    await rotate(world, first, second)
    found = await world.storage.find_refresh_token(world.here.tenant_id, first, grace_seconds=GRACE, now=NOW)
    assert found is not None
    assert found.active
    assert found.grant == grant
    assert (found.issued_at, found.expires_at, found.username) == (int(NOW), int(NOW) + WEEK, "taro")
    assert not await is_active(world, first, now=NOW + GRACE + 1)
    assert await is_active(world, second, now=NOW + GRACE + 1)
    there = await world.storage.find_refresh_token(world.there.tenant_id, second, grace_seconds=GRACE, now=NOW)
    assert there is None


async def test_a_revoked_refresh_token_takes_its_family_with_it(world: World) -> None:
    grant, first = await world.issued()
    second = new_digest()
    await rotate(world, first, second)
    storage, tenant_id = world.storage, world.here.tenant_id

    async def revoke(digest: Digest, client_id: str = "web", tenant: TenantId = tenant_id) -> bool:
        return await storage.revoke_refresh_token(
            tenant, digest, client_id=client_id, now=NOW, event=event("grant.revoked")
        )

    assert not await revoke(first, client_id="other")
    assert not await revoke(first, tenant=world.there.tenant_id)
    assert not await revoke(new_digest())
    assert await is_active(world, second)
    assert await revoke(first)
    assert await revoke(first)
    assert not await is_active(world, second)
    assert not (await storage.find_token_state(tenant_id, token_id="j", grant_id=grant.grant_id)).active
    assert (await world.event_types()).count("grant.revoked") == 1


async def test_an_opaque_token_is_found_with_grant_and_user_until_it_ends(world: World) -> None:
    grant, _ = await world.issued()
    token = world.here.opaque(grant)
    storage, tenant_id = world.storage, world.here.tenant_id
    assert await storage.store_tokens(
        tenant_id, grant_id=grant.grant_id, refresh=None, opaque=token, now=NOW, events=[event("token.issued")]
    )
    found = await storage.find_opaque_token(tenant_id, token.digest, now=NOW)
    assert found is not None
    assert (found.active, found.token, found.grant) == (True, token, grant)
    assert found.user is not None
    assert found.user.user_id == world.here.user_id
    assert await storage.find_opaque_token(world.there.tenant_id, token.digest, now=NOW) is None
    late = await storage.find_opaque_token(tenant_id, token.digest, now=float(token.expires_at))
    assert late is not None
    assert not late.active


async def test_an_opaque_token_of_a_client_alone_has_neither_grant_nor_user(world: World) -> None:
    token = world.here.opaque()
    await world.storage.store_tokens(
        world.here.tenant_id, grant_id=None, refresh=None, opaque=token, now=NOW, events=[]
    )
    found = await world.storage.find_opaque_token(world.here.tenant_id, token.digest, now=NOW)
    assert found is not None
    assert (found.active, found.token, found.grant, found.user) == (True, token, None, None)


async def test_only_its_client_revokes_an_opaque_token(world: World) -> None:
    token = world.here.opaque()
    storage, tenant_id = world.storage, world.here.tenant_id
    await storage.store_tokens(tenant_id, grant_id=None, refresh=None, opaque=token, now=NOW, events=[])
    for tenant, client_id, revoked in (
        (tenant_id, "other", False),
        (world.there.tenant_id, "web", False),
        (tenant_id, "web", True),
        (tenant_id, "web", False),
    ):
        assert revoked == await storage.revoke_opaque_token(
            tenant, token.digest, client_id=client_id, now=NOW, event=event("token.revoked")
        )
    found = await storage.find_opaque_token(tenant_id, token.digest, now=NOW)
    assert found is None or not found.active


async def test_the_state_behind_a_jwt_follows_its_id_and_its_grant(world: World) -> None:
    grant, _ = await world.issued()
    storage, tenant_id = world.storage, world.here.tenant_id
    state = await storage.find_token_state(tenant_id, token_id="jti-1", grant_id=grant.grant_id)
    assert (state.active, state.token, state.grant) == (True, None, grant)
    assert state.user is not None
    await storage.revoke_token_id(tenant_id, "jti-1", expires_at=NOW + 60, event=event("token.revoked"))
    await storage.revoke_token_id(tenant_id, "jti-1", expires_at=NOW + 60, event=event("token.revoked"))
    assert (await world.event_types()).count("token.revoked") == 1
    for token_id, grant_id, active in (
        ("jti-1", grant.grant_id, False),
        ("jti-2", grant.grant_id, True),
        ("jti-1", None, False),
        ("jti-2", None, True),
        ("jti-2", GrantId(uuid4()), False),
    ):
        assert (await storage.find_token_state(tenant_id, token_id=token_id, grant_id=grant_id)).active == active
    there = world.there.tenant_id
    assert (await storage.find_token_state(there, token_id="jti-1", grant_id=None)).active
    assert not (await storage.find_token_state(there, token_id="jti-2", grant_id=grant.grant_id)).active


async def test_of_fifty_uses_of_an_assertion_one_is_accepted(world: World) -> None:
    storage, jti = world.storage, "j" * 5000

    async def take(client_id: str = "web", tenant: TenantId = world.here.tenant_id) -> bool:
        return await storage.take_assertion_id(tenant, client_id=client_id, jti=jti, expires_at=NOW + 60)

    assert sum(await asyncio.gather(*(take() for _ in range(50)))) == 1
    assert await take(client_id="other")
    assert await take(tenant=world.there.tenant_id)
