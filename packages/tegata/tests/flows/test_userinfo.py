"""UserInfo: how the token may arrive, which tokens open it, and what it tells."""

from __future__ import annotations

import json

import pytest

from tegata.testing.relying_party import Browser, RelyingParty, claims_of
from tegata.testing.server import API, OTHER_API, Reply, Server

pytestmark = pytest.mark.anyio


async def ask(server: Server, method: str = "GET", token: str | None = None, query: str = "", **fields: str) -> Reply:
    """Ask with the token in the header, or however the test sends it."""
    headers = {"authorization": f"Bearer {token}"} if token is not None else None
    return await server.request(
        method, f"/acme/userinfo{query}", headers=headers, fields=fields if method == "POST" else None
    )


async def test_the_token_may_come_in_the_header_or_in_a_form(server: Server, own: RelyingParty) -> None:
    token = (await own.sign_in())["access_token"]
    replies = [
        await ask(server, "GET", token),
        await ask(server, "POST", token),
        await ask(server, "POST", access_token=token),
    ]
    assert {reply.status for reply in replies} == {200}
    assert len({reply.body for reply in replies}) == 1
    lower = await server.request("GET", "/acme/userinfo", headers={"authorization": f"bearer {token}"})
    assert lower.status == 200
    assert lower.header("cache-control") == "no-store"


async def test_the_query_is_no_place_for_a_token(server: Server, own: RelyingParty) -> None:
    token = (await own.sign_in())["access_token"]
    for query in (f"?access_token={token}", f"?access%5Ftoken={token}"):
        assert (await ask(server, query=query)).status in {400, 401}
    assert (await ask(server, token=token, query=f"?access_token={token}")).status == 400


async def test_two_tokens_are_one_too_many(server: Server, own: RelyingParty) -> None:
    token = (await own.sign_in())["access_token"]
    reply = await ask(server, "POST", token, access_token=token)
    assert (reply.status, reply.json["error"]) == (400, "invalid_request")
    pairs = [("access_token", token), ("access_token", token)]
    reply = await server.request("POST", "/acme/userinfo", fields=pairs)
    assert (reply.status, reply.json["error"]) == (400, "invalid_request")


async def test_without_a_token_the_challenge_names_no_error(server: Server) -> None:
    reply = await ask(server)
    assert reply.status == 401
    assert reply.header("www-authenticate") == f'Bearer realm="{server.tenants["acme"].issuer}"'


async def test_a_token_that_is_not_valid_is_challenged_with_invalid_token(server: Server, own: RelyingParty) -> None:
    tokens = await own.sign_in()
    for token in ("made up", tokens["id_token"], tokens["refresh_token"], "a.b.c"):
        reply = await ask(server, token=token)
        assert reply.status == 401
        assert 'error="invalid_token"' in (reply.header("www-authenticate") or "")
    server.clock.advance(3600)
    assert (await ask(server, token=tokens["access_token"])).status == 401


async def test_basic_credentials_are_no_token(server: Server, own: RelyingParty) -> None:
    headers, _ = own.credentials()
    assert (await server.request("GET", "/acme/userinfo", headers=headers)).status == 401


async def test_a_token_without_openid_is_not_enough(server: Server, own: RelyingParty) -> None:
    for changes in ({"scope": "read"}, {"scope": "openid read", "resource": OTHER_API}):
        token = (await own.sign_in(Browser(server), **changes))["access_token"]
        reply = await ask(server, token=token)
        assert (reply.status, reply.json["error"]) == (403, "insufficient_scope")
        assert 'error="insufficient_scope"' in (reply.header("www-authenticate") or "")


async def test_claims_follow_the_scopes_of_the_token(server: Server, own: RelyingParty) -> None:
    await server.put_user(
        "taro",
        claims={
            "name": "山田 太郎",
            "email": "taro@example.com",
            "email_verified": True,
            "phone_number": "+81 3 0000 0000",
            "address": {"country": "JP"},
            "department": "Brewing",
        },
    )
    expected = {
        "openid": {"sub"},
        "openid profile": {"sub", "name", "preferred_username", "updated_at"},
        "openid email": {"sub", "email", "email_verified"},
        "openid phone": {"sub", "phone_number", "phone_number_verified"},
        "openid address": {"sub", "address"},
    }
    browser = Browser(server)
    for scope, names in expected.items():
        token = (await own.sign_in(browser, scope=scope))["access_token"]
        told = (await ask(server, token=token)).json
        assert set(told) == names, scope
        assert told["sub"] == claims_of(token)["sub"]


async def test_an_address_nobody_has_verified_is_said_to_be_unverified(server: Server, own: RelyingParty) -> None:
    await server.put_user("taro", claims={"email": "taro@example.com"})
    token = (await own.sign_in(scope="openid email"))["access_token"]
    assert (await ask(server, token=token)).json["email_verified"] is False
    await server.put_user("taro", claims={"email": "taro@example.com", "email_verified": "true"})
    assert (await ask(server, token=token)).json["email_verified"] is False


async def test_claims_asked_for_by_name_cannot_replace_the_protocols_own(server: Server, own: RelyingParty) -> None:
    await server.put_user("taro", claims={"name": "Taro", "sub": "somebody else", "iss": "elsewhere"})
    wanted = json.dumps({name: {"sub": None, "iss": None, "name": None} for name in ("userinfo", "id_token")})
    tokens = await own.sign_in(claims=wanted, scope="openid")
    told = (await ask(server, token=tokens["access_token"])).json
    assert told == {"sub": str(own.tenant.users["taro"]), "name": "Taro"}
    assert claims_of(tokens["id_token"])["iss"] == own.tenant.issuer


async def test_a_change_of_the_person_is_told_at_once_and_a_disabled_one_is_not_told(
    server: Server, own: RelyingParty
) -> None:
    token = (await own.sign_in())["access_token"]
    await server.put_user("taro", claims={"name": "Taro Yamada"})
    assert (await ask(server, token=token)).json["name"] == "Taro Yamada"
    await server.put_user("taro", disabled=True)
    assert (await ask(server, token=token)).status == 401


async def test_a_narrowed_refresh_tells_less(server: Server, own: RelyingParty) -> None:
    tokens = await own.sign_in(scope="openid profile email")
    narrow = (await own.refresh(tokens["refresh_token"], scope="openid")).json
    assert set((await ask(server, token=narrow["access_token"])).json) == {"sub"}


async def test_an_opaque_token_for_an_api_with_openid_still_tells(server: Server) -> None:
    party = RelyingParty(server, "opaque")
    token = (await party.sign_in(scope="openid profile", resource=API))["access_token"]
    assert (await party.userinfo(token)).json["name"] == "Taro"
