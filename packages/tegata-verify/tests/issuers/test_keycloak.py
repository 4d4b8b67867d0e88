"""Keycloak: the claim `typ` says what a token is, and roles lie in two places."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tegata_verify import Keycloak, Reason, TokenError

from .vendors import REALM, keycloak

pytestmark = pytest.mark.anyio
VENDOR = keycloak()


async def refusal(token, rules=None):
    with pytest.raises(TokenError) as caught:
        await VENDOR.verifier(rules).verify(token)
    return caught.value.reason


async def test_roles_of_the_realm_and_of_configured_clients_are_told_apart():
    principal = await VENDOR.verifier().verify(VENDOR.mint())
    assert principal.roles == {"offline_access", "uma_authorization", "brewer", "beer-api:taster"}
    assert (principal.tenant, principal.client_id) == ("beer", "beer-spa")


async def test_a_role_at_another_client_is_no_role_here():
    rules = replace(VENDOR.rules, role_clients=[])
    principal = await VENDOR.verifier(rules).verify(VENDOR.mint())
    assert principal.roles == {"offline_access", "uma_authorization", "brewer"}


@pytest.mark.parametrize("kind", ["ID", "Refresh", "Offline", "Logout", "bearer", "BEARER", "", None, 1, ["Bearer"]])
async def test_only_the_kind_bearer_is_taken(kind):
    assert await refusal(VENDOR.mint({"typ": kind})) == Reason.WRONG_TOKEN_USE


async def test_a_token_bound_to_a_key_says_so_and_carries_the_key():
    assert await refusal(VENDOR.mint({"typ": "DPoP"})) == Reason.MISSING_CLAIM
    token = VENDOR.mint({"typ": "DPoP", "cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}})
    principal = await VENDOR.verifier().verify(token, caller_checks_binding=True)
    assert principal.claims["cnf"]["jkt"]


@pytest.mark.parametrize("typ", [None, "logout+jwt", "dpop+jwt", "JOSE"])
async def test_the_header_says_jwt_or_what_rfc_9068_asks_for(typ):
    assert await refusal(VENDOR.mint(header={"typ": typ})) == Reason.WRONG_TYPE
    await VENDOR.verifier().verify(VENDOR.mint(header={"typ": "at+jwt"}))


async def test_another_client_than_the_named_ones_is_refused():
    assert await refusal(VENDOR.mint({"azp": "account-console"})) == Reason.WRONG_CLIENT
    assert await refusal(VENDOR.mint({"azp": None})) == Reason.MISSING_CLAIM
    await VENDOR.verifier(replace(VENDOR.rules, client_ids=[])).verify(VENDOR.mint({"azp": "account-console"}))


async def test_a_token_without_an_audience_mapper_is_for_the_account_console_alone():
    assert await refusal(VENDOR.mint({"aud": "account"})) == Reason.WRONG_AUDIENCE
    assert await refusal(VENDOR.mint({"aud": None})) == Reason.MISSING_CLAIM


async def test_a_service_account_is_a_service():
    account = {"azp": "beer-batch", "client_id": "beer-batch", "preferred_username": "service-account-beer-batch"}
    assert (await VENDOR.verifier().verify(VENDOR.mint(account))).is_service
    other = {**account, "azp": "beer-spa"}
    assert not (await VENDOR.verifier().verify(VENDOR.mint(other))).is_service


@pytest.mark.parametrize(
    "claims",
    [
        {"realm_access": {"roles": "admin"}},
        {"realm_access": {"roles": {"admin": True}}},
        {"resource_access": {"beer-api": {"roles": "admin"}}},
        {"resource_access": {"beer-api": {"roles": [1]}}},
        {"azp": ["beer-spa"]},
    ],
    ids=str,
)
async def test_a_claim_of_the_wrong_type_grants_nothing(claims):
    assert await refusal(VENDOR.mint(claims)) == Reason.MALFORMED_CLAIM


@pytest.mark.parametrize(
    "access", [None, [], {}, {"beer-api": None}, {"beer-api": ["admin"]}, {"beer-api": {}}], ids=str
)
async def test_absent_client_roles_are_none(access):
    principal = await VENDOR.verifier().verify(VENDOR.mint({"resource_access": access}))
    assert not any(":" in role for role in principal.roles)


async def test_a_token_signed_with_the_key_for_encryption_is_refused():
    token = VENDOR.sign({**VENDOR.access[0], "kid": "enc-1"}, VENDOR.access[1])
    assert await refusal(token) == Reason.UNKNOWN_KEY


@pytest.mark.parametrize(
    "url",
    [
        "https://sso.example.com",
        "https://sso.example.com/realms/",
        "https://sso.example.com/realms/a/b",
        "beer",
        "http://sso.example.com/realms/beer",
    ],
)
def test_what_is_no_realm_cannot_be_configured(url):
    with pytest.raises(ValueError, match=r"realm_url|https"):
        Keycloak(url, ["beer-api"])


def test_a_slash_at_the_end_of_the_realm_is_not_part_of_its_name():
    assert Keycloak(f"{REALM}/", ["beer-api"]).issuer == REALM
    assert Keycloak(REALM, "beer-api", role_clients="beer-api").role_clients == {"beer-api"}
