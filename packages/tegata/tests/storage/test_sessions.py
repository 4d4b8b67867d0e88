"""Browser sessions, consent and waiting authorization requests."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tegata.identifiers import Digest, UserId
from tegata.identity.session import Session
from tegata.storage.errors import Conflict
from tegata.storage.records import ConsentRecord, DesiredUser, FoundSession
from tegata.testing.records import NOW, Inhabited, World, event, new_digest

pytestmark = pytest.mark.anyio

IDLE = 7200


async def find(
    world: World, digest: Digest, *, now: float = NOW, tenant: Inhabited | None = None, client_id: str | None = "web"
) -> FoundSession | None:
    return await world.storage.find_session(
        (tenant or world.here).tenant_id, digest, client_id=client_id, idle_seconds=IDLE, now=now
    )


async def start(world: World, session: Session | None = None, *, replaces: Digest | None = None) -> Digest:
    digest = new_digest()
    await world.storage.start_session(
        world.here.tenant_id,
        digest,
        session or world.here.session(),
        replaces=replaces,
        events=[event("session.started")],
    )
    return digest


async def is_active(world: World, grant_id: object) -> bool:
    state = await world.storage.find_token_state(world.here.tenant_id, token_id="j", grant_id=grant_id)  # type: ignore[arg-type]
    return state.active


async def test_a_session_is_found_with_its_user_and_only_in_its_tenant(world: World) -> None:
    session = world.here.session()
    digest = await start(world, session)
    found = await find(world, digest)
    assert found is not None
    assert found.session == session
    assert found.user.username == "taro"
    assert found.consent is None
    assert await find(world, digest, tenant=world.there) is None
    assert await find(world, new_digest()) is None
    assert (await world.event_types())[0] == "session.started"


async def test_a_session_ends_by_idleness_and_by_age(world: World) -> None:
    digest = await start(world)
    assert await find(world, digest, now=NOW + 3599) is not None
    assert await find(world, digest, now=NOW + 3600) is None
    idle = await start(world)
    found = await world.storage.find_session(world.here.tenant_id, idle, client_id=None, idle_seconds=60, now=NOW + 60)
    assert found is None


async def test_being_seen_is_written_once_a_minute(world: World) -> None:
    digest = await start(world)
    for moment, seen in ((59, 0), (60, 0), (61, 60), (119, 60)):
        found = await find(world, digest, now=NOW + moment)
        assert found is not None
        assert found.session.last_seen_at == NOW + seen


async def test_a_disabled_user_has_no_session(world: World) -> None:
    digest = await start(world)
    await world.operator.put_user(
        world.here.tenant_id, world.here.user_id, DesiredUser("taro", {}, (), disabled=True), events=[]
    )
    assert await find(world, digest) is None


@pytest.mark.parametrize(
    ("password_hash", "disabled", "ends"),
    [("new", False, True), ("old", False, False), (None, False, False), (None, True, True)],
    ids=["another password", "the same password", "no word of a password", "disabling"],
)
async def test_another_password_or_disabling_ends_sessions_and_grants(
    world: World, password_hash: str | None, disabled: bool, ends: bool
) -> None:
    async def put(name: str, user_id: UserId, password_hash: str | None, *, disabled: bool = False) -> None:
        desired = DesiredUser(name, {}, (), disabled, password_hash)
        await world.operator.put_user(world.here.tenant_id, user_id, desired, events=[])

    other = UserId(uuid4())
    await put("taro", world.here.user_id, "old")
    await put("jiro", other, "old")
    session = world.here.session()
    digest, others = await start(world, session), await start(world, world.here.session(other))
    grant, _ = await world.issued(session_id=session.session_id)
    offline, _ = await world.issued(offline=True)
    await put("TARO", UserId(uuid4()), password_hash, disabled=disabled)
    await put("taro", UserId(uuid4()), None)
    assert (await find(world, digest) is None) is ends
    for issued in (grant, offline):
        assert await is_active(world, issued.grant_id) is not ends
    assert await find(world, others) is not None


async def test_signing_in_again_moves_the_grants_to_the_new_session(world: World) -> None:
    first, second = world.here.session(), world.here.session()
    old = await start(world, first)
    grant, _ = await world.issued(session_id=first.session_id)
    new = await start(world, second, replaces=old)
    assert await find(world, old) is None
    assert await find(world, new) is not None
    assert await is_active(world, grant.grant_id)
    state = await world.storage.find_token_state(world.here.tenant_id, token_id="j", grant_id=grant.grant_id)
    assert state.grant is not None
    assert state.grant.session_id == second.session_id


async def test_another_user_in_the_same_browser_ends_the_first_ones_session(world: World) -> None:
    other = UserId(uuid4())
    await world.operator.put_user(world.here.tenant_id, other, DesiredUser("jiro", {}, ()), events=[])
    first = world.here.session()
    old = await start(world, first)
    grant, _ = await world.issued(session_id=first.session_id)
    offline, _ = await world.issued(session_id=first.session_id, offline=True)
    await start(world, world.here.session(other), replaces=old)
    assert await find(world, old) is None
    assert not await is_active(world, grant.grant_id)
    assert await is_active(world, offline.grant_id)


async def test_a_digest_is_never_used_twice(world: World) -> None:
    digest = await start(world)
    with pytest.raises(Conflict):
        await world.storage.start_session(
            world.here.tenant_id, digest, world.here.session(), replaces=None, events=[event("late")]
        )
    assert "late" not in await world.event_types()


async def test_ending_a_session_revokes_its_grants_but_not_offline_ones(world: World) -> None:
    session = world.here.session()
    digest = await start(world, session)
    grant, _ = await world.issued(session_id=session.session_id)
    offline, _ = await world.issued(session_id=session.session_id, offline=True)
    other = world.here.session()
    await start(world, other)
    elsewhere, _ = await world.issued(session_id=other.session_id)
    storage = world.storage
    await storage.end_session(world.there.tenant_id, session.session_id, now=NOW, event=event("session.ended"))
    assert await find(world, digest) is not None
    for _ in range(2):
        await storage.end_session(world.here.tenant_id, session.session_id, now=NOW, event=event("session.ended"))
    assert await find(world, digest) is None
    assert not await is_active(world, grant.grant_id)
    assert await is_active(world, offline.grant_id)
    assert await is_active(world, elsewhere.grant_id)
    assert (await world.event_types()).count("session.ended") == 1


async def test_consent_grows_and_belongs_to_one_client(world: World) -> None:
    digest = await start(world)
    for scopes, claims, resource in (
        ({"openid", "read"}, {"email"}, "https://a"),
        ({"write"}, set[str](), "https://b"),
    ):
        consent = ConsentRecord(
            world.here.user_id, "web", frozenset(scopes), frozenset(claims), frozenset({resource}), NOW
        )
        await world.storage.store_consent(world.here.tenant_id, consent, events=[event("consent.given")])
    found = await find(world, digest)
    assert found is not None
    assert found.consent == ConsentRecord(
        world.here.user_id,
        "web",
        frozenset({"openid", "read", "write"}),
        frozenset({"email"}),
        frozenset({"https://a", "https://b"}),
        NOW,
    )
    for client_id in ("other", None):
        found = await find(world, digest, client_id=client_id)
        assert found is not None
        assert found.consent is None
    assert (await world.event_types()).count("consent.given") == 2


async def test_an_interaction_is_looked_at_many_times_and_dropped_once(world: World) -> None:
    storage, tenant_id, interaction = world.storage, world.here.tenant_id, world.here.interaction()
    await storage.store_interaction(tenant_id, interaction)
    for _ in range(2):
        assert await storage.find_interaction(tenant_id, interaction.digest, now=NOW) == interaction
    assert await storage.find_interaction(tenant_id, interaction.digest, now=interaction.expires_at) is None
    there = world.there.tenant_id
    assert await storage.find_interaction(there, interaction.digest, now=NOW) is None
    assert not await storage.drop_interaction(there, interaction.digest)
    assert await storage.drop_interaction(tenant_id, interaction.digest, events=[event("refused")])
    assert not await storage.drop_interaction(tenant_id, interaction.digest, events=[event("refused")])
    assert (await world.event_types()).count("refused") == 1
