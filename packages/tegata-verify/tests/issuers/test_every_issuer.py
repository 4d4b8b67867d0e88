"""What holds for each issuer: its access tokens are understood, its other tokens refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tegata_verify import CachePolicy, KeysUnavailable, Reason, TokenError, Verifier

from .vendors import NOW, Published, all_vendors, generic, public_key, tegata

pytestmark = pytest.mark.anyio

each = pytest.mark.parametrize("vendor", all_vendors(), ids=lambda vendor: vendor.name)


async def refusal(verifier, token):
    with pytest.raises(TokenError) as caught:
        await verifier.verify(token)
    return caught.value.reason


@each
async def test_an_access_token_in_the_documented_shape_becomes_a_principal(vendor):
    principal = await vendor.verifier().verify(vendor.mint())
    claims = vendor.access[1]
    assert principal.issuer == claims["iss"]
    assert principal.subject == claims["sub"]
    assert principal.client_id
    assert principal.scopes
    assert principal.roles
    assert principal.acr == claims.get("acr")
    assert principal.auth_time == claims.get("auth_time")
    assert set(principal.claims) == set(claims)
    assert not principal.is_service


@each
async def test_keys_are_found_at_the_documented_addresses_and_nowhere_else(vendor):
    vendor.asked.clear()
    await vendor.verifier().verify(vendor.mint())
    assert vendor.asked == list(vendor.documents)


@each
async def test_an_id_token_is_refused(vendor):
    reason = await refusal(vendor.verifier(), vendor.mint_id_token())
    assert reason == (Reason.WRONG_TYPE if vendor.rules.token_types == {"at+jwt"} else Reason.WRONG_TOKEN_USE)


@each
async def test_an_id_token_without_a_nonce_is_refused_even_by_a_service_that_names_the_client_as_its_audience(vendor):
    """The mistake of a service that is its own client, or of whoever configures what was in the first token at hand."""
    client = vendor.id[1]["aud"]
    rules = replace(vendor.rules, audiences={*vendor.rules.audiences, client})
    for audience in (client, [client], [client, *vendor.rules.audiences]):  # OIDC Core §2: the client is always there
        token = vendor.mint_id_token({"nonce": None, "at_hash": None, "aud": audience})
        assert await refusal(vendor.verifier(rules), token) in {Reason.WRONG_TYPE, Reason.WRONG_TOKEN_USE}


@each
@pytest.mark.parametrize("claim", ["sub", "exp"])
async def test_no_token_does_without_a_subject_and_an_end(vendor, claim):
    assert await refusal(vendor.verifier(), vendor.mint({claim: None})) == Reason.MISSING_CLAIM


@each
async def test_a_token_for_another_service_is_refused(vendor):
    token = vendor.mint({"aud": ["https://other.example.com"]})
    assert await refusal(vendor.verifier(), token) == Reason.WRONG_AUDIENCE


@each
async def test_a_token_of_an_unknown_client_is_refused_where_clients_are_named(vendor):
    rules = replace(vendor.rules, client_ids=["somebody-else"])
    assert await refusal(vendor.verifier(rules), vendor.mint()) == Reason.WRONG_CLIENT


@each
async def test_a_discovery_document_or_key_set_of_another_issuer_is_not_taken(vendor):
    documents = {
        url: (lambda found=found: {**found(), "issuer": "https://mallory.example"})
        for url, found in vendor.documents.items()
    }
    verifier = Verifier(
        vendor.rules,
        transport=lambda: Published(documents, []),
        clock=lambda: NOW,
        cache_policy=CachePolicy(timeout=60),
    )
    if len(documents) == 1:
        await verifier.verify(vendor.mint())  # a key set says nothing of its issuer
    else:
        with pytest.raises(KeysUnavailable):
            await verifier.verify(vendor.mint())


async def test_all_of_them_at_once_in_one_verifier():
    vendors = {vendor.rules.name: vendor for vendor in all_vendors()}.values()
    documents = {url: found for vendor in vendors for url, found in vendor.documents.items()}
    verifier = Verifier(
        *(vendor.rules for vendor in vendors),
        transport=lambda: Published(documents, []),
        clock=lambda: NOW,
        cache_policy=CachePolicy(timeout=60),
    )
    for vendor in all_vendors():
        assert (await verifier.verify(vendor.mint())).issuer == vendor.access[1]["iss"]


async def test_made_up_names_of_keys_at_one_issuer_do_not_keep_another_from_being_asked():
    """How often unknown names may be asked for is counted for each issuer, and what there is found out is kept."""
    first, second, asked = tegata(), generic(), []
    documents = {**first.documents, **second.documents}
    verifier = Verifier(
        first.rules,
        second.rules,
        transport=lambda: Published(documents, asked),
        clock=lambda: NOW,
        cache_policy=CachePolicy(timeout=60),
    )
    await verifier.verify(second.mint())
    for number in range(20):
        assert await refusal(verifier, first.mint(header={"kid": f"guess-{number}"})) == Reason.UNKNOWN_KEY
    documents[f"{second.rules.issuer}/jwks"] = lambda: {"keys": [public_key("new", "ES256", kid="new", alg="ES256")]}
    assert (await verifier.verify(second.mint(header={"kid": "new"}))).issuer == second.rules.issuer
    assert [asked.count(f"{vendor.rules.issuer}/jwks") for vendor in (first, second)] == [2, 2]
