"""Auth0: two profiles of access tokens, permissions, and roles under a name of one's own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tegata_verify import Auth0, Reason, TokenError

from .vendors import AUTH0_CLIENT, auth0

pytestmark = pytest.mark.anyio

OWN, RFC = auth0("auth0"), auth0("rfc9068")
BOTH = pytest.mark.parametrize("vendor", [OWN, RFC], ids=["auth0", "rfc9068"])


async def refusal(vendor, token, rules=None):
    with pytest.raises(TokenError) as caught:
        await vendor.verifier(rules).verify(token)
    return caught.value.reason


@BOTH
async def test_permissions_roles_client_and_organization(vendor):
    principal = await vendor.verifier().verify(vendor.mint())
    assert principal.permissions == {"read:beers"}
    assert principal.scopes == {"openid", "profile", "read:beers"}
    assert principal.roles == {"brewer"}
    assert (principal.client_id, principal.tenant) == (AUTH0_CLIENT, "org_9ybsU1dN2dKfDkBi")


@BOTH
async def test_roles_are_read_under_the_configured_name_alone(vendor):
    rules = replace(vendor.rules, roles_claim=None)
    assert (await vendor.verifier(rules).verify(vendor.mint({"roles": ["admin"]}))).roles == frozenset()


@BOTH
async def test_without_permissions_roles_and_organization_there_are_none(vendor):
    bare = vendor.mint({"permissions": None, "org_id": None, "https://beer.example.com/roles": None})
    principal = await vendor.verifier().verify(bare)
    assert (principal.permissions, principal.roles, principal.tenant) == (frozenset(), frozenset(), None)


@BOTH
async def test_a_machine_is_a_service(vendor):
    machine = {"sub": f"{AUTH0_CLIENT}@clients", "gty": "client-credentials"}
    assert (await vendor.verifier().verify(vendor.mint(machine))).is_service
    other = {**machine, "sub": "somebody@clients"}
    assert not (await vendor.verifier().verify(vendor.mint(other))).is_service


@BOTH
async def test_a_token_that_names_no_client_is_no_access_token(vendor):
    assert await refusal(vendor, vendor.mint({"azp": None, "client_id": None})) == Reason.WRONG_TOKEN_USE


@BOTH
async def test_a_token_for_its_own_client_is_an_id_token_whatever_its_header(vendor):
    rules = replace(vendor.rules, audiences=[AUTH0_CLIENT])
    for token in (
        vendor.mint({"aud": AUTH0_CLIENT}),
        vendor.mint({"aud": ["https://api.example.com", AUTH0_CLIENT]}),
        vendor.mint_id_token({"nonce": None, "azp": AUTH0_CLIENT}),
    ):
        assert await refusal(vendor, token, rules) == Reason.WRONG_TOKEN_USE


@BOTH
async def test_clients_may_be_limited(vendor):
    await vendor.verifier(replace(vendor.rules, client_ids=AUTH0_CLIENT)).verify(vendor.mint())
    assert await refusal(vendor, vendor.mint(), replace(vendor.rules, client_ids="other")) == Reason.WRONG_CLIENT


@BOTH
async def test_the_issuer_ends_with_a_slash(vendor):
    assert await refusal(vendor, vendor.mint({"iss": "https://brewery.eu.auth0.com"})) == Reason.UNKNOWN_ISSUER


@BOTH
@pytest.mark.parametrize(
    "claims",
    [
        {"permissions": "read:beers"},
        {"permissions": {"read:beers": True}},
        {"https://beer.example.com/roles": "brewer"},
        {"org_id": 7},
    ],
    ids=str,
)
async def test_a_claim_of_the_wrong_type_grants_nothing(vendor, claims):
    assert await refusal(vendor, vendor.mint(claims)) == Reason.MALFORMED_CLAIM


@pytest.mark.parametrize(
    "domain", ["", "https://brewery.eu.auth0.com", "brewery.eu.auth0.com/", "a:1", "a@b", "A", "a..", "exаmple"]
)
def test_what_is_no_domain_cannot_be_configured(domain):
    with pytest.raises(ValueError, match="domain"):
        Auth0(domain, ["https://api.example.com"])
