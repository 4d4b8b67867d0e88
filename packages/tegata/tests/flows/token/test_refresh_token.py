"""Refresh rotation: families, the grace for the immediate parent, and what ends a family (pitfalls P21 to P26)."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

import pytest

from tegata.testing.relying_party import Browser, RelyingParty, claims_of
from tegata.testing.server import API, OTHER_API, Interleaved, Server, serving

pytestmark = pytest.mark.anyio


async def refreshed(party: RelyingParty, token: str) -> str:
    """Refresh and return the new refresh token."""
    reply = await party.refresh(token)
    assert reply.status == 200, reply.text
    assert isinstance(reply.json["refresh_token"], str)
    return reply.json["refresh_token"]


async def test_each_refresh_gives_a_new_refresh_token_and_new_tokens(server: Server, own: RelyingParty) -> None:
    tokens = await own.sign_in()
    server.clock.advance(3000)
    again = (await own.refresh(tokens["refresh_token"])).json
    assert again["refresh_token"] != tokens["refresh_token"]
    before, after = claims_of(tokens["id_token"]), claims_of(again["id_token"])
    assert after["iat"] == before["iat"] + 3000
    for name in ("sub", "auth_time", "sid", "aud", "iss", "acr", "amr"):
        assert after[name] == before[name]
    assert "nonce" not in after  # OIDC Core §12.2
    assert claims_of(again["access_token"])["auth_time"] == before["auth_time"]


async def test_two_tabs_get_the_same_successor(own: RelyingParty) -> None:
    token = (await own.sign_in())["refresh_token"]
    first, second = await asyncio.gather(own.refresh(token), own.refresh(token))
    assert first.json["refresh_token"] == second.json["refresh_token"]
    for reply in (first, second):
        assert (await own.introspect(reply.json["access_token"]))["active"]


async def test_fifty_at_once_stay_one_family(server: Server, own: RelyingParty) -> None:
    token = (await own.sign_in())["refresh_token"]
    replies = await asyncio.gather(*(own.refresh(token) for _ in range(50)))
    assert {reply.status for reply in replies} == {200}
    successors = {reply.json["refresh_token"] for reply in replies}
    assert len(successors) == 1
    assert (await own.refresh(successors.pop())).status == 200
    assert "refresh_token.reused" not in [event.type for event in await server.audit()]


async def test_fifty_that_interleave_stay_one_family_of_opaque_tokens_too() -> None:
    async with serving(through=Interleaved) as server:
        party = RelyingParty(server, "opaque")
        token = (await party.sign_in())["refresh_token"]
        replies = await asyncio.gather(*(party.refresh(token) for _ in range(50)))
        assert len({reply.json["refresh_token"] for reply in replies}) == 1
        for reply in replies:
            assert (await party.introspect(reply.json["access_token"]))["active"]


async def test_a_lost_answer_can_be_asked_for_again_within_the_grace(server: Server, own: RelyingParty) -> None:
    token = (await own.sign_in())["refresh_token"]
    successor = await refreshed(own, token)
    server.clock.advance(20)
    assert await refreshed(own, token) == successor


async def test_after_the_grace_the_parent_ends_the_family(server: Server, own: RelyingParty) -> None:
    token = (await own.sign_in())["refresh_token"]
    reply = await own.refresh(token)
    server.clock.advance(21)
    refused = await own.refresh(token)
    assert (refused.status, refused.json["error"]) == (400, "invalid_grant")
    assert (await own.refresh(reply.json["refresh_token"])).json["error"] == "invalid_grant"
    assert not (await own.introspect(reply.json["access_token"]))["active"]
    assert "refresh_token.reused refresh_reused" in await server.reasons()


async def test_a_grandparent_ends_the_family_at_once_and_only_that_family(server: Server, own: RelyingParty) -> None:
    browser = Browser(server)
    other_family = (await own.sign_in(browser))["refresh_token"]
    grandparent = (await own.sign_in(browser))["refresh_token"]
    parent = await refreshed(own, grandparent)
    current = await refreshed(own, parent)
    assert (await own.refresh(grandparent)).json["error"] == "invalid_grant"
    for token in (parent, current):
        assert (await own.refresh(token)).json["error"] == "invalid_grant"
    assert (await own.refresh(other_family)).status == 200


async def test_a_refresh_token_expires_and_each_rotation_gives_a_new_life(server: Server, own: RelyingParty) -> None:
    week = 7 * 24 * 3600
    token, unused = (await own.sign_in())["refresh_token"], (await own.sign_in())["refresh_token"]
    server.clock.advance(week - 1)
    token = await refreshed(own, token)
    server.clock.advance(1)
    assert (await own.refresh(unused)).json["error"] == "invalid_grant"
    assert "token.refused refresh_expired" in await server.reasons()
    server.clock.advance(week - 2)
    assert (await own.refresh(token)).status == 200


async def test_narrower_scope_is_for_one_access_token_and_leaves_the_grant(own: RelyingParty) -> None:
    token = (await own.sign_in(scope="openid read write"))["refresh_token"]
    narrow = (await own.refresh(token, scope="read")).json
    assert narrow["scope"] == "read"
    assert claims_of(narrow["access_token"])["scope"] == "read"
    assert "id_token" not in narrow
    whole = (await own.refresh(narrow["refresh_token"])).json
    assert whole["scope"] == "openid read write"


async def test_more_scope_is_refused_and_costs_nothing(own: RelyingParty) -> None:
    token = (await own.sign_in(scope="openid read"))["refresh_token"]
    assert (await own.refresh(token, scope="openid write")).json["error"] == "invalid_scope"
    assert (await own.refresh(token, scope='"')).json["error"] == "invalid_scope"
    assert (await own.refresh(token)).status == 200


async def test_a_foreign_client_learns_nothing_and_changes_nothing(server: Server, own: RelyingParty) -> None:
    token = (await own.sign_in())["refresh_token"]
    for party in (RelyingParty(server), RelyingParty(server, "spa"), RelyingParty(server, "own", "other")):
        reply = await party.refresh(token)
        assert (reply.status, reply.json["error"]) == (400, "invalid_grant")
        assert reply.json == (await party.refresh("made up")).json
    assert (await own.refresh(token)).status == 200


async def test_a_disabled_user_has_to_sign_in_again_once_enabled(server: Server, own: RelyingParty) -> None:
    token = (await own.sign_in())["refresh_token"]
    await server.put_user("taro", disabled=True)
    assert (await own.refresh(token)).json["error"] == "invalid_grant"
    assert not (await own.introspect(token))["active"]
    await server.put_user("taro")
    assert (await own.refresh(token)).json["error"] == "invalid_grant"
    token = (await own.sign_in())["refresh_token"]
    assert (await own.refresh(token)).status == 200


async def test_a_client_that_lost_the_grant_type_is_refused(server: Server, own: RelyingParty) -> None:
    token = (await own.sign_in())["refresh_token"]
    await server.change_client("own", grant_types=("authorization_code",))
    assert (await own.refresh(token)).json["error"] == "unauthorized_client"


@pytest.mark.parametrize("kind", ["access_token", "id_token"])
async def test_another_kind_of_token_is_no_refresh_token(own: RelyingParty, kind: str) -> None:
    assert (await own.refresh((await own.sign_in())[kind])).json["error"] == "invalid_grant"


async def test_changed_claims_and_roles_are_in_the_next_tokens(server: Server, own: RelyingParty) -> None:
    await server.change_policy(access_token_claims={"roles": "roles", "sub": "username"})
    tokens = await own.sign_in()
    assert claims_of(tokens["access_token"])["roles"] == ["viewer"]
    await server.put_user("taro", roles=("admin",))
    claims = claims_of((await own.refresh(tokens["refresh_token"])).json["access_token"])
    assert claims["roles"] == ["admin"]
    assert claims["sub"] == str(own.tenant.users["taro"])  # a mapping cannot replace a claim of the protocol


# Resource indicators (RFC 8707) -------------------------------------------------------------------------------------


async def two_resources(own: RelyingParty) -> str:
    """Return the refresh token of a grant for both APIs."""
    browser = Browser(own.server)
    pairs = [*own.request().items(), ("resource", API), ("resource", OTHER_API)]
    page = await browser.get(f"/acme/authorize?{urlencode(pairs)}")
    answer = own.answer(await browser.sign_in(page))
    token = (await own.redeem(answer["code"], resource=API)).json["refresh_token"]
    assert isinstance(token, str)
    return token


async def test_one_of_the_granted_resources_may_be_named(own: RelyingParty) -> None:
    token = await two_resources(own)
    for resource in (OTHER_API, API):
        reply = (await own.refresh(token, resource=resource)).json
        assert claims_of(reply["access_token"])["aud"] == resource
        token = reply["refresh_token"]


async def test_a_resource_that_was_not_granted_is_refused_and_costs_nothing(own: RelyingParty) -> None:
    token = (await own.sign_in(resource=API))["refresh_token"]
    assert (await own.refresh(token, resource=OTHER_API)).json["error"] == "invalid_target"
    assert (await own.refresh(token, resource="https://api.example.org/unknown")).json["error"] == "invalid_target"
    assert claims_of((await own.refresh(token)).json["access_token"])["aud"] == API


async def test_several_resources_at_once_are_refused_and_cost_nothing(server: Server, own: RelyingParty) -> None:
    token = await two_resources(own)
    headers, _ = own.credentials()
    pairs = [("grant_type", "refresh_token"), ("refresh_token", token), ("resource", API), ("resource", OTHER_API)]
    reply = await server.request("POST", "/acme/token", fields=pairs, headers=headers)
    assert reply.json["error"] == "invalid_target"
    server.clock.advance(60)
    assert (await own.refresh(token, resource=API)).status == 200


async def test_naming_no_resource_of_several_means_the_first(server: Server, own: RelyingParty) -> None:
    token = await two_resources(own)
    reply = (await own.refresh(token)).json
    assert claims_of(reply["access_token"])["aud"] == API
    server.clock.advance(60)
    assert (await own.refresh(reply["refresh_token"], resource=OTHER_API)).status == 200


async def test_a_scope_taken_away_from_the_client_is_in_no_further_token(server: Server, own: RelyingParty) -> None:
    token = (await own.sign_in(scope="openid read write"))["refresh_token"]
    await server.change_client("own", scope="openid read")
    reply = (await own.refresh(token)).json
    assert reply["scope"] == "openid read"
    narrow = await own.refresh(reply["refresh_token"], scope="write")
    assert (narrow.status, narrow.json["error"]) == (400, "invalid_scope")


async def test_a_scope_taken_away_from_the_tenant_is_in_no_further_token(server: Server, own: RelyingParty) -> None:
    token = (await own.sign_in(scope="openid read write"))["refresh_token"]
    await server.change_policy(scopes=())
    assert (await own.refresh(token)).json["scope"] == "openid"


async def test_a_resource_taken_away_from_the_tenant_gets_no_further_token(server: Server, own: RelyingParty) -> None:
    token = (await own.sign_in(resource=API))["refresh_token"]
    await server.change_policy(resources=())
    assert (await own.refresh(token)).json["error"] == "invalid_target"
