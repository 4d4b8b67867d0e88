"""Generic: what RFC 9068 says, and no more; a key set without a name; issuers that do not mark their tokens."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from dataclasses import replace

import pytest

import tegata_verify.issuers
from tegata_verify import CachePolicy, ClaimPaths, Generic, Reason, Tegata, TokenError, Verifier

from .vendors import NOW, Published, generic, tegata, unmarked

pytestmark = pytest.mark.anyio
VENDOR = generic()
KEYS_ALONE = Generic(jwks_uri="https://login.example.net/jwks", audiences=["beer-service"])


async def refusal(vendor, token, rules=None):
    with pytest.raises(TokenError) as caught:
        await vendor.verifier(rules).verify(token)
    return caught.value.reason


@pytest.mark.parametrize("issuer", ["https://login.example.net", "https://whoever.example", "joe", "", None, 7])
async def test_a_key_set_alone_is_enough_whatever_the_issuer_calls_itself(issuer):
    vendor = generic()
    token = vendor.mint({"iss": issuer})
    if issuer == 7:
        assert await refusal(vendor, token, KEYS_ALONE) == Reason.MALFORMED_CLAIM
        return
    principal = await vendor.verifier(KEYS_ALONE).verify(token)
    assert principal.issuer == (issuer or "https://login.example.net/jwks")
    assert vendor.asked == ["https://login.example.net/jwks"]


async def test_a_key_set_alone_cannot_speak_for_an_issuer_that_has_a_name():
    other = tegata()
    documents = {**VENDOR.documents, **other.documents}
    verifier = Verifier(
        KEYS_ALONE,
        other.rules,
        transport=lambda: Published(documents, []),
        clock=lambda: NOW,
        cache_policy=CachePolicy(timeout=60),
    )
    assert (await verifier.verify(VENDOR.mint())).issuer == "https://login.example.net"
    assert (await verifier.verify(other.mint())).tenant == "demo"
    with pytest.raises(TokenError) as caught:
        await verifier.verify(VENDOR.mint({"iss": other.rules.issuer}))
    assert caught.value.reason == Reason.UNKNOWN_KEY


def test_there_is_one_key_set_without_a_name_at_most():
    second = replace(KEYS_ALONE, jwks_uri="https://other.example.net/jwks")
    with pytest.raises(ValueError, match=r"once|one|two"):
        Verifier(KEYS_ALONE, second)


@pytest.mark.parametrize("build", [Generic, Tegata])
def test_neither_name_nor_keys_is_nothing(build):
    with pytest.raises(ValueError, match="issuer"):
        build(audiences=["beer-service"])
    with pytest.raises(ValueError, match="audiences"):
        build("https://id.example.com/demo")


def test_a_tegata_server_always_has_a_name():
    with pytest.raises(ValueError, match="issuer"):
        Tegata(jwks_uri="https://id.example.com/keys", audiences=["beer-service"])


@pytest.mark.parametrize(
    "audience", ["beer-service", ["beer-service"], ["other", "beer-service"], "second", ["second"]]
)
async def test_of_several_audiences_one_is_enough(audience):
    rules = replace(VENDOR.rules, audiences=["beer-service", "second"])
    await VENDOR.verifier(rules).verify(VENDOR.mint({"aud": audience}))


async def test_clients_may_be_limited():
    rules = replace(VENDOR.rules, client_ids=["beer-spa", "beer-batch"])
    await VENDOR.verifier(rules).verify(VENDOR.mint())
    assert await refusal(VENDOR, VENDOR.mint({"client_id": "other"}), rules) == Reason.WRONG_CLIENT


async def test_tenant_and_permissions_are_found_where_the_issuer_keeps_them():
    paths = ClaimPaths(tenant=("org", "id"), permissions=("granted",))
    rules = replace(VENDOR.rules, claim_paths=paths)
    claims = {"org": {"id": "brewery"}, "granted": ["pour"], "permissions": ["decoy"]}
    principal = await VENDOR.verifier(rules).verify(VENDOR.mint(claims))
    assert (principal.tenant, principal.permissions) == ("brewery", {"pour"})
    plain = await VENDOR.verifier().verify(VENDOR.mint(claims))
    assert (plain.tenant, plain.permissions) == (None, frozenset())


@pytest.mark.parametrize("marker", ["nonce", "at_hash", "c_hash", "s_hash"])
async def test_unmarked_tokens_are_judged_by_their_claims(marker):
    vendor = unmarked()
    assert await refusal(vendor, vendor.mint({marker: "x"})) == Reason.WRONG_TOKEN_USE
    # Where the header says what a token is, a claim more does no harm.
    await VENDOR.verifier().verify(VENDOR.mint({marker: "x"}))


async def test_an_unmarked_token_must_name_a_client_that_it_is_not_meant_for():
    vendor = unmarked()
    assert await refusal(vendor, vendor.mint({"client_id": None})) == Reason.WRONG_TOKEN_USE
    assert await refusal(vendor, vendor.mint({"client_id": "beer-service"})) == Reason.WRONG_TOKEN_USE
    assert await refusal(vendor, vendor.mint({"aud": ["beer-service", "beer-spa"]})) == Reason.WRONG_TOKEN_USE


async def test_a_type_that_id_tokens_share_is_no_mark():
    rules = replace(VENDOR.rules, token_types=["jwt", "at+jwt"])
    assert await refusal(VENDOR, VENDOR.mint({"nonce": "n"}, {"typ": "JWT"}), rules) == Reason.WRONG_TOKEN_USE


def test_the_examples_in_the_modules_hold():
    package = tegata_verify.issuers
    names = [f"{package.__name__}.{module.name}" for module in pkgutil.iter_modules(package.__path__)]
    results = [doctest.testmod(importlib.import_module(name)) for name in names]
    assert sum(result.attempted for result in results) >= 12
    assert not any(result.failed for result in results)
