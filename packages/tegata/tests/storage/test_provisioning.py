"""What an operator writes: tenants, clients, roles, users, keys; and what is purged and logged."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
import uuid_utils

from tegata.identifiers import TenantId, UserId
from tegata.identity.account import Role
from tegata.protocol.client import Client, ClientMetadata, ClientSecret
from tegata.protocol.policy import Resource, ScopeText, SigningAlgorithm, TenantPolicy
from tegata.storage.errors import Conflict
from tegata.storage.records import DesiredUser, KeyState, SigningKeyRecord, TenantRecord
from tegata.testing.records import NOW, World, event, new_digest

pytestmark = pytest.mark.anyio


def key(state: KeyState, *, algorithm: SigningAlgorithm = "ES256", at: float = NOW) -> SigningKeyRecord:
    kid = secrets.token_hex(6)
    public: dict[str, Any] = {"kty": "EC", "kid": kid}
    return SigningKeyRecord(kid, algorithm, state, public, b"sealed", at, at)


async def test_a_tenant_is_found_by_its_exact_name(world: World) -> None:
    found = await world.storage.find_tenant(world.here.name)
    assert found is not None
    assert (found.tenant_id, found.name, found.policy.display_name) == (world.here.tenant_id, world.here.name, "醸造")
    for name in (world.here.name.upper(), "", "\0", "a\0", "\ud800", "%", "' or 1=1 --"):
        assert await world.storage.find_tenant(name) is None


async def test_a_policy_comes_back_as_it_was_written(world: World) -> None:
    policy = TenantPolicy(
        display_name="発酵",
        profile="oidc-legacy",
        scopes=(ScopeText("read", {"ja": "読む"}),),
        resources=(Resource("https://api.example", ("read",)),),
        default_audience=("a", "b"),
        access_token_claims={"roles": "roles"},
        userinfo_claims={"profile": {"department": "department"}},
    )
    await world.operator.update_tenant(world.here.tenant_id, policy, events=[event("tenant.updated")])
    found = await world.storage.find_tenant(world.here.name)
    assert found is not None
    assert found.policy == policy
    other = await world.storage.find_tenant(world.there.name)
    assert other is not None
    assert other.policy != policy
    assert (await world.event_types())[0] == "tenant.updated"


async def test_a_taken_name_is_a_conflict_and_leaves_nothing(world: World) -> None:
    tenant_id = TenantId(uuid4())
    with pytest.raises(Conflict) as refused:
        await world.operator.create_tenant(
            TenantRecord(tenant_id, world.here.name, TenantPolicy(), b"salt"), events=[event("tenant.created")]
        )
    assert refused.value.what == "tenant"
    found = await world.storage.find_tenant(world.here.name)
    assert found is not None
    assert found.tenant_id == world.here.tenant_id
    assert await world.storage.read_events(tenant_id, limit=10) == []


async def test_tenants_are_listed_page_by_page(world: World) -> None:
    names: list[str] = []
    while page := await world.operator.list_tenants(after=names[-1] if names else None, limit=3):
        assert len(page) <= 3
        names += [record.name for record in page]
    assert names == sorted(set(names))
    assert {world.here.name, world.there.name} <= set(names)


async def test_a_client_comes_back_as_it_was_written(world: World) -> None:
    metadata = ClientMetadata(
        client_name="醸造",
        redirect_uris=("https://app.example/cb",),
        grant_types=("authorization_code", "refresh_token"),
        jwks={"keys": [{"kty": "EC"}]},
        default_max_age=300,
    )
    written = Client(
        "app",
        metadata,
        tuple(sorted((ClientSecret(b"\1" * 32), ClientSecret(b"\2" * 32, NOW + 1)), key=lambda s: s.digest)),
    )
    await world.operator.put_client(world.here.tenant_id, written, events=[])
    assert await world.storage.find_client(world.here.tenant_id, "app") == written
    assert await world.storage.find_client(world.there.tenant_id, "app") is None
    rotated = replace(written, secrets=(ClientSecret(b"\3" * 32),))
    await world.operator.put_client(world.here.tenant_id, rotated, events=[])
    assert await world.storage.find_client(world.here.tenant_id, "app") == rotated
    assert [c.client_id for c in await world.operator.list_clients(world.here.tenant_id)] == ["app", "other", "web"]
    for odd in ("", "\0", "app\0", "APP", "\ud800"):
        assert await world.storage.find_client(world.here.tenant_id, odd) is None


async def test_a_deleted_client_takes_its_grants_and_not_its_namesakes_elsewhere(world: World) -> None:
    grant, refresh = await world.issued()
    delete = world.operator.delete_client
    assert await delete(world.here.tenant_id, "web", events=[event("client.deleted")])
    assert not await delete(world.here.tenant_id, "web", events=[event("client.deleted")])
    assert await world.storage.find_client(world.here.tenant_id, "web") is None
    assert await world.storage.find_client(world.there.tenant_id, "web") is not None
    state = await world.storage.find_token_state(world.here.tenant_id, token_id="j", grant_id=grant.grant_id)
    assert not state.active
    assert await world.storage.find_refresh_token(world.here.tenant_id, refresh, grace_seconds=20, now=NOW) is None
    assert (await world.event_types()).count("client.deleted") == 1


async def test_roles_are_written_listed_and_deleted(world: World) -> None:
    tenant_id = world.here.tenant_id
    for role in (Role("viewer", "", ("read",)), Role("admin", "all", ("read", "write")), Role("viewer", "見る", ())):
        await world.operator.put_role(tenant_id, role, events=[])
    assert await world.operator.list_roles(tenant_id) == [
        Role("admin", "all", ("read", "write")),
        Role("viewer", "見る"),
    ]
    assert await world.operator.list_roles(world.there.tenant_id) == []
    assert await world.operator.delete_role(tenant_id, "viewer", events=[])
    assert not await world.operator.delete_role(tenant_id, "viewer", events=[])


async def test_users_are_listed_page_by_page_and_deleted_with_what_is_theirs(world: World) -> None:
    tenant_id = world.here.tenant_id
    for name in ("Anna", "bert", "花子"):
        await world.operator.put_user(tenant_id, UserId(uuid4()), DesiredUser(name, {}, ()), events=[])
    names: list[str] = []
    while page := await world.operator.list_users(tenant_id, after=names[-1] if names else None, limit=2):
        names += [record.user.username for record in page]
    assert names == ["Anna", "bert", "taro", "花子"]
    grant, _ = await world.issued()
    assert await world.operator.delete_user(tenant_id, "TARO", events=[event("user.deleted")])
    assert not await world.operator.delete_user(tenant_id, "taro", events=[event("user.deleted")])
    assert not (await world.storage.find_token_state(tenant_id, token_id="j", grant_id=grant.grant_id)).active
    assert await world.storage.get_user(world.there.tenant_id, world.there.user_id) is not None


async def test_there_is_one_active_and_one_next_key_for_an_algorithm(world: World) -> None:
    tenant_id = world.here.tenant_id
    states: tuple[KeyState, ...] = ("active", "next")
    for state in states:
        await world.operator.add_key(tenant_id, key(state), events=[])
        with pytest.raises(Conflict):
            await world.operator.add_key(tenant_id, key(state), events=[event("late")])
        await world.operator.add_key(tenant_id, key(state, algorithm="RS256"), events=[])
    assert "late" not in await world.event_types()
    assert len(await world.storage.signing_keys(tenant_id)) == 4
    assert await world.storage.signing_keys(world.there.tenant_id) == []


async def test_of_two_rotations_at_once_one_wins(world: World) -> None:
    tenant_id = world.here.tenant_id
    active, next_ = key("active"), key("next", at=NOW + 1)
    for one in (active, next_):
        await world.operator.add_key(tenant_id, one, events=[])
    offered = [key("next", at=NOW + 100) for _ in range(8)]
    won = await asyncio.gather(
        *(
            world.operator.rotate_keys(tenant_id, "ES256", one, now=NOW + 101, event=event("signing_key.rotated"))
            for one in offered
        )
    )
    assert sorted(won) == [False] * 7 + [True]
    kept = offered[won.index(True)]
    assert {found.kid: found.state for found in await world.storage.signing_keys(tenant_id)} == {
        kept.kid: "next",
        next_.kid: "active",
        active.kid: "previous",
    }
    assert (await world.event_types()).count("signing_key.rotated") == 1
    later = key("next", at=NOW + 200)
    assert await world.operator.rotate_keys(tenant_id, "ES256", later, now=NOW + 201, event=event("x"))
    newest = await world.storage.signing_keys(tenant_id)
    assert [found.kid for found in newest] == [later.kid, kept.kid, next_.kid, active.kid]


async def test_previous_keys_are_dropped_when_nothing_needs_them(world: World) -> None:
    tenant_id = world.here.tenant_id
    for one in (key("active"), key("next")):
        await world.operator.add_key(tenant_id, one, events=[])
    await world.operator.rotate_keys(tenant_id, "ES256", key("next", at=NOW + 1), now=NOW + 2, event=event("x"))
    drop = world.operator.drop_previous_keys
    assert await drop(tenant_id, older_than=NOW + 2, event=event("signing_key.dropped")) == 0
    assert await drop(world.there.tenant_id, older_than=NOW + 3, event=event("signing_key.dropped")) == 0
    assert await drop(tenant_id, older_than=NOW + 3, event=event("signing_key.dropped")) == 1
    assert (await world.event_types()).count("signing_key.dropped") == 1
    assert {found.state for found in await world.storage.signing_keys(tenant_id)} == {"active", "next"}


async def test_events_are_appended_for_many_tenants_and_read_in_pages(world: World) -> None:
    mine = [replace(event("sign_in.failed", reason="password"), event_id=str(uuid_utils.uuid7())) for _ in range(5)]
    other = event("sign_in.ok")
    await world.storage.write_events([(world.here.tenant_id, one) for one in mine] + [(world.there.tenant_id, other)])
    await world.storage.write_events([])
    read = world.storage.read_events
    first = await read(world.here.tenant_id, limit=3, type_prefix="sign_in.")
    assert list(first) == mine[:-4:-1]
    rest = await read(world.here.tenant_id, limit=3, type_prefix="sign_in.", before=first[-1].event_id)
    assert list(rest) == mine[1::-1]
    assert list(await read(world.there.tenant_id, limit=3, type_prefix="sign_in.")) == [other]
    assert await read(world.here.tenant_id, limit=3, type_prefix="sign%") == []


async def test_what_has_expired_is_purged_and_what_lives_stays(world: World) -> None:
    tenant_id, storage = world.here.tenant_id, world.storage
    grant, refresh = await world.issued()
    token = world.here.opaque(grant)
    await storage.store_tokens(tenant_id, grant_id=grant.grant_id, refresh=None, opaque=token, now=NOW, events=[])
    interactions = [world.here.interaction() for _ in range(5)]
    for interaction in interactions:
        await storage.store_interaction(tenant_id, interaction)
    digest = new_digest()
    await storage.start_session(tenant_id, digest, world.here.session(), replaces=None, events=[])
    removed = await world.operator.purge_expired(now=NOW + 3601, batch=2)
    assert removed["interaction"] >= 5
    assert removed["opaque_token"] >= 1
    assert removed["session"] >= 1
    assert await storage.find_opaque_token(tenant_id, token.digest, now=NOW) is None
    assert await storage.find_refresh_token(tenant_id, refresh, grace_seconds=20, now=NOW) is not None
    assert (await storage.find_token_state(tenant_id, token_id="j", grant_id=grant.grant_id)).active
    await world.operator.purge_expired(now=NOW + 60 * 24 * 3600)
    assert not (await storage.find_token_state(tenant_id, token_id="j", grant_id=grant.grant_id)).active


async def test_audit_events_go_by_whole_months_as_long_after_their_end_as_the_operator_says(world: World) -> None:
    february = datetime(2027, 2, 1, tzinfo=UTC).timestamp()
    old, young = event("old", at=NOW), event("young", at=february)
    await world.storage.write_events([(world.here.tenant_id, old), (world.here.tenant_id, young)])
    end = february + 400 * 24 * 3600
    await world.operator.purge_expired(now=end - 1)
    assert {"old", "young"} <= set(await world.event_types())
    assert (await world.operator.purge_expired(now=end))["audit_event"] >= 1
    assert (set(await world.event_types()) & {"old", "young"}) == {"young"}
    await world.operator.purge_expired(now=february + 29 * 24 * 3600, audit_retention_days=1)
    assert "young" not in await world.event_types()


async def test_an_event_that_is_written_again_is_kept_once(world: World) -> None:
    for at in (0.0, NOW + 0.123456, 4e9):
        again = event("told.twice", at=at)
        for _ in range(2):
            await world.storage.write_events([(world.here.tenant_id, again)])
        assert (await world.event_types()).count("told.twice") == 1
        await world.operator.purge_expired(now=at + 500 * 24 * 3600)


async def test_a_ready_store_passes_its_check(world: World) -> None:
    await world.storage.check()
