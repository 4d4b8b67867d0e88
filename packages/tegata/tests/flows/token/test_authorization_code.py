"""Exchanging a code: once, by the right client, with the right proof; and what a refusal leaves behind."""

from __future__ import annotations

import asyncio

import pytest

from tegata.crypto.digests import new_secret
from tegata.testing.relying_party import Browser, RelyingParty, claims_of
from tegata.testing.server import API, OTHER_API, Interleaved, Server, serving

pytestmark = pytest.mark.anyio


async def code_for(party: RelyingParty, browser: Browser | None = None, **changes: str | None) -> str:
    """Return a fresh code."""
    return (await party.authorize(browser or Browser(party.server), **changes))["code"]


async def test_the_answer_is_complete_and_must_not_be_cached(own: RelyingParty) -> None:
    reply = await own.redeem(await code_for(own))
    assert reply.status == 200
    assert reply.header("cache-control") == "no-store"
    assert set(reply.json) == {"access_token", "token_type", "expires_in", "scope", "refresh_token", "id_token"}
    assert reply.json["token_type"] == "Bearer"
    assert claims_of(reply.json["id_token"])["nonce"] == own.nonce


async def test_a_code_works_once_and_a_replay_ends_what_it_led_to(server: Server, own: RelyingParty) -> None:
    code = await code_for(own)
    tokens = (await own.redeem(code)).json
    refreshed = (await own.refresh(tokens["refresh_token"])).json
    replay = await own.redeem(code)
    assert (replay.status, replay.json["error"]) == (400, "invalid_grant")
    for token in (tokens["access_token"], refreshed["access_token"], refreshed["refresh_token"]):
        assert not (await own.introspect(token))["active"]
    assert (await own.userinfo(tokens["access_token"])).status == 401
    assert (await own.refresh(refreshed["refresh_token"])).json["error"] == "invalid_grant"
    assert (await own.redeem(code)).json["error"] == "invalid_grant"
    events = [event.type for event in await server.audit()]
    assert "code.replayed" in events
    assert "token.refused code_replayed" in await server.reasons()


async def test_a_replay_is_one_grants_affair(server: Server, own: RelyingParty) -> None:
    browser = Browser(server)
    kept = await own.sign_in(browser)
    code = await code_for(own, browser)
    await own.redeem(code)
    await own.redeem(code)
    assert (await own.introspect(kept["access_token"]))["active"]
    assert (await own.refresh(kept["refresh_token"])).status == 200


async def test_of_fifty_exchanges_at_once_one_succeeds_and_the_replays_end_it(own: RelyingParty) -> None:
    code = await code_for(own)
    replies = await asyncio.gather(*(own.redeem(code) for _ in range(50)))
    good = [reply for reply in replies if reply.status == 200]
    assert len(good) == 1
    assert {reply.json["error"] for reply in replies if reply.status != 200} == {"invalid_grant"}
    assert not (await own.introspect(good[0].json["access_token"]))["active"]


async def test_fifty_exchanges_that_interleave_never_leave_a_living_token() -> None:
    async with serving(through=Interleaved) as server:
        own = RelyingParty(server, "opaque")
        code = await code_for(own)
        replies = await asyncio.gather(*(own.redeem(code) for _ in range(50)))
        good = [reply.json for reply in replies if reply.status == 200]
        assert len(good) == 1
        for tokens in good:
            assert not (await own.introspect(tokens["access_token"]))["active"]
        tables = server.storage._state.of(own.tenant.tenant_id)
        assert all(family.revoked_at is not None for family in tables.families.values())


@pytest.mark.parametrize("client_id", ["own", "opaque"])
async def test_a_logout_in_the_middle_of_an_exchange_leaves_no_living_token(client_id: str) -> None:
    async with serving(through=Interleaved) as server:
        party, browser = RelyingParty(server, client_id), Browser(server)
        hint = (await party.sign_in(browser))["id_token"]
        codes = [await code_for(party, browser) for _ in range(5)]
        leave = browser.get(f"/acme/end_session?id_token_hint={hint}")
        *replies, _ = await asyncio.gather(*(party.redeem(code) for code in codes), leave)
        assert {reply.status for reply in replies} <= {200, 400}
        for reply in replies:
            if reply.status == 200:
                assert not (await party.introspect(reply.json["access_token"]))["active"]
                assert (await party.refresh(reply.json["refresh_token"])).json["error"] == "invalid_grant"


