"""Nothing may go on after the thing it hangs on has ended."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tegata.identifiers import SessionId
from tegata.identity.session import Session
from tegata.storage.records import NewRefreshToken
from tegata.testing.records import NOW, World, event, new_digest
from tegata.testing.relying_party import Browser, RelyingParty
from tegata.testing.server import PASSWORD, SIGNED_OUT, Server, quick_hash

pytestmark = pytest.mark.anyio


async def started(world: World) -> Session:
    session = world.here.session()
    await world.storage.start_session(world.here.tenant_id, new_digest(), session, replaces=None, events=[])
    return session


async def test_a_logout_between_looking_at_the_session_and_keeping_the_code_wins(world: World) -> None:
    """/authorize has found the session; /end_session commits; only then the code is kept."""
    session = await started(world)
    here = world.here.tenant_id
    code = world.here.code(world.here.grant(session_id=session.session_id))
    await world.storage.end_session(here, session.session_id, now=NOW, event=event("session.ended"))
    kept = await world.storage.store_code(here, code, interaction=None, events=[])
    taken = await world.storage.take_code(
        here, code.digest, client_id="web", now=NOW, replay_event=event("code.replayed")
    )
    assert not kept or taken.outcome != "taken"


async def test_a_logout_after_the_code_is_kept_takes_code_and_tokens_with_it(world: World) -> None:
    session = await started(world)
    here = world.here.tenant_id
    code = world.here.code(world.here.grant(session_id=session.session_id))
    assert await world.storage.store_code(here, code, interaction=None, events=[])
    taken = await world.storage.take_code(
        here, code.digest, client_id="web", now=NOW, replay_event=event("code.replayed")
    )
    assert taken.outcome == "taken"
    await world.storage.end_session(here, session.session_id, now=NOW, event=event("session.ended"))
    refresh = NewRefreshToken(new_digest(), NOW + 60)
    assert not await world.storage.store_tokens(
        here, grant_id=code.grant.grant_id, refresh=refresh, opaque=None, now=NOW, events=[]
    )


async def test_a_session_of_another_tenant_cannot_be_ended_or_replaced(world: World) -> None:
    digest, session = new_digest(), world.here.session()
    await world.storage.start_session(world.here.tenant_id, digest, session, replaces=None, events=[])
    there = world.there.tenant_id
    await world.storage.end_session(there, session.session_id, now=NOW, event=event("session.ended"))
    await world.storage.end_session(there, SessionId(uuid4()), now=NOW, event=event("session.ended"))
    await world.storage.start_session(
        there, new_digest(), world.there.session(), replaces=digest, events=[event("session.started")]
    )
    found = await world.storage.find_session(world.here.tenant_id, digest, client_id=None, idle_seconds=7200, now=NOW)
    assert found is not None


async def test_a_logout_after_the_session_went_idle_still_ends_its_grants(server: Server) -> None:
    """The person says "log me out" with a valid hint; refresh tokens without offline_access must not live on."""
    party, browser = RelyingParty(server, "own"), Browser(server)
    tokens = await party.sign_in(browser)
    server.clock.advance(2 * 3600 + 1)
    await browser.get(f"/acme/end_session?id_token_hint={tokens['id_token']}&post_logout_redirect_uri={SIGNED_OUT}")
    assert (await party.refresh(tokens["refresh_token"])).status == 400


async def test_a_new_password_ends_the_sessions_that_the_old_one_opened(server: Server) -> None:
    """Pitfalls P76: what an operator does when an account was taken over."""
    party, thief = RelyingParty(server, "own"), Browser(server)
    await party.sign_in(thief)
    await server.put_user("taro", password_hash=quick_hash("a new one"), roles=("viewer",))
    reply = await thief.get(party.url(prompt="none"))
    assert party.answer(reply).get("error") == "login_required"


@pytest.mark.parametrize("client_id", ["service", "web"])
async def test_access_tokens_of_a_disabled_client_are_inactive(server: Server, client_id: str) -> None:
    party, asker = RelyingParty(server, client_id), RelyingParty(server, "post")
    if client_id == "service":
        token = (await party.call("token", grant_type="client_credentials")).json["access_token"]
    else:
        token = (await party.sign_in())["access_token"]
    await server.change_client(client_id, disabled=True)
    server.services.directory.changed(None, "all", "")
    assert await asker.introspect(token) == {"active": False}


async def test_hashing_an_old_password_anew_does_not_undo_a_reset(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thief signs in with an outdated hash while the operator resets the password."""
    await server.put_user("taro", password_hash=quick_hash(PASSWORD, outdated=True))

    async def hash_slowly(password: str) -> str:
        await server.put_user("taro", password_hash=quick_hash("a new one"))
        return quick_hash(password)

    monkeypatch.setattr(server.passwords, "hash", hash_slowly)
    party = RelyingParty(server, "own")
    await party.sign_in()
    browser = Browser(server)
    reply = await browser.sign_in(await browser.get(party.url()), password="a new one")
    assert reply.status == 303
