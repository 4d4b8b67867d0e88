"""Cognito: a pool has no audience, so `token_use` and `client_id` decide."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tegata_verify import Cognito, Reason, TokenError

from .vendors import APP_CLIENT, POOL, cognito

pytestmark = pytest.mark.anyio
VENDOR = cognito()


async def refusal(token, rules=None):
    with pytest.raises(TokenError) as caught:
        await VENDOR.verifier(rules).verify(token)
    return caught.value.reason


async def test_groups_are_roles_and_the_pool_is_the_tenant():
    principal = await VENDOR.verifier().verify(VENDOR.mint())
    assert (principal.roles, principal.tenant, principal.client_id) == ({"brewers"}, POOL, APP_CLIENT)
    assert principal.scopes == {"openid", "beers/read", "beers/write"}


async def test_a_client_that_acts_for_itself_is_a_service():
    """Client credentials: the subject is the client, and there is neither user name nor group."""
    changed = {"sub": APP_CLIENT, "username": None, "cognito:groups": None, "scope": "beers/read", "version": 2}
    principal = await VENDOR.verifier().verify(VENDOR.mint(changed))
    assert principal.is_service
    assert principal.roles == frozenset()


@pytest.mark.parametrize("use", ["id", "refresh", "Access", "access ", "", None, 1, ["access"], True])
async def test_only_the_use_access_is_taken(use):
    assert await refusal(VENDOR.mint({"token_use": use})) == Reason.WRONG_TOKEN_USE


async def test_an_id_token_is_refused_even_if_it_names_the_client_as_an_access_token_does():
    assert await refusal(VENDOR.mint_id_token({"client_id": APP_CLIENT})) == Reason.WRONG_TOKEN_USE


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        ("2another3456789abcdefgh", Reason.WRONG_CLIENT),
        (APP_CLIENT.upper(), Reason.WRONG_CLIENT),
        (APP_CLIENT[:-1], Reason.WRONG_CLIENT),
        (None, Reason.MISSING_CLAIM),
        ("", Reason.MISSING_CLAIM),
        ([APP_CLIENT], Reason.MALFORMED_CLAIM),
    ],
)
async def test_a_token_of_another_application_of_the_pool_is_refused(client, reason):
    assert await refusal(VENDOR.mint({"client_id": client})) == reason


async def test_several_clients_may_be_named():
    rules = replace(VENDOR.rules, client_ids=["2another3456789abcdefgh", APP_CLIENT])
    await VENDOR.verifier(rules).verify(VENDOR.mint())


@pytest.mark.parametrize("audience", ["https://other.example.com", ["https://other.example.com", APP_CLIENT], []])
async def test_a_token_bound_to_another_resource_is_refused(audience):
    rules = replace(VENDOR.rules, audiences=["https://api.example.com"])
    assert await refusal(VENDOR.mint({"aud": audience}), rules) == Reason.WRONG_AUDIENCE
    if audience:
        assert await refusal(VENDOR.mint({"aud": audience})) == Reason.WRONG_AUDIENCE


async def test_a_binding_to_this_resource_may_be_required():
    rules = replace(VENDOR.rules, audiences=["https://api.example.com"])
    await VENDOR.verifier(rules).verify(VENDOR.mint({"aud": "https://api.example.com"}))
    assert await refusal(VENDOR.mint(), rules) == Reason.MISSING_CLAIM


async def test_an_audience_that_is_the_client_itself_binds_to_nothing():
    await VENDOR.verifier().verify(VENDOR.mint({"aud": APP_CLIENT}))


async def test_a_pool_of_the_same_name_in_another_region_is_another_issuer():
    token = VENDOR.mint({"iss": VENDOR.rules.issuer.replace("eu-west-1.", "us-east-1.")})
    assert await refusal(token) == Reason.UNKNOWN_ISSUER


@pytest.mark.parametrize(
    ("region", "pool", "clients"),
    [
        ("", "eu-west-1_Ab12Cd34E", ["c"]),
        ("eu-west-1.evil.example/", "eu-west-1.evil.example/_Ab", ["c"]),
        ("eu-west-1", "us-east-1_Ab12Cd34E", ["c"]),
        ("eu-west-1", "Ab12Cd34E", ["c"]),
        ("eu-west-1", "eu-west-1_", ["c"]),
        ("eu-west-1", "eu-west-1_../x", ["c"]),
        ("eu-west-1", "eu-west-1_Ab12Cd34E", []),
        ("eu-west-1", "eu-west-1_Ab12Cd34E", [""]),
        ("eu-west-1", "eu-west-1_Ab12Cd34E", ""),
    ],
)
def test_what_is_no_pool_or_names_no_client_cannot_be_configured(region, pool, clients):
    with pytest.raises(ValueError, match=r"region|user_pool_id|client_ids"):
        Cognito(region, pool, clients)


def test_a_stand_in_gives_the_keys_and_the_issuer_stays():
    rules = Cognito("eu-west-1", POOL, APP_CLIENT, endpoint_url="http://127.0.0.1:5000/")
    assert rules.jwks_uri == f"http://127.0.0.1:5000/{POOL}/.well-known/jwks.json"
    assert rules.issuer == VENDOR.rules.issuer
    assert rules.client_ids == {APP_CLIENT}
    with pytest.raises(ValueError, match="https is required"):
        Cognito("eu-west-1", POOL, APP_CLIENT, endpoint_url="http://10.0.0.1:5000")


def test_china_has_a_domain_of_its_own():
    assert Cognito("cn-north-1", "cn-north-1_Ab12Cd34E", "c").issuer == (
        "https://cognito-idp.cn-north-1.amazonaws.com.cn/cn-north-1_Ab12Cd34E"
    )
