"""One algorithm of two names, `EdDSA` (RFC 8037) and `Ed25519` (RFC 9864), and what hides behind neither."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey

from tegata_verify import AccessError, CachePolicy, DpopPolicy, Generic, HttpRequest, KeysUnavailable, Reason, Verifier
from tegata_verify.client import PrivateKeyJwt
from tegata_verify.dpop import build_token_hash
from tegata_verify.jwks import parse_key
from tegata_verify.testing import TestIssuer

from .forgery import b64, refusal, unb64

pytestmark = pytest.mark.anyio

ISSUER, BASE, NOW = "https://id.example", "https://api.example.com", 1_700_000_000
KEYS = {
    "ed": OKPKey.generate_key("Ed25519"),
    "another": OKPKey.generate_key("Ed25519"),
    "448": OKPKey.generate_key("Ed448"),
    "x": OKPKey.generate_key("X25519"),
    "ec": ECKey.generate_key("P-256"),
}
NAMES = ["EdDSA", "Ed25519"]


def public(key: str, **members: Any) -> dict[str, Any]:
    """Return a key as it is published under its name here; None takes a member away."""
    jwk = {**KEYS[key].as_dict(private=False), "kid": key, **members}
    return {name: value for name, value in jwk.items() if value is not None}


def sign(alg: Any, kid: str, key: str | None = None) -> str:
    """Return a good token, signed as the key itself wants it, whatever the header says."""
    claims = {"iss": ISSUER, "aud": "api", "sub": "user-1", "client_id": "web", "exp": NOW + 300, "iat": NOW}
    signed = f"{b64({'alg': alg, 'typ': 'at+jwt', 'kid': kid})}.{b64(claims)}"
    signer = KEYS[key or kid]
    method = "ES256" if isinstance(signer, ECKey) else signer.curve_name
    return f"{signed}.{b64(jws.JWSRegistry.algorithms[method].sign(signed.encode(), signer))}"


def verifier(*keys: dict[str, Any], algorithms: Any = None) -> Verifier:
    rules = Generic(ISSUER, ["api"]) if algorithms is None else Generic(ISSUER, ["api"], algorithms=algorithms)
    found = {
        rules.metadata_url: {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"},
        f"{ISSUER}/jwks": {"keys": [*keys, public("ec"), public("another", kid="spare")]},
    }

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=found[str(request.url)])

    patient = CachePolicy(timeout=60)
    return Verifier(
        rules, transport=lambda: httpx2.MockTransport(answer), clock=lambda: float(NOW), cache_policy=patient
    )


@pytest.mark.parametrize("published", [*NAMES, None])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("algorithms", [None, ["EdDSA"], ["ES256", "EdDSA"]], ids=str)
async def test_where_eddsa_is_allowed_a_token_and_a_key_may_use_either_name(name, published, algorithms):
    trusting = verifier(public("ed", alg=published), algorithms=algorithms)
    assert (await trusting.verify(sign(name, "ed"))).subject == "user-1"


@pytest.mark.parametrize("published", [*NAMES, None])
async def test_where_the_full_name_alone_is_allowed_a_token_must_use_it(published):
    trusting = verifier(public("ed", alg=published), algorithms=["Ed25519"])
    assert (await trusting.verify(sign("Ed25519", "ed"))).subject == "user-1"
    assert await refusal(trusting, sign("EdDSA", "ed")) == Reason.ALGORITHM_NOT_ALLOWED


@pytest.mark.parametrize("name", NAMES)
async def test_where_neither_is_allowed_neither_is_taken(name):
    trusting = verifier(public("ed", alg=name), algorithms=["ES256"])
    assert await refusal(trusting, sign(name, "ed")) == Reason.ALGORITHM_NOT_ALLOWED


@pytest.mark.parametrize(
    "name",
    [
        "Ed448",
        "ed25519",
        "ED25519",
        "EDDSA",
        "eddsa",
        "Ed25519 ",
        "Ed25519ph",
        "Ed25519ctx",
        "X25519",
        ["Ed25519"],
        -19,
    ],
    ids=str,
)
async def test_a_name_that_is_nearly_one_of_them_is_none(name):
    trusting = verifier(public("ed"), public("448"))
    for kid in ("ed", "448"):
        assert await refusal(trusting, sign(name, kid)) == Reason.ALGORITHM_NOT_ALLOWED


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("published", [*NAMES, "Ed448", None])
async def test_the_other_curve_is_none_of_them_whatever_it_is_called(name, published):
    trusting = verifier(public("448", alg=published))
    assert await refusal(trusting, sign(name, "448")) == Reason.UNKNOWN_KEY


BROKEN = {
    "for the other curve": public("ed", alg="Ed448"),
    "for another kind of key": public("ed", alg="ES256"),
    "for a name in small letters": public("ed", alg="ed25519"),
    "for several": public("ed", alg=["Ed25519"]),
    "for none": {**public("ed"), "alg": None},
    "of the other curve by name alone": public("ed", crv="Ed448", alg="Ed25519"),
    "of a curve for agreement": public("x", kid="ed", alg="Ed25519"),
    "of a curve for agreement by name alone": public("ed", crv="X25519", alg="Ed25519"),
    "of another type by name alone": public("ed", kty="EC", alg="Ed25519"),
    "of another type and curve": public("ec", kid="ed", alg="Ed25519"),
    "of a curve of another type": public("ed", crv="P-256", alg="Ed25519"),
    "with its private part": {**KEYS["ed"].as_dict(private=True), "kid": "ed", "alg": "Ed25519"},
    "for encryption": public("ed", alg="Ed25519", use="enc"),
}


@pytest.mark.parametrize("jwk", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("name", NAMES)
async def test_a_key_that_contradicts_itself_is_passed_over(jwk, name):
    assert parse_key(jwk) is None
    assert await refusal(verifier(jwk), sign(name, "ed")) == Reason.UNKNOWN_KEY


@pytest.mark.parametrize("name", NAMES)
async def test_a_key_of_another_kind_has_not_signed(name):
    trusting = verifier(public("ed"))
    assert await refusal(trusting, sign(name, "ec", "ed")) == Reason.WRONG_KEY
    for claimed in ("ES256", "RS256", "PS256"):
        assert await refusal(trusting, sign(claimed, "ed")) == Reason.WRONG_KEY


@pytest.mark.parametrize("name", NAMES)
async def test_the_signature_is_the_keys_and_is_about_the_name(name):
    trusting = verifier(public("ed"))
    assert await refusal(trusting, sign(name, "ed", "another")) == Reason.BAD_SIGNATURE
    assert await refusal(trusting, sign(name, "ed", "448")) == Reason.BAD_SIGNATURE
    head, _, rest = sign(name, "ed").partition(".")
    other = {**json.loads(unb64(head)), "alg": next(other for other in NAMES if other != name)}
    assert await refusal(trusting, f"{b64(other)}.{rest}") == Reason.BAD_SIGNATURE


@pytest.mark.parametrize("name", ["Ed448", "ed25519", "HS256", ""])
def test_nothing_else_can_be_allowed(name):
    for refuse in (
        lambda: Generic(ISSUER, ["api"], algorithms=["EdDSA", name]),
        lambda: DpopPolicy(BASE, algorithms=("EdDSA", name)),
        lambda: PrivateKeyJwt("me", KEYS["ed"], algorithm=name),
    ):
        with pytest.raises(ValueError, match="algorithm"):
            refuse()


def prove(alg: Any, key: str, jwk: dict[str, Any] | None = None) -> HttpRequest:
    """Return a request with a token and a proof by a key, which calls itself `jwk`."""
    claims = {"jti": alg, "htm": "GET", "htu": f"{BASE}/", "iat": NOW, "ath": build_token_hash("token")}
    members = {name: value for name, value in (jwk or public(key)).items() if name != "kid"}
    signed = f"{b64({'typ': 'dpop+jwt', 'alg': alg, 'jwk': members})}.{b64(claims)}"
    signer = KEYS[key]
    method = "ES256" if isinstance(signer, ECKey) else signer.curve_name
    proof = f"{signed}.{b64(jws.JWSRegistry.algorithms[method].sign(signed.encode(), signer))}"
    return HttpRequest("GET", f"{BASE}/", ((b"dpop", proof.encode()),), raw_path=b"/")


@pytest.mark.parametrize("published", [*NAMES, None])
@pytest.mark.parametrize(("allowed", "names"), [(None, NAMES), (("EdDSA",), NAMES), (("Ed25519",), NAMES[1:])], ids=str)
def test_a_proof_may_use_either_name_where_eddsa_is_allowed(allowed, names, published):
    policy = DpopPolicy(BASE) if allowed is None else DpopPolicy(BASE, algorithms=allowed)
    for name in names:
        assert policy.check(prove(name, "ed", public("ed", alg=published)), "token", KEYS["ed"].thumbprint(), NOW)
    for name in set(NAMES) - set(names):
        assert detail_of(policy, prove(name, "ed")) == (Reason.MALFORMED_PROOF, "alg")


MIXED = {
    "named after the other curve": (prove("Ed448", "ed"), (Reason.MALFORMED_PROOF, "alg")),
    "named after the other curve, by its key": (prove("Ed448", "448"), (Reason.MALFORMED_PROOF, "alg")),
    "by a key of the other curve": (prove("Ed25519", "448"), (Reason.MALFORMED_PROOF, "jwk")),
    "by one, under the old name": (prove("EdDSA", "448"), (Reason.MALFORMED_PROOF, "jwk")),
    "by a key of another kind": (prove("Ed25519", "ec"), (Reason.MALFORMED_PROOF, "jwk")),
    "named after another kind": (prove("ES256", "ed"), (Reason.MALFORMED_PROOF, "jwk")),
    "by a key that contradicts itself": (
        prove("Ed25519", "ed", public("ed", alg="Ed448")),
        (Reason.MALFORMED_PROOF, "jwk"),
    ),
    "by another key of the kind": (prove("Ed25519", "another"), (Reason.WRONG_PROOF, "another key")),
    "by another key than it shows": (prove("Ed25519", "another", public("ed")), (Reason.WRONG_PROOF, "signature")),
}


@pytest.mark.parametrize("case", MIXED)
def test_a_proof_of_mixed_names_and_curves_is_refused(case):
    sent, expected = MIXED[case]
    assert detail_of(DpopPolicy(BASE), sent) == expected


def detail_of(policy: DpopPolicy, request: HttpRequest) -> tuple[Reason, str]:
    with pytest.raises(AccessError) as caught:
        policy.check(request, "token", KEYS["ed"].thumbprint(), NOW)
    return caught.value.reason, caught.value.detail


async def test_a_set_of_the_other_curve_alone_is_no_key_set():
    rules = Generic(jwks_uri=f"{ISSUER}/jwks", audiences=["api"])
    keys = {"keys": [public("448", alg="Ed448"), public("x")]}
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=keys))
    trusting = Verifier(rules, transport=lambda: transport, cache_policy=CachePolicy(timeout=60))
    with pytest.raises(KeysUnavailable, match="no usable key"):
        await trusting.verify(sign("EdDSA", "448"))


@pytest.mark.parametrize("name", NAMES)
async def test_the_issuer_for_tests_signs_under_both_names(name):
    issuer = TestIssuer(algorithm=name)
    assert (await issuer.verifier().verify(issuer.mint(subject="me"))).subject == "me"
    assert issuer.jwks()["keys"][0]["alg"] == name
    of_rules = TestIssuer.of(Generic(ISSUER, ["api"], algorithms=[name]))
    assert (await of_rules.verifier().verify(of_rules.mint())).issuer == ISSUER
