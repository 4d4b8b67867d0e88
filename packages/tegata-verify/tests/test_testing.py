"""The issuer for users' tests, checked with a library that is not ours, and against the rules of each issuer."""

from __future__ import annotations

import doctest
import importlib

import jwt
import pytest

from tegata_verify import (
    AccessError,
    AlbCognito,
    Auth0,
    ClientCertificates,
    Cognito,
    DpopNonces,
    DpopPolicy,
    EntraId,
    Generic,
    Guard,
    HttpRequest,
    Keycloak,
    Reason,
    Tegata,
    TokenError,
    UseDpopNonce,
)
from tegata_verify.testing import Flaw, TestAlb, TestCertificate, TestDpopKey, TestIssuer

pytestmark = pytest.mark.anyio

TENANT, API = "6f0a4b3c-1111-4222-8333-0123456789ab", "c0ffee00-aaaa-4bbb-8ccc-0123456789ab"
POOL, ROLES = "eu-west-1_Ab12Cd34E", "https://beer.example.com/roles"
REALM = "https://sso.example.com/realms/beer"
RULES = {
    "tegata": Tegata("https://id.example.com/demo", ["beers"]),
    "tegata with clients": Tegata("https://id.example.com/demo", ["beers"], client_ids=["web"]),
    "unmarked": Generic("https://old.example.net/", ["beers"], token_types=[]),
    "keys alone": Generic(jwks_uri="https://old.example.net/keys", audiences=["beers"]),
    "cognito": Cognito("eu-west-1", POOL, ["web"]),
    "cognito with resources": Cognito("eu-west-1", POOL, ["web"], audiences=["https://api.example.com"]),
    "keycloak": Keycloak(REALM, ["beers"], role_clients=["beers"]),
    "entra": EntraId(TENANT, [API]),
    "entra 1.0": EntraId(TENANT, [API], versions=["1.0"], client_ids=["d00dad00-aaaa-4bbb-8ccc-0123456789ab"]),
    "entra of several tenants": EntraId("common", [API], tenants=[TENANT]),
    "auth0": Auth0("brewery.eu.auth0.com", ["https://api.example.com"], roles_claim=ROLES),
    "auth0 rfc9068": Auth0("brewery.eu.auth0.com", ["api"], roles_claim=ROLES, token_types=["at+jwt"]),
}
ROLE_NAMES = {"keycloak": ["beers:brewer", "taster"]}
each = pytest.mark.parametrize("name", RULES)


@pytest.fixture(scope="module")
def made():
    """Each issuer once: an RSA key takes its time."""
    return {name: TestIssuer.of(rules) for name, rules in RULES.items()}


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "PS256", "EdDSA"])
def test_its_tokens_are_good_for_another_library(algorithm):
    issuer = TestIssuer(algorithm=algorithm)
    token = issuer.mint(subject="me", scope=["write", "read"])
    keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(issuer.jwks()).keys}
    header = jwt.get_unverified_header(token)
    claims = jwt.decode(
        token, keys[header["kid"]].key, algorithms=[algorithm], audience=issuer.audience, issuer=issuer.issuer
    )
    assert header["typ"] == "at+jwt"
    assert (claims["sub"], claims["scope"]) == ("me", "write read")


def test_it_publishes_no_private_key():
    assert not any({"d", "p", "q", "k"} & set(key) for key in TestIssuer().jwks()["keys"])


def test_two_issuers_have_different_keys():
    assert TestIssuer().key.as_dict(private=False) != TestIssuer().key.as_dict(private=False)


async def test_a_rotated_key_is_trusted_and_a_withdrawn_one_is_not():
    issuer = TestIssuer()
    verifier, old = issuer.verifier(), issuer.mint()
    issuer.rotate()
    await verifier.verify(issuer.mint())
    await verifier.verify(old)
    issuer.rotate(withdraw=True)
    with pytest.raises(TokenError) as caught:
        await issuer.verifier().verify(old)
    assert caught.value.reason == Reason.UNKNOWN_KEY


async def test_claims_and_header_can_be_laid_over_and_taken_away():
    issuer = TestIssuer()
    verifier = issuer.verifier()
    assert (await verifier.verify(issuer.mint(claims={"department": "beer"}))).claims["department"] == "beer"
    with pytest.raises(TokenError):
        await verifier.verify(issuer.mint(claims={"client_id": None}))
    with pytest.raises(TokenError):
        await verifier.verify(issuer.mint(header={"typ": "JWT"}))


@each
async def test_what_was_wished_for_is_what_the_rules_of_the_issuer_read(made, name):
    issuer, roles = made[name], ROLE_NAMES.get(name, ["brewer", "taster"])
    principal = await issuer.verifier().verify(issuer.mint(subject="user-7", scope="read write", roles=roles))
    assert principal.issuer == issuer.issuer
    assert principal.subject == "user-7"
    assert principal.client_id == issuer.client_id
    assert principal.scopes == {"read", "write"}
    assert principal.roles == set(roles)
    assert not principal.is_service


@each
async def test_a_client_can_act_for_itself(made, name):
    roles = ["Beers.Read.All"] if name.startswith("entra") else []
    scope = "" if name.startswith("entra") else "read"
    principal = await made[name].verifier().verify(made[name].mint(service=True, scope=scope, roles=roles))
    assert principal.is_service
    assert principal.client_id == made[name].client_id


