"""Entra ID: two issuers for one tenant, one key set for all tenants in the world."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tegata_verify import CachePolicy, EntraId, Reason, TokenError, Verifier

from .vendors import API, NOW, SPA, TENANT, Published, entra, public_key

pytestmark = pytest.mark.anyio

V1, V2 = entra("1.0"), entra("2.0")
BOTH = pytest.mark.parametrize("vendor", [V1, V2], ids=["v1", "v2"])
OTHER = "0badf00d-1111-4222-8333-0123456789ab"
APP_ONLY = {"scp": None, "oid": "2b2b2b2b-1111-4222-8333-cccccccccccc", "sub": "2b2b2b2b-1111-4222-8333-cccccccccccc"}


async def refusal(vendor, token, rules=None):
    with pytest.raises(TokenError) as caught:
        await vendor.verifier(rules).verify(token)
    return caught.value.reason


@BOTH
async def test_scopes_and_roles_tenant_and_client(vendor):
    principal = await vendor.verifier().verify(vendor.mint())
    assert (principal.scopes, principal.roles) == ({"Beers.Read", "Beers.Write"}, {"Brewer"})
    assert (principal.tenant, principal.client_id) == (TENANT, SPA)


@BOTH
@pytest.mark.parametrize("audience", [API, f"api://{API}"])
async def test_the_audience_is_the_apis_id_or_its_address(vendor, audience):
    await vendor.verifier().verify(vendor.mint({"aud": audience}))


@BOTH
@pytest.mark.parametrize("audience", [SPA, f"api://{SPA}", f"API://{API}", "00000003-0000-0000-c000-000000000000"])
async def test_another_audience_is_refused(vendor, audience):
    assert await refusal(vendor, vendor.mint({"aud": audience})) == Reason.WRONG_AUDIENCE


@BOTH
async def test_an_address_of_ones_own_may_be_the_audience(vendor):
    rules = replace(vendor.rules, audiences=["api://beers.example.com"])
    await vendor.verifier(rules).verify(vendor.mint({"aud": "api://beers.example.com"}))
    assert rules.audiences == {"api://beers.example.com"}


@BOTH
async def test_the_tenant_in_the_claims_must_be_the_issuers(vendor):
    assert await refusal(vendor, vendor.mint({"tid": OTHER})) == Reason.WRONG_TENANT
    assert await refusal(vendor, vendor.mint({"tid": None})) == Reason.MISSING_CLAIM
    assert await refusal(vendor, vendor.mint({"tid": [TENANT]})) == Reason.MALFORMED_CLAIM


@BOTH
async def test_another_tenant_is_another_issuer_though_the_same_key_signs(vendor):
    token = vendor.mint({"iss": vendor.access[1]["iss"].replace(TENANT, OTHER), "tid": OTHER})
    assert await refusal(vendor, token) == Reason.UNKNOWN_ISSUER


@BOTH
@pytest.mark.parametrize(
    ("version", "reason"),
    [("3.0", Reason.MALFORMED_CLAIM), (2.0, Reason.MALFORMED_CLAIM), (None, Reason.MISSING_CLAIM)],
)
async def test_the_version_must_be_the_issuers(vendor, version, reason):
    assert await refusal(vendor, vendor.mint({"ver": version})) == reason


async def test_versions_are_not_mixed():
    assert await refusal(V1, V1.mint({"ver": "2.0"})) == Reason.MALFORMED_CLAIM
    assert await refusal(V2, V2.mint({"ver": "1.0"})) == Reason.MALFORMED_CLAIM


async def test_one_version_alone_may_be_wanted():
    rules = EntraId(TENANT, [API], versions="2.0")
    await V2.verifier(rules).verify(V2.mint())
    assert await refusal(V1, V1.mint(), rules) == Reason.UNKNOWN_ISSUER


@BOTH
@pytest.mark.parametrize("marker", ["nonce", "at_hash", "c_hash"])
async def test_a_claim_that_only_id_tokens_have_marks_one(vendor, marker):
    assert await refusal(vendor, vendor.mint({marker: "x"})) == Reason.WRONG_TOKEN_USE


@BOTH
async def test_a_users_token_without_scope_is_no_access_token(vendor):
    """An ID token may carry roles, and the audience of an API that shares its registration with its application."""
    client = {"azp": SPA, "appid": SPA}
    assert await refusal(vendor, vendor.mint_id_token({"nonce": None})) == Reason.WRONG_TOKEN_USE
    assert await refusal(vendor, vendor.mint_id_token({"nonce": None, **client})) == Reason.WRONG_TOKEN_USE
    assert await refusal(vendor, vendor.mint({"scp": ""})) == Reason.WRONG_TOKEN_USE


@BOTH
async def test_an_application_without_a_user_is_a_service_and_needs_a_role(vendor):
    principal = await vendor.verifier().verify(vendor.mint(APP_ONLY))
    assert principal.is_service
    assert principal.scopes == frozenset()
    assert await refusal(vendor, vendor.mint({**APP_ONLY, "roles": None})) == Reason.MISSING_CLAIM
    told = {"scp": None, "idtyp": "app"}
    assert (await vendor.verifier().verify(vendor.mint(told))).is_service
    assert await refusal(vendor, vendor.mint({**APP_ONLY, "idtyp": "user"})) == Reason.WRONG_TOKEN_USE


@BOTH
async def test_clients_may_be_limited(vendor):
    await vendor.verifier(replace(vendor.rules, client_ids=[SPA])).verify(vendor.mint())
    claim = "appid" if vendor is V1 else "azp"
    other = vendor.mint({claim: API})
    assert await refusal(vendor, other, replace(vendor.rules, client_ids=[SPA])) == Reason.WRONG_CLIENT
    # The other version's name for the client says nothing here.
    wrong_name = vendor.mint({claim: None, "azp" if vendor is V1 else "appid": SPA})
    assert await refusal(vendor, wrong_name) == Reason.WRONG_TOKEN_USE


LOGIN = "https://login.microsoftonline.com"
PUBLISHED = V2.documents[f"{LOGIN}/{TENANT}/discovery/v2.0/keys"]


def of_key(issuer, documents):
    """Change whom the key of a key set signs for."""
    (key,) = documents["keys"]
    return {"keys": [{**{name: value for name, value in key.items() if name != "issuer"}, **issuer}]}


def shared(tenants, name="organizations", keys=None):
    template = "https://login.microsoftonline.com/{tenantid}/v2.0"
    jwks_uri = f"https://login.microsoftonline.com/{name}/discovery/v2.0/keys"
    documents = {
        f"https://login.microsoftonline.com/{name}/v2.0/.well-known/openid-configuration": lambda: {
            "issuer": template,
            "jwks_uri": jwks_uri,
        },
        jwks_uri: keys or (lambda: of_key({"issuer": template}, PUBLISHED())),
    }
    rules = EntraId(name, [API], tenants=tenants)
    return Verifier(
        rules, transport=lambda: Published(documents, []), clock=lambda: NOW, cache_policy=CachePolicy(timeout=60)
    )


@BOTH
@pytest.mark.parametrize("name", ["common", "organizations"])
async def test_of_all_tenants_only_the_listed_are_served(vendor, name):
    principal = await shared([TENANT, OTHER], name).verify(vendor.mint())
    assert principal.tenant == TENANT
    assert principal.issuer == vendor.access[1]["iss"]
    with pytest.raises(TokenError) as caught:
        await shared([OTHER], name).verify(vendor.mint())
    assert caught.value.reason == Reason.UNKNOWN_ISSUER


@BOTH
@pytest.mark.parametrize(
    ("issuer", "good"),
    [
        ({"issuer": f"{LOGIN}/{{tenantid}}/v2.0"}, True),
        ({"issuer": f"{LOGIN}/{TENANT}/v2.0"}, True),
        ({}, True),
        ({"issuer": f"{LOGIN}/{OTHER}/v2.0"}, False),
        ({"issuer": f"{LOGIN}/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0"}, False),
        ({"issuer": f"https://sts.windows.net/{TENANT}/"}, False),
        ({"issuer": "https://login.example/{tenantid}/v2.0"}, False),
        ({"issuer": [f"{LOGIN}/{TENANT}/v2.0"]}, False),
        ({"issuer": ""}, False),
    ],
    ids=str,
)
async def test_a_key_signs_only_for_the_tenant_that_the_key_set_names(vendor, issuer, good):
    """Of both tenants tokens are taken, and the key set has a key of each: neither may sign for the other."""
    verifier = shared([TENANT, OTHER], keys=lambda: of_key(issuer, PUBLISHED()))
    if good:
        assert (await verifier.verify(vendor.mint())).tenant == TENANT
    else:
        with pytest.raises(TokenError) as caught:
            await verifier.verify(vendor.mint())
        assert caught.value.reason == Reason.WRONG_KEY


async def test_of_two_keys_of_one_name_the_tenants_own_is_taken():
    others = {"issuer": f"{LOGIN}/{OTHER}/v2.0", "n": public_key("another")["n"]}
    both = [*of_key(others, PUBLISHED())["keys"], *of_key({"issuer": f"{LOGIN}/{TENANT}/v2.0"}, PUBLISHED())["keys"]]
    assert (await shared([TENANT, OTHER], keys=lambda: {"keys": both}).verify(V2.mint())).tenant == TENANT


@BOTH
async def test_one_listed_tenant_cannot_speak_for_another(vendor):
    token = vendor.mint({"iss": vendor.access[1]["iss"].replace(TENANT, OTHER)})
    with pytest.raises(TokenError) as caught:
        await shared([TENANT, OTHER]).verify(token)
    assert caught.value.reason == Reason.WRONG_TENANT


async def test_the_template_itself_is_no_issuer():
    token = V2.mint({"iss": "https://login.microsoftonline.com/{tenantid}/v2.0", "tid": "{tenantid}"})
    with pytest.raises(TokenError) as caught:
        await shared([TENANT]).verify(token)
    assert caught.value.reason == Reason.UNKNOWN_ISSUER


@pytest.mark.parametrize(
    ("tenant", "more"),
    [
        ("common", {}),
        ("organizations", {"tenants": []}),
        ("organizations", {"tenants": ["*"]}),
        ("consumers", {}),
        ("consumers", {"tenants": [TENANT]}),
        ("contoso.onmicrosoft.com", {}),
        ("", {}),
        (f"{TENANT}/..", {}),
        (TENANT, {"tenants": [OTHER]}),
        (TENANT, {"versions": []}),
        (TENANT, {"versions": ["3.0"]}),
    ],
)
def test_what_would_let_strangers_in_cannot_be_configured(tenant, more):
    with pytest.raises(ValueError, match=r"tenant|versions"):
        EntraId(tenant, [API], **more)


async def test_two_shared_registrations_of_one_name_each_have_their_own_keys():
    """Both are called `{tenantid}`: one API for one tenant, another, with keys of its own, for the other."""
    own = f"{LOGIN}/{OTHER}/discovery/v2.0/keys?appid={SPA}"
    template = f"{LOGIN}/{{tenantid}}/v2.0"
    documents = {
        f"{LOGIN}/organizations/v2.0/.well-known/openid-configuration": lambda: {
            "issuer": template,
            "jwks_uri": f"{LOGIN}/organizations/discovery/v2.0/keys",
        },
        f"{LOGIN}/organizations/discovery/v2.0/keys": lambda: of_key({"issuer": template}, PUBLISHED()),
        own: lambda: {"keys": [public_key("own", kid="own")]},
    }
    first = EntraId("organizations", [API], tenants=[TENANT])
    second = EntraId("organizations", [API], tenants=[OTHER], jwks_uri=own)
    for rules in ([first, second], [second, first]):
        verifier = Verifier(
            *rules, transport=lambda: Published(documents, []), clock=lambda: NOW, cache_policy=CachePolicy(timeout=60)
        )
        assert (await verifier.verify(V2.mint())).tenant == TENANT
        of_other = {"iss": V2.access[1]["iss"].replace(TENANT, OTHER), "tid": OTHER}
        assert (await verifier.verify(V2.mint(of_other, {"kid": "own"}))).tenant == OTHER
        with pytest.raises(TokenError) as caught:
            await verifier.verify(V2.mint(of_other))
        assert caught.value.reason == Reason.UNKNOWN_KEY


def test_two_rules_for_one_tenant_are_a_mistake():
    with pytest.raises(ValueError, match=r"once|twice|two"):
        Verifier(EntraId(TENANT, [API]), EntraId(TENANT.upper(), [SPA]))


def test_national_clouds_have_authorities_of_their_own():
    rules = EntraId(TENANT, [API], authority="https://login.microsoftonline.us")
    assert rules.issuer == f"https://login.microsoftonline.us/{TENANT}/v2.0"
    assert rules.metadata_url.startswith("https://login.microsoftonline.us/")
