"""The client credentials grant over HTTP: services get tokens about themselves."""

from __future__ import annotations

import pytest

from tegata.testing.relying_party import RelyingParty, claims_of
from tegata.testing.server import API, OTHER_API, Server

pytestmark = pytest.mark.anyio


@pytest.fixture
def service(server: Server) -> RelyingParty:
    """A service of `acme`."""
    return RelyingParty(server, "service")


async def test_a_service_gets_a_token_about_itself_and_nothing_else(server: Server, service: RelyingParty) -> None:
    reply = await service.call("token", grant_type="client_credentials", scope="read")
    assert set(reply.json) == {"access_token", "token_type", "expires_in", "scope"}
    claims = claims_of(reply.json["access_token"])
    assert (claims["sub"], claims["client_id"], claims["scope"]) == ("service", "service", "read")
    assert not {"auth_time", "acr", "amr", "sid"} & set(claims)
    [issued] = await server.audit(type_prefix="token.issued")
    assert (issued.actor, issued.details["jti"]) == ("service", claims["jti"])


async def test_without_a_scope_it_gets_the_registered_ones(service: RelyingParty) -> None:
    assert (await service.call("token", grant_type="client_credentials")).json["scope"] == "read write"


@pytest.mark.parametrize("scope", ["admin", "openid", "read offline_access", 'read "'])
async def test_scopes_of_people_and_unregistered_ones_are_refused(service: RelyingParty, scope: str) -> None:
    reply = await service.call("token", grant_type="client_credentials", scope=scope)
    assert (reply.status, reply.json["error"]) == (400, "invalid_scope")


async def test_a_public_client_gets_nothing(server: Server) -> None:
    await server.change_client("spa", grant_types=("client_credentials",))
    reply = await RelyingParty(server, "spa").call("token", grant_type="client_credentials")
    assert reply.json["error"] == "unauthorized_client"


async def test_a_client_without_the_grant_gets_nothing(web: RelyingParty) -> None:
    assert (await web.call("token", grant_type="client_credentials")).json["error"] == "unauthorized_client"


async def test_the_resource_is_the_audience_and_limits_the_scope(service: RelyingParty) -> None:
    for resource, scope in ((API, "read write"), (OTHER_API, "read")):
        reply = (await service.call("token", grant_type="client_credentials", resource=resource)).json
        assert claims_of(reply["access_token"])["aud"] == resource
        assert reply["scope"] == scope
    reply = await service.call("token", grant_type="client_credentials", resource="urn:unknown")
    assert reply.json["error"] == "invalid_target"


@pytest.mark.parametrize("access_token_format", ["jwt", "opaque"])
async def test_a_services_token_lives_its_time_and_can_be_revoked(
    server: Server, service: RelyingParty, access_token_format: str
) -> None:
    await server.change_client("service", access_token_format=access_token_format, access_token_lifetime_seconds=100)
    first, second = [
        (await service.call("token", grant_type="client_credentials")).json["access_token"] for _ in range(2)
    ]
    assert (await service.introspect(first))["sub"] == "service"
    assert (await service.call("revoke", token=first)).status == 200
    assert not (await service.introspect(first))["active"]
    assert (await service.introspect(second))["active"]
    server.clock.advance(100)
    assert not (await service.introspect(second))["active"]


async def test_a_services_token_opens_no_userinfo(service: RelyingParty) -> None:
    token = (await service.call("token", grant_type="client_credentials")).json["access_token"]
    assert (await service.userinfo(token)).status == 403