@each
@pytest.mark.parametrize("flaw", Flaw)
async def test_each_flaw_is_refused_for_its_own_reason(made, name, flaw):
    issuer = made[name]
    is_marked = issuer.rules.token_types == {"at+jwt"}
    reasons = {
        Flaw.EXPIRED: Reason.EXPIRED,
        Flaw.NOT_YET_VALID: Reason.NOT_YET_VALID,
        Flaw.OTHER_AUDIENCE: Reason.WRONG_AUDIENCE,
        Flaw.OTHER_CLIENT: Reason.WRONG_CLIENT,
        Flaw.OTHER_ISSUER: Reason.UNKNOWN_ISSUER,
        Flaw.WRONG_SIGNATURE: Reason.BAD_SIGNATURE,
        Flaw.UNKNOWN_KEY: Reason.UNKNOWN_KEY,
        Flaw.NO_KID: Reason.MISSING_KID,
        Flaw.UNSIGNED: Reason.ALGORITHM_NOT_ALLOWED,
        Flaw.ID_TOKEN: Reason.WRONG_TYPE if is_marked else Reason.WRONG_TOKEN_USE,
    }
    if flaw not in issuer.flaws:
        with pytest.raises(ValueError, match="flaw: "):
            issuer.mint(flaw=flaw)
        return
    with pytest.raises(TokenError) as caught:
        await issuer.verifier().verify(issuer.mint(scope="read", roles=["brewer"], flaw=flaw))
    assert caught.value.reason == reasons[flaw]


async def test_a_flaw_can_be_named_by_its_text_and_a_misspelt_one_is_an_error():
    issuer = TestIssuer()
    with pytest.raises(TokenError):
        await issuer.verifier().verify(issuer.mint(flaw="expired"))
    with pytest.raises(ValueError, match="exspired"):
        issuer.mint(flaw="exspired")


def test_an_issuer_with_one_key_has_no_tokens_that_lack_its_name():
    assert Flaw.NO_KID in TestIssuer().flaws
    assert Flaw.NO_KID not in TestIssuer(publishes_next=False).flaws


async def test_permissions_go_where_the_issuer_has_a_place_for_them(made):
    auth0 = made["auth0"]
    principal = await auth0.verifier().verify(auth0.mint(permissions=["read:beers"]))
    assert principal.permissions == {"read:beers"}
    with pytest.raises(ValueError, match="permissions"):
        made["cognito"].mint(permissions=["read:beers"])


def request(headers, *, method="GET", peer="10.0.0.7"):
    fields = tuple((name.lower().encode(), value.encode()) for name, value in headers.items())
    return HttpRequest(method, "https://api.test/beers", fields, peer=peer, raw_path=b"/beers")


async def test_a_token_bound_to_a_dpop_key_needs_its_proofs():
    issuer = TestIssuer()
    key = TestDpopKey()
    guard = Guard(issuer.verifier(), dpop=DpopPolicy("https://api.test", nonces=DpopNonces()))
    token = issuer.mint(bound_to=key)
    with pytest.raises(UseDpopNonce) as asked:
        await guard.authorize(request(key.headers("GET", "https://api.test/beers", token)))
    good = key.headers("GET", "https://api.test/beers", token, nonce=asked.value.nonce)
    assert (await guard.authorize(request(good))).subject == "user-1"
    for headers, reason in (
        (good, Reason.REPLAYED_PROOF),
        (TestDpopKey().headers("GET", "https://api.test/beers", token, nonce=asked.value.nonce), Reason.WRONG_PROOF),
        (issuer.headers(bound_to=key), Reason.WRONG_SCHEME),
    ):
        with pytest.raises(AccessError) as caught:
            await guard.authorize(request(headers))
        assert caught.value.reason == reason


@pytest.mark.parametrize("way", ["nginx", "alb_verify", "alb_passthrough", "rfc9440"])
async def test_a_token_bound_to_a_certificate_needs_it_in_the_way_of_each_proxy(way):
    issuer, certificate = TestIssuer(), TestCertificate()
    rules = getattr(ClientCertificates, way)(["10.0.0.7"])
    guard = Guard(issuer.verifier(), certificates=rules)
    bearer = issuer.headers(bound_to=certificate)
    assert await guard.authorize(request({**bearer, **certificate.headers(rules)}))
    for headers in (bearer, {**bearer, **TestCertificate().headers(rules)}):
        with pytest.raises(TokenError) as caught:
            await guard.authorize(request(headers))
        assert caught.value.reason == Reason.WRONG_CERTIFICATE


async def test_a_load_balancer_after_the_rules_of_production_speaks_of_a_user_of_its_pool(made):
    arn = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/app/front/50dc6c495c0c9188"
    pool, rules = made["cognito"], AlbCognito([arn], POOL, ["web"], trusted_peers=["10.0.16.0/20"])
    alb = TestAlb.of(rules, pool)
    guard = Guard(pool.verifier(), alb=alb.verifier())
    headers = dict(alb.mint_headers(subject="user-7", roles=["brewers"]))
    principal = await guard.authorize(request(headers, peer=alb.peer))
    assert (principal.subject, principal.roles) == ("user-7", {"brewers"})
    assert principal.identity["email"] == "user-7@example.com"
    with pytest.raises(TokenError):
        await guard.authorize(request(headers, peer="10.0.1.1"))


@pytest.mark.parametrize("name", ["testing.holders", "testing.issuer", "testing.wishes", "alb_testing"])
def test_the_examples_in_docstrings_run(name):
    outcome = doctest.testmod(importlib.import_module(f"tegata_verify.{name}"))
    assert outcome.attempted > 0
    assert outcome.failed == 0