async def test_a_code_of_another_client_is_unknown_and_stays_usable(server: Server, own: RelyingParty) -> None:
    code = await code_for(own)
    web = RelyingParty(server)
    web.code_verifier = own.code_verifier
    assert (await web.redeem(code)).json["error"] == "invalid_grant"
    reply = await own.redeem(code)
    assert reply.status == 200
    assert (await web.redeem(code)).json["error"] == "invalid_grant"
    assert (await own.introspect(reply.json["access_token"]))["active"]


async def test_a_code_of_another_tenant_is_unknown_and_stays_usable(server: Server, own: RelyingParty) -> None:
    code = await code_for(own)
    there = RelyingParty(server, "own", "other")
    there.code_verifier = own.code_verifier
    assert (await there.redeem(code)).json["error"] == "invalid_grant"
    assert "token.refused code_unknown" in await server.reasons("other")
    assert (await own.redeem(code)).status == 200


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"code_verifier": None}, "pkce_missing", id="no verifier"),
        pytest.param({"code_verifier": new_secret()}, "pkce_mismatch", id="another verifier"),
        pytest.param({"code_verifier": "short"}, "pkce_mismatch", id="a malformed verifier"),
        pytest.param({"redirect_uri": None}, "redirect_uri_missing", id="no redirect_uri"),
        pytest.param({"redirect_uri": "https://rp.example.net/other"}, "redirect_uri_mismatch", id="another one"),
    ],
)
async def test_a_wrong_proof_is_refused_and_spends_the_code(
    server: Server, own: RelyingParty, changes: dict[str, str | None], reason: str
) -> None:
    code = await code_for(own)
    reply = await own.redeem(code, **changes)
    assert (reply.status, reply.json["error"]) == (400, "invalid_grant")
    assert f"token.refused {reason}" in await server.reasons()
    assert (await own.redeem(code)).json["error"] == "invalid_grant"


async def test_a_verifier_without_a_challenge_is_a_downgrade(server: Server) -> None:
    legacy = RelyingParty(server, "legacy")
    code = await code_for(legacy, code_challenge=None, code_challenge_method=None)
    assert (await legacy.redeem(code)).json["error"] == "invalid_grant"
    assert "token.refused pkce_downgrade" in await server.reasons()


async def test_a_code_expires_after_a_minute(server: Server, own: RelyingParty) -> None:
    early, late = await code_for(own), await code_for(own)
    server.clock.advance(59)
    assert (await own.redeem(early)).status == 200
    server.clock.advance(1)
    assert (await own.redeem(late)).json["error"] == "invalid_grant"
    assert "token.refused code_expired" in await server.reasons()


async def test_a_replay_after_the_code_has_expired_still_ends_the_tokens(server: Server, own: RelyingParty) -> None:
    code = await code_for(own)
    tokens = (await own.redeem(code)).json
    server.clock.advance(120)
    assert (await own.redeem(code)).json["error"] == "invalid_grant"
    assert not (await own.introspect(tokens["access_token"]))["active"]


@pytest.mark.parametrize("code", ["made up", "x" * 43, "é"])
async def test_a_code_nobody_gave_is_refused(own: RelyingParty, code: str) -> None:
    assert (await own.redeem(code)).json["error"] == "invalid_grant"


async def test_no_code_is_an_invalid_request(own: RelyingParty) -> None:
    reply = await own.call("token", grant_type="authorization_code")
    assert reply.json["error"] == "invalid_request"


async def test_a_user_disabled_in_between_gets_no_tokens(server: Server, own: RelyingParty) -> None:
    code = await code_for(own)
    await server.put_user("taro", disabled=True)
    assert (await own.redeem(code)).json["error"] == "invalid_grant"


