"""Which published keys are used, and which are passed over."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from tegata_verify.jwks import parse_key, parse_key_set

EC = ECKey.generate_key("P-256", {"kid": "ec"}).as_dict(private=False)
RSA = RSAKey.generate_key(2048, {"kid": "rsa"}).as_dict(private=False)
OKP = OKPKey.generate_key("Ed25519", {"kid": "okp"}).as_dict(private=False)

# A busy machine must not fail these: no deadline, no complaint about slow generation.
relaxed = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize(
    ("jwk", "algorithms"),
    [(EC, {"ES256"}), (RSA, {"RS256", "PS256"}), (OKP, {"EdDSA", "Ed25519"})],
    ids=["EC", "RSA", "OKP"],
)
def test_the_kind_of_key_decides_what_it_verifies(jwk, algorithms):
    assert parse_key(jwk).algorithms == algorithms
    for algorithm in algorithms:
        named = parse_key({**jwk, "alg": algorithm, "use": "sig"}).algorithms
        assert named == (algorithms if jwk is OKP else {algorithm})


@pytest.mark.parametrize("alg", ["HS256", "none", "RSA-OAEP", "ES384", "", None, 7, ["ES256"]])
@pytest.mark.parametrize("jwk", [EC, RSA, OKP], ids=["EC", "RSA", "OKP"])
def test_a_key_for_another_algorithm_is_passed_over(jwk, alg):
    assert parse_key({**jwk, "alg": alg}) is None


@pytest.mark.parametrize("change", [{"use": "enc"}, {"use": 7}, {"key_ops": ["sign"]}, {"key_ops": []}, {"key_ops": 7}])
def test_a_key_for_another_use_is_passed_over(change):
    assert parse_key({**EC, **change}) is None


def test_a_key_that_says_it_verifies_is_used():
    assert parse_key({**EC, "use": "sig", "key_ops": ["verify"], "x5u": 7, "x5c": "nonsense"}) is not None


@pytest.mark.parametrize(
    "jwk",
    [
        OctKey.generate_key(256, {"kid": "oct"}).as_dict(),
        ECKey.generate_key("P-256").as_dict(private=True),
        RSAKey.generate_key(2048).as_dict(private=True),
        OKPKey.generate_key("Ed25519").as_dict(private=True),
        {**EC, "k": "AAAA"},
        {**RSA, "p": "AQAB"},
        {**EC, "d": None},
    ],
    ids=["oct", "EC", "RSA", "OKP", "EC with k", "RSA with p", "EC with an empty d"],
)
def test_a_symmetric_or_private_key_is_passed_over(jwk):
    assert parse_key(jwk) is None


def test_weak_and_monstrous_rsa_keys_are_passed_over_without_a_warning():
    for bits in (1024, 2040, 2047):
        public = rsa.generate_private_key(public_exponent=65537, key_size=bits).public_key()
        with pytest.warns():  # the library's own doubt, while the key is written
            jwk = RSAKey.import_key(public).as_dict(private=False)
        assert parse_key(jwk) is None
    for change in (
        {"e": "AgAAAAE"},
        {"e": RSA["n"]},
        {"n": "_" * 1400},
        {"n": "_" * 100_000},
        {"e": "AA"},
        {"e": "AQ"},
        {"n": "é"},
    ):
        assert parse_key({**RSA, **change}) is None


@pytest.mark.parametrize(
    "change",
    [
        {"crv": "P-384"},
        {"crv": "secp256k1"},
        {"crv": None},
        {"crv": ["P-256"]},
        {"y": "A" * 43},
        {"x": ""},
        {"x": None},
        {"x": 7},
        {"x": "é"},
        {"x": "A" * 2000},
        {"kty": "RSA"},
        {"kty": "oct"},
        {"kty": None},
        {"kty": ["EC"]},
        {"kid": 7},
        {"kid": ""},
        {"kid": "k" * 257},
    ],
    ids=lambda change: str(change)[:20],
)
def test_a_broken_key_is_passed_over(change):
    assert parse_key({**EC, **change}) is None


@given(
    st.dictionaries(
        st.sampled_from(["kty", "crv", "x", "y", "n", "e", "use", "alg", "kid", "key_ops"]),
        st.sampled_from([*EC.values(), *RSA.values(), *OKP.values(), "RSA", "OKP", "Ed25519", "P-256", "", 7, None])
        | st.text(max_size=5),
    )
)
@relaxed
def test_any_key_is_used_or_passed_over(jwk):
    parse_key(jwk)


def test_one_bad_key_does_not_spoil_the_others():
    keys = parse_key_set(
        {"keys": [7, None, {}, {"kty": "AKP", "alg": "ML-DSA-44"}, {**EC, "kid": 7}, RSA, OKP]}, max_keys=10
    )
    assert [key.kid for key in keys.find(None)] == ["rsa", "okp"]
    assert keys.find("ec") == ()


def test_keys_of_one_name_are_all_found():
    keys = parse_key_set({"keys": [{**EC, "kid": "a"}, {**RSA, "kid": "a"}, OKP]}, max_keys=10)
    assert [sorted(key.algorithms) for key in keys.find("a")] == [["ES256"], ["PS256", "RS256"]]


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": {}}, {"keys": "x"}, {"keys": []}, {"keys": [{}]}])
def test_a_document_without_usable_keys_is_an_error(document):
    with pytest.raises(ValueError, match="key"):
        parse_key_set(document, max_keys=10)


def test_the_number_of_keys_is_bounded():
    assert len(parse_key_set({"keys": [EC] * 10}, max_keys=10).keys) == 10
    with pytest.raises(ValueError, match="more than 10"):
        parse_key_set({"keys": [EC] * 11}, max_keys=10)
