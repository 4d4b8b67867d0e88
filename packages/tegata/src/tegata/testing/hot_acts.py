"""The acts of the hot endpoints, each with what it needs in place: for tests of plans and for their cost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import uuid4

from tegata.identifiers import Digest, GrantId
from tegata.identity.throttle import ThrottleBucket, ThrottleLimits
from tegata.storage.records import CodeRecord, ConsentRecord, NewRefreshToken, OpaqueTokenRecord
from tegata.testing.records import NOW, World, event, new_digest

Act = Callable[[], Awaitable[object]]


async def hot_acts(world: World) -> dict[str, Act]:
    """Prepare one round of all acts, to be carried out once and in this order."""
    tenant_id = world.here.tenant_id
    living = world.here.session()
    await world.storage.start_session(tenant_id, new_digest(), living, replaces=None, events=[])
    grant, refresh = await world.issued(session_id=living.session_id)
    return {
        **_of_clients(world),
        **_of_people(world),
        **_of_codes(world, world.here.code(world.here.grant(session_id=living.session_id))),
        **_of_access_tokens(world, world.here.opaque(grant)),
        **_of_refresh_tokens(world, refresh, grant.grant_id),
    }


def _of_clients(world: World) -> dict[str, Act]:
    tenant_id, storage, interaction = world.here.tenant_id, world.storage, world.here.interaction()
    return {
        "find_tenant": lambda: storage.find_tenant(world.here.name),
        "find_client": lambda: storage.find_client(tenant_id, "web"),
        "signing_keys": lambda: storage.signing_keys(tenant_id),
        "take_assertion_id": lambda: storage.take_assertion_id(
            tenant_id, client_id="web", jti=str(uuid4()), expires_at=NOW
        ),
        "store_interaction": lambda: storage.store_interaction(tenant_id, interaction),
        "find_interaction": lambda: storage.find_interaction(tenant_id, interaction.digest, now=NOW),
        "drop_interaction": lambda: storage.drop_interaction(tenant_id, interaction.digest),
        "write_events": lambda: storage.write_events([(tenant_id, event("a"))]),
    }


def _of_people(world: World) -> dict[str, Act]:
    tenant_id, storage, session, cookie = world.here.tenant_id, world.storage, world.here.session(), new_digest()
    buckets = [ThrottleBucket(new_digest(), 5)]
    return {
        "count_attempt": lambda: storage.count_attempt(tenant_id, buckets, ThrottleLimits(), now=NOW),
        "take_back_attempt": lambda: storage.take_back_attempt(tenant_id, [buckets[0].key], now=NOW),
        "clear_attempts": lambda: storage.clear_attempts(tenant_id, [buckets[0].key]),
        "find_password": lambda: storage.find_password(tenant_id, "taro"),
        "find_password by address": lambda: storage.find_password(tenant_id, "nobody@example.com"),
        "update_password_hash": lambda: storage.update_password_hash(tenant_id, world.here.user_id, old="a", new="b"),
        "store_consent": lambda: storage.store_consent(
            tenant_id,
            ConsentRecord(world.here.user_id, "web", frozenset({"openid"}), frozenset(), frozenset(), NOW),
            events=[event("a")],
        ),
        "get_user": lambda: storage.get_user(tenant_id, world.here.user_id),
        "start_session": lambda: storage.start_session(
            tenant_id, cookie, session, replaces=new_digest(), events=[event("a")]
        ),
        "find_session": lambda: storage.find_session(tenant_id, cookie, client_id="web", idle_seconds=60, now=NOW),
        "end_session": lambda: storage.end_session(tenant_id, session.session_id, now=NOW, event=event("a")),
    }


def _of_codes(world: World, code: CodeRecord) -> dict[str, Act]:
    tenant_id, storage = world.here.tenant_id, world.storage
    return {
        "store_code": lambda: storage.store_code(tenant_id, code, interaction=None, events=[event("a")]),
        "take_code": lambda: storage.take_code(
            tenant_id, code.digest, client_id="web", now=NOW, replay_event=event("a")
        ),
        "store_tokens": lambda: storage.store_tokens(
            tenant_id,
            grant_id=code.grant.grant_id,
            refresh=NewRefreshToken(new_digest(), NOW + 60),
            opaque=None,
            now=NOW,
            events=[event("a")],
        ),
    }


def _of_access_tokens(world: World, opaque: OpaqueTokenRecord) -> dict[str, Act]:
    tenant_id, storage = world.here.tenant_id, world.storage
    return {
        "store_tokens, opaque": lambda: storage.store_tokens(
            tenant_id, grant_id=opaque.grant_id, refresh=None, opaque=opaque, now=NOW, events=[event("a")]
        ),
        "find_opaque_token": lambda: storage.find_opaque_token(tenant_id, opaque.digest, now=NOW),
        "find_token_state": lambda: storage.find_token_state(tenant_id, token_id="j", grant_id=opaque.grant_id),
        "revoke_opaque_token": lambda: storage.revoke_opaque_token(
            tenant_id, opaque.digest, client_id="web", now=NOW, event=event("a")
        ),
        "revoke_token_id": lambda: storage.revoke_token_id(
            tenant_id, str(uuid4()), expires_at=NOW + 60, event=event("a")
        ),
    }


def _of_refresh_tokens(world: World, refresh: Digest, grant_id: GrantId) -> dict[str, Act]:
    tenant_id, storage = world.here.tenant_id, world.storage
    return {
        "rotate_refresh_token": lambda: storage.rotate_refresh_token(
            tenant_id,
            refresh,
            client_id="web",
            successor=NewRefreshToken(new_digest(), NOW + 60),
            sealed_successor=b"sealed",
            scopes=None,
            resources=None,
            grace_seconds=20,
            now=NOW,
            issued_event=event("a"),
            reuse_event=event("b"),
        ),
        "find_refresh_token": lambda: storage.find_refresh_token(tenant_id, refresh, grace_seconds=20, now=NOW),
        "revoke_refresh_token": lambda: storage.revoke_refresh_token(
            tenant_id, refresh, client_id="web", now=NOW, event=event("a")
        ),
        "revoke_grant": lambda: storage.revoke_grant(tenant_id, grant_id, now=NOW, event=event("a")),
    }