@pytest.mark.parametrize("client_id", ["own", "post", "jwt", "spa", "opaque", "pairwise"])
async def test_every_kind_of_client_gets_tokens_that_work(server: Server, client_id: str) -> None:
    party = RelyingParty(server, client_id)
    tokens = await party.sign_in()
    assert (await party.userinfo(tokens["access_token"])).json["name"] == "Taro"
    again = (await party.refresh(tokens["refresh_token"])).json
    assert (await party.userinfo(again["access_token"])).status == 200


async def test_no_refresh_token_for_a_client_without_that_grant(server: Server, own: RelyingParty) -> None:
    await server.change_client("own", grant_types=("authorization_code",))
    assert "refresh_token" not in await own.sign_in()


async def test_an_opaque_access_token_says_nothing_and_works(server: Server) -> None:
    party = RelyingParty(server, "opaque")
    token = (await party.sign_in())["access_token"]
    assert len(token) == 43
    answer = await party.introspect(token)
    assert answer["active"]
    assert answer["sub"] == str(party.tenant.users["taro"])
    assert answer["client_id"] == "opaque"
    server.clock.advance(3600)
    assert not (await party.introspect(token))["active"]


async def test_the_pairwise_subject_is_one_everywhere_and_another_elsewhere(server: Server) -> None:
    party = RelyingParty(server, "pairwise")
    tokens = await party.sign_in()
    refreshed = (await party.refresh(tokens["refresh_token"])).json
    subjects = {
        claims_of(tokens["id_token"])["sub"],
        claims_of(tokens["access_token"])["sub"],
        (await party.userinfo(tokens["access_token"])).json["sub"],
        (await party.introspect(tokens["access_token"]))["sub"],
        (await party.introspect(refreshed["refresh_token"]))["sub"],
        claims_of(refreshed["id_token"])["sub"],
        claims_of(refreshed["access_token"])["sub"],
    }
    assert len(subjects) == 1
    [subject] = subjects
    assert subject != str(party.tenant.users["taro"])
    await server.change_client("opaque", subject_type="pairwise", sector_identifier_uri="https://sector.example/")
    other = RelyingParty(server, "opaque")
    opaque = await other.sign_in()
    assert (await other.introspect(opaque["access_token"]))["sub"] not in {subject, str(party.tenant.users["taro"])}
    assert (await other.userinfo(opaque["access_token"])).json["sub"] == claims_of(opaque["id_token"])["sub"]
    hanako = await party.sign_in(username="hanako")
    assert claims_of(hanako["id_token"])["sub"] != subject
    assert str(party.tenant.users["taro"]) not in str(
        [claims_of(t) for t in (tokens["id_token"], tokens["access_token"])]
    )


# Resource indicators (RFC 8707) -------------------------------------------------------------------------------------


async def test_a_resource_named_at_authorization_is_the_audience(own: RelyingParty) -> None:
    tokens = await own.sign_in(scope="openid read write", resource=OTHER_API)
    claims = claims_of(tokens["access_token"])
    assert claims["aud"] == OTHER_API
    assert claims["scope"] == "read"  # the others mean nothing there
    assert tokens["scope"] == "read"


async def test_without_a_resource_the_issuer_or_the_configured_audience_is_the_audience(
    server: Server, own: RelyingParty
) -> None:
    assert claims_of((await own.sign_in())["access_token"])["aud"] == own.tenant.issuer
    await server.change_policy(default_audience=("a", "b"))
    assert claims_of((await own.sign_in())["access_token"])["aud"] == ["a", "b"]
    await server.change_client("own", default_audience=("c",))
    assert claims_of((await own.sign_in())["access_token"])["aud"] == "c"


async def test_another_resource_than_authorized_is_an_invalid_target(own: RelyingParty) -> None:
    code = await code_for(own, resource=API)
    assert (await own.redeem(code, resource=OTHER_API)).json["error"] == "invalid_target"
    code = await code_for(own, resource=API)
    assert (await own.redeem(code, resource="https://api.example.org/unknown")).json["error"] == "invalid_target"


async def test_a_resource_that_the_authorization_did_not_name_is_an_invalid_target(own: RelyingParty) -> None:
    assert (await own.redeem(await code_for(own), resource=API)).json["error"] == "invalid_target"
