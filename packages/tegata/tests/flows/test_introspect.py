"""Introspection: who may ask, and what counts as active."""

from __future__ import annotations

import pytest

from tegata.testing.relying_party import Browser, RelyingParty, claims_of
from tegata.testing.server import Server

pytestmark = pytest.mark.anyio


async def test_the_answer_names_the_token_its_user_and_its_client(own: RelyingParty, web: RelyingParty) -> None:
    token = (await own.sign_in())["access_token"]
    answer = await web.introspect(token)  # any confidential client of the tenant may be a resource server
    claims = claims_of(token)
    assert answer["active"] is True
    assert answer["token_type"] == "Bearer"
    assert answer["username"] == "taro"
    for name in ("iss", "sub", "aud", "client_id", "scope", "jti", "iat", "exp", "auth_time", "acr"):
        assert answer[name] == claims[name]


async def test_a_public_client_and_a_stranger_may_not_ask(server: Server, own: RelyingParty) -> None:
    token = (await own.sign_in())["access_token"]
    for fields in ({"client_id": "spa", "token": token}, {"token": token}, {"client_id": "web", "token": token}):
        reply = await server.request("POST", "/acme/introspect", fields=fields)
        assert (reply.status, reply.json["error"]) == (401, "invalid_client")
    bearer = {"authorization": f"Bearer {token}"}
    assert (await server.request("POST", "/acme/introspect", fields={"token": token}, headers=bearer)).status == 401


@pytest.mark.parametrize("client_id", ["own", "opaque"])
async def test_a_refresh_token_is_its_own_clients_business(server: Server, web: RelyingParty, client_id: str) -> None:
    party = RelyingParty(server, client_id)
    tokens = await party.sign_in()
    answer = await party.introspect(tokens["refresh_token"])
    assert (answer["active"], answer["client_id"], answer["token_type"]) == (True, client_id, "refresh_token")
    assert await web.introspect(tokens["refresh_token"]) == {"active": False}


async def test_the_parent_of_a_refresh_token_is_active_in_its_grace_only(server: Server, own: RelyingParty) -> None:
    parent = (await own.sign_in())["refresh_token"]
    await own.refresh(parent)
    assert (await own.introspect(parent))["active"]
    server.clock.advance(21)
    assert not (await own.introspect(parent))["active"]


@pytest.mark.parametrize("client_id", ["own", "opaque"])
async def test_an_access_token_ends_with_its_time_its_user_or_its_grant(server: Server, client_id: str) -> None:
    party = RelyingParty(server, client_id)
    tokens = await party.sign_in()
    token = tokens["access_token"]
    assert (await party.introspect(token))["active"]
    await server.put_user("taro", disabled=True)
    assert await party.introspect(token) == {"active": False}
    await server.put_user("taro")
    assert await party.introspect(token) == {"active": False}
    tokens = await party.sign_in()
    token = tokens["access_token"]
    assert (await party.introspect(token))["active"]
    await party.call("revoke", token=tokens["refresh_token"])
    assert await party.introspect(token) == {"active": False}
    token = (await party.sign_in())["access_token"]
    server.clock.advance(3600)
    assert await party.introspect(token) == {"active": False}


async def test_what_is_no_token_is_just_inactive(server: Server, own: RelyingParty) -> None:
    tokens = await own.sign_in()
    header, claims, signature = tokens["access_token"].split(".")
    unsigned = f"eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{claims}."
    for token in (
        "made up",
        "a.b.c",
        "...",
        "..",
        tokens["id_token"],
        f"{header}.{claims}.{signature[::-1]}",
        unsigned,
        "é.é.é",
        "x" * 16_000,
    ):
        assert await own.introspect(token) == {"active": False}


async def test_a_hint_of_the_token_type_changes_nothing(own: RelyingParty) -> None:
    tokens = await own.sign_in()
    for name in ("access_token", "refresh_token"):
        for hint in ("access_token", "refresh_token", "nonsense"):
            reply = await own.call("introspect", token=tokens[name], token_type_hint=hint)
            assert reply.json["active"]


async def test_requests_without_a_token_or_with_two_are_refused(server: Server, own: RelyingParty) -> None:
    assert (await own.call("introspect")).json["error"] == "invalid_request"
    headers, _ = own.credentials()
    reply = await server.request("POST", "/acme/introspect", fields=[("token", "a"), ("token", "a")], headers=headers)
    assert reply.json["error"] == "invalid_request"
    reply = await server.request("POST", "/acme/introspect?token=a", fields={"token": "a"}, headers=headers)
    assert reply.json["error"] == "invalid_request"


async def test_the_answer_is_never_cached(own: RelyingParty) -> None:
    assert (await own.call("introspect", token="x")).header("cache-control") == "no-store"


@pytest.mark.parametrize("client_id", ["own", "opaque"])
async def test_tokens_of_another_tenant_are_nobodys_here(server: Server, client_id: str) -> None:
    here, there = RelyingParty(server, client_id), RelyingParty(server, client_id, "other")
    tokens = await there.sign_in()
    for name in ("access_token", "refresh_token"):
        assert await here.introspect(tokens[name]) == {"active": False}
        assert (await here.call("revoke", token=tokens[name])).status == 200
        assert (await there.introspect(tokens[name]))["active"]
    assert (await here.userinfo(tokens["access_token"])).status == 401
    assert not await server.audit("acme", "token.revoked")


async def test_a_browser_signed_in_at_both_tenants_keeps_them_apart(server: Server, browser: Browser) -> None:
    here, there = RelyingParty(server, "own"), RelyingParty(server, "own", "other")
    mine, theirs = await here.sign_in(browser, "taro"), await there.sign_in(browser, "hanako")
    assert claims_of(mine["id_token"])["sub"] == str(here.tenant.users["taro"])
    assert claims_of(theirs["id_token"])["sub"] == str(there.tenant.users["hanako"])


@pytest.mark.parametrize("client_id", ["own", "opaque", "service"])
@pytest.mark.parametrize("ended", ["disabled", "deleted"])
async def test_tokens_end_with_their_client(server: Server, web: RelyingParty, client_id: str, ended: str) -> None:
    party = RelyingParty(server, client_id)
    if client_id == "service":
        token = (await party.call("token", grant_type="client_credentials")).json["access_token"]
    else:
        token = (await party.sign_in())["access_token"]
    assert (await web.introspect(token))["active"]
    if ended == "disabled":
        await server.change_client(client_id, disabled=True)
    else:
        await server.storage.delete_client(party.tenant.tenant_id, client_id, events=())
    assert await web.introspect(token) == {"active": False}
    assert (await web.userinfo(token)).status == 401
