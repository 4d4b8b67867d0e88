"""Signing keys: named by their thumbprint, and a public key holds nothing private (RFC 7517, RFC 7638)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tegata.crypto.keys import (
    Algorithm,
    SigningKey,
    generate_key,
    parse_private,
    parse_public,
    private_bytes,
    public_jwk,
)

PRIVATE = {"d", "p", "q", "dp", "dq", "qi"}
RFC_7638 = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3"
    "oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5"
    "hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}
POINT = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
KEYS: dict[Algorithm, SigningKey] = {"ES256": generate_key("ES256"), "RS256": generate_key("RS256")}


def test_the_thumbprint_of_rfc_7638() -> None:
    """§3.1."""
    assert parse_public(RFC_7638).thumbprint() == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_new_key_says_what_it_is_for_and_is_named_by_its_thumbprint(algorithm: Algorithm) -> None:
    jwk = public_jwk(KEYS[algorithm])
    assert jwk["kid"] == KEYS[algorithm].thumbprint() == parse_public(jwk).thumbprint()
    assert (jwk["alg"], jwk["use"]) == (algorithm, "sig")
    assert jwk["kty"] == {"ES256": "EC", "RS256": "RSA"}[algorithm]


@pytest.mark.parametrize("algorithm", KEYS)
def test_the_public_key_holds_nothing_private(algorithm: Algorithm) -> None:
    assert not PRIVATE & set(public_jwk(KEYS[algorithm]))
    whole = json.loads(private_bytes(KEYS[algorithm]))
    assert PRIVATE & set(whole)
    assert not PRIVATE & set(public_jwk(parse_public(whole)))
    assert not parse_public(whole).is_private


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_private_key_is_read_as_it_was_written(algorithm: Algorithm) -> None:
    again = parse_private(private_bytes(KEYS[algorithm]))
    assert public_jwk(again) == public_jwk(KEYS[algorithm])
    assert again.is_private


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_private_key_stays_out_of_the_representation(algorithm: Algorithm) -> None:
    assert json.loads(private_bytes(KEYS[algorithm]))["d"] not in repr(KEYS[algorithm])


BAD: list[dict[str, Any]] = [
    {},
    {"kty": "oct", "k": "AAAA"},
    {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    {"kty": ["EC"]},
    {"kty": "EC"},
    {"kty": "EC", "crv": "P-256"},
    {**POINT, "crv": "secp256k1"},
    {**POINT, "crv": "P-384"},
    {**POINT, "crv": ["P-256"]},
    {**POINT, "x": 5},
    {**POINT, "x": "!!"},
    {**POINT, "y": POINT["x"]},
    {**POINT, "x": "AA", "y": "AA"},
    {**POINT, "use": "nonsense"},
    {"kty": "RSA"},
    {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
    {"kty": "RSA", "n": "", "e": "AQAB"},
    {"kty": "RSA", "n": "é", "e": "AQAB"},
    {**RFC_7638, "n": RFC_7638["n"][:170]},
    {**RFC_7638, "n": RFC_7638["n"][:256]},
    {**RFC_7638, "e": "AQ"},
    {**RFC_7638, "e": "AA"},
    {**RFC_7638, "e": 65537},
]


@pytest.mark.parametrize("jwk", BAD, ids=[json.dumps(jwk)[:50] for jwk in BAD])
def test_a_key_is_refused_with_a_value_error(jwk: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"key|curve"):
        parse_public(jwk)


@given(
    st.dictionaries(
        st.sampled_from(["kty", "crv", "x", "y", "n", "e", "use", "alg", "kid", "key_ops"]),
        st.none() | st.integers() | st.text() | st.lists(st.text(), max_size=2),
    )
)
@example({"kty": {}})
def test_any_document_laid_over_a_key_is_a_key_or_a_value_error(changes: dict[str, Any]) -> None:
    for good in (POINT, RFC_7638):
        try:
            key = parse_public({**good, **changes})
        except ValueError:
            continue
        assert not key.is_private


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[]", b"\xff", b'{"kty":"oct","k":"AAAA"}', b'{"kty":"EC"}', b"null", b"5"]
)
def test_what_is_no_private_key_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"key|Expecting|utf-8"):
        parse_private(raw)
