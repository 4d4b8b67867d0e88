"""The attack set of RFC 8725 and of the published faults of token libraries, and the rules' exact edges."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from tegata_verify import Generic, Reason, Tegata, TokenError
from tegata_verify.jwks import parse_key
from tegata_verify.principal import build_principal
from tegata_verify.testing import TestIssuer
from tegata_verify.tokens import (
    SignatureRegistry,
    check_claims,
    check_header,
    check_signature,
    choose_key,
    decode_segment,
    parse_token,
)

NOW = 1_700_000_000
ISSUER = "https://id.example/demo"

# A busy machine must not fail these: no deadline, no complaint about slow generation.
relaxed = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def issuer():
    return TestIssuer(ISSUER, clock=lambda: NOW)


@pytest.fixture(scope="module")
def rsa_issuer():
    return TestIssuer(ISSUER, clock=lambda: NOW, algorithm="RS256")


def b64(value) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def parts(token):
    return [json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2]]


def judge(token, issuer, rules=None, now=NOW):
    """Run all rules in the order of the verifier, without the network."""
    rules = rules or issuer.rules
    unverified = parse_token(token, max_bytes=16 * 1024)
    algorithm, kid = check_header(unverified.header, rules)
    keys = [parse_key(jwk) for jwk in issuer.jwks()["keys"]]
    named = [key for key in keys if kid is None or key.kid == kid]
    check_signature(unverified, choose_key(named, algorithm, kid))
    return check_claims(unverified.claims, rules, now=now)


def refusal(token, issuer, rules=None, now=NOW):
    with pytest.raises(TokenError) as caught:
        judge(token, issuer, rules, now)
    return caught.value.reason


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "PS256", "EdDSA", "Ed25519"])
def test_a_good_token_is_accepted_in_each_algorithm(algorithm):
    issuer = TestIssuer(ISSUER, clock=lambda: NOW, algorithm=algorithm)
    assert judge(issuer.mint(subject="me"), issuer)["sub"] == "me"


# --- attacks on the header ---


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", " none"])
def test_alg_none_is_refused_in_each_spelling(issuer, name):
    _, claims = parts(issuer.mint())
    for signature in ("", "AAAA"):
        token = f"{b64({'alg': name, 'typ': 'at+jwt'})}.{b64(claims)}.{signature}"
        assert refusal(token, issuer) == Reason.ALGORITHM_NOT_ALLOWED


@pytest.mark.parametrize("secret_form", ["pem", "der", "jwk", "raw"])
def test_hs256_signed_with_the_public_key_is_refused(rsa_issuer, secret_form):
    key = rsa_issuer.key
    secret = {
        "pem": key.as_pem(private=False),
        "der": key.as_der(private=False),
        "jwk": json.dumps(key.as_dict(private=False)).encode(),
        "raw": key.as_dict(private=False)["n"].encode(),
    }[secret_form]
    header, claims = parts(rsa_issuer.mint())
    signed = f"{b64({**header, 'alg': 'HS256'})}.{b64(claims)}"
    token = f"{signed}.{b64(hmac.digest(secret, signed.encode(), hashlib.sha256))}"
    assert refusal(token, rsa_issuer) == Reason.ALGORITHM_NOT_ALLOWED


def test_a_header_that_names_another_algorithm_than_the_key_is_refused(issuer, rsa_issuer):
    for signer, claimed in ((issuer, "RS256"), (issuer, "PS256"), (issuer, "EdDSA"), (rsa_issuer, "ES256")):
        header, claims = parts(signer.mint())
        _, _, signature = signer.mint().split(".")
        token = f"{b64({**header, 'alg': claimed})}.{b64(claims)}.{signature}"
        assert refusal(token, signer) == Reason.WRONG_KEY


def test_a_key_published_for_rs256_does_not_verify_ps256(rsa_issuer):
    token = rsa_issuer.mint(header={"alg": "PS256"})
    assert refusal(token, rsa_issuer) == Reason.WRONG_KEY


def test_an_algorithm_outside_the_issuers_list_is_refused(issuer):
    rules = Tegata(ISSUER, [issuer.audience], algorithms=["RS256"])
    assert refusal(issuer.mint(), issuer, rules) == Reason.ALGORITHM_NOT_ALLOWED


@pytest.mark.parametrize("alg", [None, 1, ["ES256"], {"ES256": 1}, True])
def test_an_alg_that_is_no_text_is_refused(issuer, alg):
    _, claims = parts(issuer.mint())
    header = {"alg": alg, "typ": "at+jwt"}
    assert refusal(f"{b64(header)}.{b64(claims)}.AAAA", issuer) == Reason.ALGORITHM_NOT_ALLOWED


def test_a_key_carried_in_the_header_is_not_used():
    issuer = TestIssuer(ISSUER, clock=lambda: NOW, publishes_next=False)
    mallory = ECKey.generate_key("P-256")
    for kid in (issuer.key.kid, None):
        token = sign_with(mallory, issuer, header={"jwk": mallory.as_dict(private=False), "kid": kid})
        assert refusal(token, issuer) == Reason.BAD_SIGNATURE


@pytest.mark.parametrize("name", ["jku", "x5u"])
def test_an_address_of_keys_in_the_header_is_not_used(issuer, name):
    mallory = ECKey.generate_key("P-256")
    token = sign_with(mallory, issuer, header={name: "https://mallory.example/keys"})
    assert refusal(token, issuer) == Reason.BAD_SIGNATURE


def test_headers_that_do_not_matter_are_ignored(issuer):
    judge(issuer.mint(header={"jku": "https://id.example/keys", "x5t": "abc", "nonce": "x"}), issuer)


@pytest.mark.parametrize("crit", [["exp"], [], ["b64"], ["http://unknown.example"], None, "x", ["x"] * 50])
def test_any_critical_header_is_refused(issuer, crit):
    header, claims = parts(issuer.mint())
    token = f"{b64({**header, 'crit': crit, 'http://unknown.example': 1})}.{b64(claims)}.AAAA"
    assert refusal(token, issuer) == Reason.CRITICAL_HEADER


@pytest.mark.parametrize("b64_value", [False, None, 0, "true"])
def test_an_unencoded_payload_is_refused(issuer, b64_value):
    header, claims = parts(issuer.mint())
    assert refusal(f"{b64({**header, 'b64': b64_value})}.{b64(claims)}.AAAA", issuer) == Reason.CRITICAL_HEADER


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"])
def test_an_access_token_type_is_accepted_in_each_spelling(issuer, typ):
    judge(issuer.mint(header={"typ": typ}), issuer)


@pytest.mark.parametrize(
    "typ", [None, "JWT", "jwt", "dpop+jwt", "logout+jwt", "at+jwt ", "x/at+jwt", "at", 7, ["at+jwt"]]
)
def test_any_other_type_is_refused(issuer, typ):
    header, claims = parts(issuer.mint())
    header = {name: value for name, value in {**header, "typ": typ}.items() if value is not None}
    assert refusal(f"{b64(header)}.{b64(claims)}.AAAA", issuer) == Reason.WRONG_TYPE


def test_the_type_is_not_checked_for_an_issuer_that_is_said_not_to_mark_its_tokens(issuer):
    rules = Generic(ISSUER, [issuer.audience], token_types=[])
    judge(issuer.mint(header={"typ": "JWT"}), issuer, rules)
    judge(issuer.mint(header={"typ": None}), issuer, rules)


def test_an_id_token_is_not_an_access_token(issuer):
    claims = {"nonce": "n", "at_hash": "h", "client_id": None, "azp": "client-1", "aud": "client-1"}
    assert refusal(issuer.mint(header={"typ": "JWT"}, claims=claims), issuer) == Reason.WRONG_TYPE
    assert refusal(issuer.mint(header={"typ": None}, claims=claims), issuer) == Reason.WRONG_TYPE


def test_a_missing_kid_is_accepted_only_while_there_is_one_key():
    issuer = TestIssuer(ISSUER, clock=lambda: NOW, publishes_next=False)
    judge(issuer.mint(header={"kid": None}), issuer)
    issuer.rotate()
    assert refusal(issuer.mint(header={"kid": None}), issuer) == Reason.MISSING_KID


@pytest.mark.parametrize("kid", [7, "", "k" * 257, ["a"], {"a": 1}, True])
def test_a_kid_that_is_no_short_text_is_refused(issuer, kid):
    header, claims = parts(issuer.mint())
    assert refusal(f"{b64({**header, 'kid': kid})}.{b64(claims)}.AAAA", issuer) == Reason.MALFORMED_TOKEN


def test_a_swapped_kid_is_refused():
    issuer = TestIssuer(ISSUER, clock=lambda: NOW)
    first = issuer.key.kid
    issuer.rotate()
    assert refusal(issuer.mint(header={"kid": first}), issuer) == Reason.BAD_SIGNATURE


def test_another_tenants_token_is_refused(issuer):
    other = TestIssuer("https://id.example/other", clock=lambda: NOW)
    assert refusal(other.mint(), issuer) == Reason.UNKNOWN_KEY
    assert refusal(other.mint(header={"kid": issuer.key.kid}), issuer) == Reason.BAD_SIGNATURE
    lying = other.mint(header={"kid": issuer.key.kid}, claims={"iss": ISSUER})
    assert refusal(lying, issuer) == Reason.BAD_SIGNATURE


# --- attacks on the form ---


def test_a_changed_token_is_refused_wherever_it_is_changed(issuer):
    token = issuer.mint()
    for place in range(len(token)):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with pytest.raises(TokenError):
            judge(changed, issuer)


@given(st.data())
@relaxed
def test_no_mutation_of_a_good_token_is_accepted(issuer, data):
    token = issuer.mint()
    place = data.draw(st.integers(0, len(token)))
    cut = data.draw(st.integers(0, 5))
    mutated = token[:place] + data.draw(st.text(max_size=5)) + token[place + cut :]
    if mutated != token:
        with pytest.raises(TokenError):
            judge(mutated, issuer)


@given(st.binary(max_size=400) | st.text(max_size=400))
@relaxed
def test_anything_at_all_gives_a_token_error(issuer, anything):
    with pytest.raises(TokenError):
        judge(anything, issuer)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(
    ["alg", "kid", "typ", "crit", "b64", "jwk", "x5u", "x5c", "iss", "aud", "exp", "nbf", "sub", "scope"]
)


@given(st.dictionaries(names, json_values), st.dictionaries(names, json_values))
@relaxed
def test_any_json_in_header_and_payload_gives_a_token_error(issuer, header, claims):
    header = {"alg": "ES256", "typ": "at+jwt", **header}
    with pytest.raises(TokenError):
        judge(f"{b64(header)}.{b64(claims)}.{b64(b'0' * 64)}", issuer)


@given(st.dictionaries(names | st.sampled_from(["roles", "client_id", "acr", "auth_time", "iat"]), json_values))
@relaxed
def test_any_signed_claims_give_a_decision(issuer, claims):
    verified = parts(issuer.mint())[1]
    with suppress(TokenError):
        build_principal(check_claims({**verified, **claims}, issuer.rules, now=NOW), issuer.rules)


def test_a_token_is_measured_before_it_is_parsed(issuer):
    limit = len(issuer.mint())
    parse_token(issuer.mint(), max_bytes=limit)
    with pytest.raises(TokenError) as caught:
        parse_token(issuer.mint(subject="x" * 20), max_bytes=limit)
    assert caught.value.reason == Reason.TOKEN_TOO_LARGE
    assert refusal("." * 10_000_000, issuer) == Reason.TOKEN_TOO_LARGE


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "...", "a.b", "a.b.c", "a.b.c.d", "a.b.c.d.e", "é.é.é", "\ud800.a.b", "a b.c.d", "\x00.\x00.\x00"],
)
def test_garbage_is_malformed(issuer, token):
    assert refusal(token, issuer) == Reason.MALFORMED_TOKEN


def test_five_segments_of_a_jwe_are_refused(issuer):
    head = b64({"alg": "dir", "enc": "A256GCM", "zip": "DEF"})
    assert refusal(f"{head}..{'A' * 16}.{'A' * 1000}.{'A' * 22}", issuer) == Reason.MALFORMED_TOKEN


def test_a_json_serialization_is_refused(issuer):
    header, payload, signature = issuer.mint().split(".")
    text = json.dumps({"protected": header, "payload": payload, "signature": signature})
    assert refusal(text, issuer) == Reason.MALFORMED_TOKEN


def test_padding_and_other_spellings_of_base64_are_refused(issuer):
    header, payload, signature = issuer.mint().split(".")
    for spelled in (
        f"{header}=.{payload}.{signature}",
        f"{header}.{payload}.{signature}==",
        f"{header}\n.{payload}.{signature}",
    ):
        assert refusal(spelled, issuer) == Reason.MALFORMED_TOKEN


@given(st.binary(max_size=60))
@relaxed
def test_each_segment_has_one_spelling(data):
    encoded = base64.urlsafe_b64encode(data).rstrip(b"=")
    assert decode_segment(encoded) == data
    for other in (encoded + b"=", b" " + encoded, encoded + b"A=="):
        with pytest.raises(ValueError, match=r".*"):
            decode_segment(other)


def test_signature_bits_that_do_not_count_must_be_zero(rsa_issuer):
    token = rsa_issuer.mint()  # 256 bytes: the last character carries two of its six bits
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = token[:-1] + alphabet[alphabet.index(token[-1]) + 1]
    assert refusal(twin, rsa_issuer) == Reason.MALFORMED_TOKEN


@pytest.mark.parametrize("where", [0, 1])
def test_repeated_members_are_refused(issuer, where):
    segments = issuer.mint().split(".")
    text = base64.urlsafe_b64decode(segments[where] + "==").decode()
    segments[where] = b64((text[:-1] + ', "alg": "ES256", "sub": "admin", "alg": "ES256", "sub": "admin"}').encode())
    assert refusal(".".join(segments), issuer) == Reason.DUPLICATE_MEMBER


@pytest.mark.parametrize(
    "payload",
    [
        b"[1]",
        b'"text"',
        b"1",
        b"null",
        b"{",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":"\\ud800"}',
        b"\xff",
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"a":' + b"9" * 5000 + b"}",
    ],
    ids=lambda payload: repr(payload[:12]),
)
def test_a_payload_that_is_no_plain_json_object_is_refused(issuer, payload):
    header = issuer.mint().split(".")[0]
    assert refusal(f"{header}.{b64(payload)}.AAAA", issuer) == Reason.MALFORMED_TOKEN


def sign_with(key, issuer, header=None) -> str:
    protected, claims = parts(issuer.mint(header=header))
    return jws.serialize_compact(protected, json.dumps(claims), key, registry=SignatureRegistry())


def test_the_signing_library_itself_knows_no_symmetric_algorithm_here():
    for name in ("none", "HS256", "HS512", "ES256K", "RS1"):
        with pytest.raises(Exception, match=name):
            SignatureRegistry().get_alg(name)


def test_foreign_signatures_of_the_right_length_are_refused(issuer):
    header, payload, _ = issuer.mint().split(".")
    for signature in (b"\x00" * 64, b"\xff" * 64, b"", b"\x00" * 63, b"\x01" * 1000):
        assert refusal(f"{header}.{payload}.{b64(signature)}", issuer) == Reason.BAD_SIGNATURE


def test_keys_of_other_kinds_cannot_be_smuggled_into_the_library(issuer):
    assert parse_key(OctKey.generate_key().as_dict()) is None
    assert parse_key(RSAKey.generate_key(2048).as_dict(private=True)) is None
