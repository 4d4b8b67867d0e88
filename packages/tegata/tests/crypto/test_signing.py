"""Signatures: the algorithm is ours to choose, never the token's (RFC 7515, RFC 8725, pitfalls P66)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from joserfc import jws

from tegata.crypto import signing
from tegata.crypto.keys import (
    Algorithm,
    SigningKey,
    generate_key,
    parse_private,
    parse_public,
    private_bytes,
    public_jwk,
)
from tegata.crypto.signing import BadSignature, PublishedKey, Signer, load_published, load_signer, verify_own

EC, RSA, STRANGER = generate_key("ES256"), generate_key("RS256"), generate_key("ES256")
CLAIMS = {"iss": "https://id.example/t", "sub": "山田", "exp": 1}
SIGNERS = {
    "ES256": load_signer("ES256", EC.thumbprint(), private_bytes(EC)),
    "RS256": load_signer("RS256", RSA.thumbprint(), private_bytes(RSA)),
}
PUBLISHED = [
    load_published("ES256", EC.thumbprint(), public_jwk(EC)),
    load_published("RS256", RSA.thumbprint(), public_jwk(RSA)),
]
ACCESS = SIGNERS["ES256"].sign(CLAIMS, typ="at+jwt")
# As a client registers it: without `alg`, so that it serves for both.
WITHOUT_ALG = {name: value for name, value in json.loads(private_bytes(RSA)).items() if name != "alg"}
RSA_OF_CLIENT = parse_private(json.dumps(WITHOUT_ALG).encode())
CLIENT_KEYS = [(EC, ["ES256"]), (RSA_OF_CLIENT, ["RS256", "PS256"])]
ALGORITHMS = ("ES256", "RS256", "PS256")


def b64(raw: bytes | str | dict[str, Any]) -> str:
    data = json.dumps(raw).encode() if isinstance(raw, dict) else raw.encode() if isinstance(raw, str) else raw
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def signed(header: dict[str, Any], key: Any, claims: object = CLAIMS) -> str:
    """A JWS made by a library that lets us say anything in its header."""
    registry = jws.JWSRegistry(algorithms=["ES256", "RS256", "PS256"], strict_check_header=False)
    return jws.serialize_compact(header, json.dumps(claims).encode(), key, registry=registry)


def hmac_signed(header: dict[str, Any], secret: bytes) -> str:
    text = f"{b64(header)}.{b64(CLAIMS)}"
    return f"{text}.{b64(hmac.digest(secret, text.encode(), hashlib.sha256))}"


def own(token: str, typ: str = "at+jwt", keys: list[PublishedKey] = PUBLISHED) -> bool:
    try:
        verify_own(token, keys, typ=typ)
    except BadSignature:
        return False
    return True


def clients(token: str, keys: Any = CLIENT_KEYS, algorithms: tuple[str, ...] = ALGORITHMS) -> bool:
    try:
        signing.verify_with_keys(token, keys, algorithms)
    except BadSignature:
        return False
    return True


@pytest.mark.parametrize("algorithm", SIGNERS)
def test_what_is_signed_verifies_and_says_what_it_is(algorithm: str) -> None:
    token = SIGNERS[algorithm].sign(CLAIMS, typ="at+jwt")
    assert verify_own(token, PUBLISHED, typ="at+jwt") == CLAIMS
    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    assert header == {"alg": algorithm, "kid": SIGNERS[algorithm].kid, "typ": "at+jwt"}


@pytest.mark.parametrize("algorithm", SIGNERS)
def test_another_library_verifies_what_is_signed(algorithm: str) -> None:
    """Many times: one signature in 128 has a number that begins with a zero byte (RFC 7518 §3.4)."""
    key = jwt.PyJWK(public_jwk(EC if algorithm == "ES256" else RSA))
    for number in range(400 if algorithm == "ES256" else 5):
        token = SIGNERS[algorithm].sign({"n": number}, typ="at+jwt")
        assert jwt.decode(token, key, algorithms=[algorithm]) == {"n": number}


@pytest.mark.parametrize(("algorithm", "key"), [("ES256", RSA), ("RS256", EC)])
def test_a_signer_has_a_key_of_its_algorithm(algorithm: Algorithm, key: SigningKey) -> None:
    """Or it would sign with one algorithm and name the other."""
    with pytest.raises(ValueError, match=r"ES256|RS256"):
        load_signer(algorithm, "k", private_bytes(key))


@pytest.mark.parametrize("key", [EC, RSA])
def test_a_signer_has_a_private_key(key: SigningKey) -> None:
    algorithm: Algorithm = "ES256" if key is EC else "RS256"
    with pytest.raises(ValueError, match="private"):
        load_signer(algorithm, "k", json.dumps(public_jwk(key)).encode())


def test_the_example_of_rfc_7515_verifies() -> None:
    """Appendix A.3."""
    key = parse_public(
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        }
    )
    token = (
        "eyJhbGciOiJFUzI1NiJ9"
        ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    )
    claims = signing.verify_with_keys(token, [(key, ["ES256"])], ("ES256",))
    assert claims == {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}


ES_HEADER = {"alg": "ES256", "kid": EC.thumbprint(), "typ": "at+jwt"}
RS_HEADER = {"alg": "RS256", "kid": RSA.thumbprint(), "typ": "at+jwt"}
PUBLIC_PEMS = [key.as_pem(private=False) for key in (EC, RSA)]
HEAD, BODY, SIGNATURE = ACCESS.split(".")

FORGED = {
    "alg none": f"{b64({**ES_HEADER, 'alg': 'none'})}.{b64(CLAIMS)}.",
    "alg None": f"{b64({**ES_HEADER, 'alg': 'None'})}.{b64(CLAIMS)}.",
    "alg none with an old signature": f"{b64({**ES_HEADER, 'alg': 'none'})}.{BODY}.{SIGNATURE}",
    "no alg": f"{b64({'kid': EC.thumbprint(), 'typ': 'at+jwt'})}.{BODY}.{SIGNATURE}",
    "HS256 with the EC key as secret": hmac_signed({**ES_HEADER, "alg": "HS256"}, PUBLIC_PEMS[0]),
    "HS256 with the RSA key as secret": hmac_signed({**RS_HEADER, "alg": "HS256"}, PUBLIC_PEMS[1]),
    "HS256 with the JWK as secret": hmac_signed({**RS_HEADER, "alg": "HS256"}, json.dumps(public_jwk(RSA)).encode()),
    "ES256 said of an HMAC": hmac_signed(ES_HEADER, PUBLIC_PEMS[0]),
    "RS256 said of an HMAC": hmac_signed(RS_HEADER, PUBLIC_PEMS[1]),
    "alg as a list": f"{b64({**ES_HEADER, 'alg': ['ES256']})}.{BODY}.{SIGNATURE}",
    "alg as an object": f"{b64({**ES_HEADER, 'alg': {}})}.{BODY}.{SIGNATURE}",
    "alg in lower case": f"{b64({**ES_HEADER, 'alg': 'es256'})}.{BODY}.{SIGNATURE}",
    "RS256 for the EC key": f"{b64({**ES_HEADER, 'alg': 'RS256'})}.{BODY}.{SIGNATURE}",
    "a stranger's key under our kid": signed(ES_HEADER, STRANGER),
    "a stranger's key in a jwk header": signed({**ES_HEADER, "jwk": public_jwk(STRANGER)}, STRANGER),
    "a jku header": signed({**ES_HEADER, "jku": "https://evil.example/jwks"}, STRANGER),
    "an x5c header": signed({**ES_HEADER, "x5c": ["AAAA"]}, STRANGER),
    "crit with our own signature": signed({**ES_HEADER, "crit": ["typ"]}, EC),
    "crit that is empty": f"{b64({**ES_HEADER, 'crit': []})}.{BODY}.{SIGNATURE}",
    "crit b64": f"{b64({**ES_HEADER, 'crit': ['b64'], 'b64': False})}.{BODY}.{SIGNATURE}",
    "another body": f"{HEAD}.{b64({**CLAIMS, 'sub': 'eve'})}.{SIGNATURE}",
    "no signature": f"{HEAD}.{BODY}.",
    "a zero signature": f"{HEAD}.{BODY}.{b64(bytes(64))}",
    "a signature cut short": f"{HEAD}.{BODY}.{SIGNATURE[:-4]}",
    "five parts": f"{ACCESS}.a.b",
    "two parts": f"{HEAD}.{BODY}",
    "JSON serialization": json.dumps({"protected": HEAD, "payload": BODY, "signature": SIGNATURE}),
    "claims that are a list": signed(ES_HEADER, EC, [1]),
    "claims that are text": signed(ES_HEADER, EC, "x"),
    "too long": SIGNERS["ES256"].sign({"x": "y" * 20_000}, typ="at+jwt"),
    "nothing": "",
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED)
def test_a_forgery_is_nobodys_token(token: str) -> None:
    assert not own(token)
    assert not clients(token)


def test_a_token_verifies_with_the_key_it_names_and_no_other() -> None:
    assert not own(signed({**ES_HEADER, "kid": RSA.thumbprint()}, EC))
    assert not own(signed({"alg": "ES256", "typ": "at+jwt"}, EC))
    assert not own(signed({**ES_HEADER, "kid": "unknown"}, EC))
    assert not own(ACCESS, keys=[])


def test_a_published_key_is_for_one_algorithm() -> None:
    """An RSA key published for RS256 verifies no PS256."""
    assert own(signed(RS_HEADER, RSA))
    assert not own(signed({**RS_HEADER, "alg": "PS256"}, RSA_OF_CLIENT))


def test_of_two_keys_with_one_kid_only_that_of_the_algorithm_counts() -> None:
    doubled = [PublishedKey("ES256", "k", {}, EC), PublishedKey("RS256", "k", {}, RSA)]
    for header, key in ((ES_HEADER, EC), (RS_HEADER, RSA)):
        assert own(signed({**header, "kid": "k"}, key), keys=doubled)
        assert not own(signed({**header, "kid": "k"}, STRANGER) if key is EC else ACCESS, keys=doubled)


def test_an_id_token_is_no_access_token_nor_the_reverse() -> None:
    """RFC 8725 §3.11, RFC 9068 §4."""
    id_token = SIGNERS["ES256"].sign(CLAIMS, typ="JWT")
    assert own(id_token, typ="JWT")
    assert not own(id_token)
    assert not own(ACCESS, typ="JWT")
    assert not own(signed({"alg": "ES256", "kid": EC.thumbprint()}, EC))


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"])
def test_the_type_is_compared_as_a_media_type(typ: str) -> None:
    """RFC 7515 §4.1.9."""
    assert own(signed({**ES_HEADER, "typ": typ}, EC))


def test_a_clients_key_is_used_with_its_own_algorithms() -> None:
    for algorithm in ("RS256", "PS256"):
        token = signed({"alg": algorithm}, RSA_OF_CLIENT)
        assert clients(token)
        assert not clients(token, keys=[(RSA_OF_CLIENT, ["ES256"])])
        assert not clients(token, keys=[])
        assert not clients(token, algorithms=("ES256",))


def test_a_clients_other_keys_are_tried() -> None:
    token = signed({"alg": "ES256"}, STRANGER)
    assert clients(token, keys=[(EC, ["ES256"]), (STRANGER, ["ES256"])])
    assert not clients(token, keys=[(EC, ["ES256"])])


@given(st.text() | st.builds("{}.{}.{}".format, st.text(), st.text(), st.text()))
@example("..")
@example(b64("[]") + ".e30.c2ln")
@example(b64("null") + ".e30.c2ln")
@example(b64('"x"') + ".e30.c2ln")
@example(b64("5") + ".e30.c2ln")
@example(b64("[" * 6000) + ".e30.c2ln")
@example(b64("9" * 6000) + ".e30.c2ln")
@example(b64('{"alg":') + ".e30.c2ln")
@example(b64(b"\xff\xfe") + ".e30.c2ln")
@example("é.é.é")
def test_any_text_is_a_bad_signature(text: str) -> None:
    assert not own(text)
    assert not clients(text)


json_value = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=2)


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "jwk", "b64", "zip", "cty"]), json_value))
def test_any_header_is_a_bad_signature(header: dict[str, Any]) -> None:
    token = f"{b64({**ES_HEADER, **header})}.{BODY}.{SIGNATURE}"
    assert own(token) is (token == ACCESS)
    assert not clients(token) or token == ACCESS


@given(st.integers(0, len(ACCESS) - 1), st.sampled_from("ABab01-_.=é "))
def test_a_changed_character_is_a_bad_signature(position: int, character: str) -> None:
    """Except in the unused bits of the last one, which do not change the signature's bytes."""
    changed = ACCESS[:position] + character + ACCESS[position + 1 :]
    if changed != ACCESS and position < len(ACCESS) - 1:
        assert not own(changed)


def test_the_key_id_is_read() -> None:
    assert signing.key_id_of(ACCESS) == EC.thumbprint()
    assert signing.key_id_of(signed({"alg": "ES256"}, EC)) is None


@pytest.mark.parametrize(
    "token", ["", "a.b", f"{b64({'alg': 'ES256', 'kid': 5})}.e30.x", f"{b64({'kid': ['a']})}.e30.x"]
)
def test_a_key_id_that_is_no_text_is_a_bad_signature(token: str) -> None:
    with pytest.raises(BadSignature):
        signing.key_id_of(token)


def test_private_keys_stay_out_of_the_representation() -> None:
    secret = json.loads(private_bytes(EC))["d"]
    assert secret not in repr(SIGNERS["ES256"])
    assert isinstance(SIGNERS["ES256"], Signer)
