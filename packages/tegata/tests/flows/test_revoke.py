"""Revocation: a client gives up its own tokens, and nobody else's."""

from __future__ import annotations

import pytest

from tegata.testing.relying_party import Browser, RelyingParty, claims_of
from tegata.testing.server import Server

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("client_id", ["own", "opaque"])
async def test_a_revoked_access_token_ends_alone(server: Server, client_id: str) -> None:
    party = RelyingParty(server, client_id)
    tokens = await party.sign_in()
    reply = await party.call("revoke", token=tokens["access_token"])
    assert reply.status == 200
    assert not (await party.introspect(tokens["access_token"]))["active"]
    assert (await party.userinfo(tokens["access_token"])).status == 401
    again = (await party.refresh(tokens["refresh_token"])).json
    assert (await party.introspect(again["access_token"]))["active"]
    [revoked] = await server.audit(type_prefix="token.revoked")
    assert (revoked.client_id, revoked.reason) == (client_id, "revoked_by_client")


async def test_a_jwt_is_revoked_by_its_identifier_until_it_would_have_ended(server: Server, own: RelyingParty) -> None:
    token = (await own.sign_in())["access_token"]
    await own.call("revoke", token=token)
    revoked = server.storage._state.of(own.tenant.tenant_id).revoked_tokens
    assert revoked == {claims_of(token)["jti"]: float(claims_of(token)["exp"])}


@pytest.mark.parametrize("client_id", ["own", "opaque"])
async def test_a_revoked_refresh_token_takes_its_family_and_no_other(server: Server, client_id: str) -> None:
    party, browser = RelyingParty(server, client_id), Browser(server)
    kept, given_up = await party.sign_in(browser), await party.sign_in(browser)
    current = (await party.refresh(given_up["refresh_token"])).json
    assert (await party.call("revoke", token=given_up["refresh_token"])).status == 200  # an older generation will do
    for token in (given_up["access_token"], current["access_token"], current["refresh_token"]):
        assert not (await party.introspect(token))["active"]
    assert (await party.refresh(current["refresh_token"])).json["error"] == "invalid_grant"
    assert (await party.introspect(kept["access_token"]))["active"]
    assert (await party.refresh(kept["refresh_token"])).status == 200


async def test_a_foreign_client_changes_nothing_and_learns_nothing(server: Server, web: RelyingParty) -> None:
    for client_id in ("own", "opaque"):
        party = RelyingParty(server, client_id)
        tokens = await party.sign_in()
        for name in ("access_token", "refresh_token"):
            reply = await web.call("revoke", token=tokens[name])
            assert (reply.status, reply.body) == (200, (await web.call("revoke", token="made up")).body)
            assert (await party.introspect(tokens[name]))["active"]
    assert not await server.audit(type_prefix="token.revoked")


async def test_a_public_client_may_give_up_its_own_tokens(server: Server) -> None:
    spa, web = RelyingParty(server, "spa"), RelyingParty(server)
    tokens = await spa.sign_in()
    assert (await spa.call("revoke", token=tokens["access_token"])).status == 200
    assert not (await web.introspect(tokens["access_token"]))["active"]
    assert (await spa.call("revoke", token=tokens["refresh_token"])).status == 200
    assert (await spa.refresh(tokens["refresh_token"])).json["error"] == "invalid_grant"


async def test_without_authentication_nothing_is_revoked(server: Server, own: RelyingParty) -> None:
    token = (await own.sign_in())["access_token"]
    for fields in ({"token": token}, {"token": token, "client_id": "own"}):
        reply = await server.request("POST", "/acme/revoke", fields=fields)
        assert (reply.status, reply.json["error"]) == (401, "invalid_client")
    assert (await own.introspect(token))["active"]


async def test_an_unknown_expired_or_strange_token_is_no_error(server: Server, own: RelyingParty) -> None:
    tokens = await own.sign_in()
    server.clock.advance(8 * 24 * 3600)
    for token in (tokens["access_token"], tokens["refresh_token"], tokens["id_token"], "x", "a.b.c", "é.é.é"):
        assert (await own.call("revoke", token=token)).status == 200
    assert (await own.call("revoke", token="x", token_type_hint="nonsense")).status == 200
    assert (await own.call("revoke")).json["error"] == "invalid_request"


async def test_revoking_twice_is_audited_once(server: Server, own: RelyingParty) -> None:
    tokens = await own.sign_in()
    for _ in range(2):
        await own.call("revoke", token=tokens["access_token"])
        await own.call("revoke", token=tokens["refresh_token"])
    assert len(await server.audit(type_prefix="token.revoked")) == 2
