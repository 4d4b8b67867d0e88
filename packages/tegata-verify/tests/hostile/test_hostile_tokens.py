"""Each known attack on tokens, against each issuer, through the whole verifier: refused, and for the right reason."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace

import pytest
from joserfc.jwk import RSAKey

from tegata_verify import Reason

from ..issuers.vendors import NOW, all_vendors, public_key, sign, signing_key  # noqa: TID252 - tests have no absolute name
from .forgery import assemble, b64, refusal, sign_symmetric, unb64

pytestmark = pytest.mark.anyio

each = pytest.mark.parametrize("vendor", all_vendors(), ids=lambda vendor: vendor.name)


def mallory(vendor):
    return signing_key("mallory", vendor.algorithm)


# --- algorithms ---


@each
@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", " none", "", None, ["RS256"], "rs256", "RS1"])
async def test_alg_none_and_unknown_algorithms(vendor, algorithm):
    header = {**vendor.access[0], "alg": algorithm}
    for signature in (b"", b"\x01" * 64):
        token = assemble(header, vendor.access[1], signature)
        assert await refusal(vendor.verifier(), token) == Reason.ALGORITHM_NOT_ALLOWED


@each
@pytest.mark.parametrize("form", ["pem", "der", "jwk", "n"])
async def test_a_symmetric_signature_with_the_public_key_as_its_secret(vendor, form):
    key = signing_key(vendor.access[0]["kid"], vendor.algorithm)
    public = key.as_dict(private=False)
    secret = {
        "pem": key.as_pem(private=False),
        "der": key.as_der(private=False),
        "jwk": json.dumps(public).encode(),
        "n": (public.get("n") or public["x"]).encode(),
    }[form]
    for algorithm in ("HS256", "HS384", "HS512"):
        token = sign_symmetric({**vendor.access[0], "alg": algorithm}, vendor.access[1], secret)
        assert await refusal(vendor.verifier(), token) == Reason.ALGORITHM_NOT_ALLOWED


@each
async def test_an_algorithm_the_key_is_not_for(vendor):
    other = "ES256" if vendor.algorithm == "RS256" else "RS256"
    token = assemble({**vendor.access[0], "alg": other}, vendor.access[1])
    allowed = other in vendor.rules.algorithms
    expected = Reason.WRONG_KEY if allowed else Reason.ALGORITHM_NOT_ALLOWED
    assert await refusal(vendor.verifier(), token) == expected


# --- keys ---


@each
async def test_the_key_of_somebody_else_under_the_right_name(vendor):
    token = sign(vendor.access[0], vendor.access[1], mallory(vendor))
    assert await refusal(vendor.verifier(), token) == Reason.BAD_SIGNATURE


@each
async def test_the_key_of_somebody_else_under_its_own_name(vendor):
    token = sign({**vendor.access[0], "kid": "mallory"}, vendor.access[1], mallory(vendor))
    assert await refusal(vendor.verifier(), token) == Reason.UNKNOWN_KEY


@each
async def test_another_tenant_that_signs_in_this_ones_name(vendor):
    """A swapped kid: the other issuer's key is good, and good for the other issuer only."""
    other = next(
        one
        for one in all_vendors()
        if one.algorithm == vendor.algorithm
        and one.name != vendor.name
        and one.access[0]["kid"] != vendor.access[0]["kid"]
    )
    key = signing_key(other.access[0]["kid"], other.algorithm)
    claimed = {**other.access[1], "iss": vendor.access[1]["iss"]}
    assert (
        await refusal(vendor.verifier(), sign({**vendor.access[0], "kid": other.access[0]["kid"]}, claimed, key))
        == Reason.UNKNOWN_KEY
    )
    assert await refusal(vendor.verifier(), sign(vendor.access[0], claimed, key)) == Reason.BAD_SIGNATURE
    assert await refusal(vendor.verifier(), other.mint()) == Reason.UNKNOWN_ISSUER


@each
@pytest.mark.parametrize("named", [True, False])
async def test_a_key_that_the_token_brings_along(vendor, named):
    jwk = mallory(vendor).as_dict(private=False)
    header = {
        **vendor.access[0],
        "jwk": jwk,
        "x5c": ["MIIB"],
        "jku": "https://mallory.example/keys",
        "x5u": "https://mallory.example/certificates",
    }
    if not named:
        header["kid"] = "mallory"
    vendor.asked.clear()
    reason = await refusal(vendor.verifier(), sign(header, vendor.access[1], mallory(vendor)))
    assert reason == (Reason.BAD_SIGNATURE if named else Reason.UNKNOWN_KEY)
    assert not any("mallory" in url for url in vendor.asked)


@each
@pytest.mark.parametrize(
    "kid", ["../../etc/passwd", "' OR 1=1 --", "https://mallory.example/keys", "\u0000", "a" * 256]
)
async def test_a_name_of_a_key_is_only_compared(vendor, kid):
    token = assemble({**vendor.access[0], "kid": kid}, vendor.access[1])
    assert await refusal(vendor.verifier(), token) == Reason.UNKNOWN_KEY


@each
@pytest.mark.parametrize("kid", ["", "a" * 257, 7, ["x"], {"x": 1}, True])
async def test_a_name_of_a_key_is_a_short_text(vendor, kid):
    token = assemble({**vendor.access[0], "kid": kid}, vendor.access[1])
    assert await refusal(vendor.verifier(), token) == Reason.MALFORMED_TOKEN


@each
@pytest.mark.parametrize(
    "header", [{"crit": ["exp"]}, {"crit": []}, {"b64": False}, {"crit": ["b64"], "b64": False}], ids=str
)
async def test_extensions_that_nobody_here_understands(vendor, header):
    token = assemble({**vendor.access[0], **header}, vendor.access[1])
    assert await refusal(vendor.verifier(), token) == Reason.CRITICAL_HEADER


# --- form ---


def with_segment(token, place, data):
    segments = token.split(".")
    segments[place] = b64(data)
    return ".".join(segments)


@each
@pytest.mark.parametrize("place", [0, 1], ids=["header", "claims"])
async def test_a_member_that_occurs_twice(vendor, place):
    token = vendor.mint()
    text = unb64(token.split(".")[place])
    first = next(iter(json.loads(text)))
    for added in (
        f'{{"{first}":"x",'.encode() + text[1:],
        text[:-1] + f',"{first}":"x"}}'.encode(),
        text[:-1] + b',"nested":{"a":1,"\\u0061":2}}',
    ):
        assert await refusal(vendor.verifier(), with_segment(token, place, added)) == Reason.DUPLICATE_MEMBER


@each
@pytest.mark.parametrize("place", [0, 1], ids=["header", "claims"])
@pytest.mark.parametrize(
    "data",
    [
        b'{"a":' * 1200 + b"1" + b"}" * 1200,
        b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b"[" * 10000,
        b'{"a":NaN}',
        b'{"a":' + b"9" * 5000 + b"}",
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b"null",
        b"[]",
        b"",
        b"{}{}",
    ],
    ids=lambda data: repr(data[:10]),
)
async def test_deep_and_other_broken_json(vendor, place, data):
    assert await refusal(vendor.verifier(), with_segment(vendor.mint(), place, data)) == Reason.MALFORMED_TOKEN


@each
async def test_tokens_beyond_the_limit_are_not_parsed(vendor):
    """Neither form nor signature matter: what is measured is refused, whatever it is."""
    verifier = vendor.verifier()
    for token in (vendor.mint({"padding": "x" * 16384}), "." * 10_000_000, "a" * 16385, "\ud800" * 20000):
        assert await refusal(verifier, token) == Reason.TOKEN_TOO_LARGE
    whole = vendor.mint({"padding": "x" * 4096})
    await verifier.verify(whole)


@each
async def test_other_spellings_of_base64(vendor):
    header, claims, signature = vendor.mint().split(".")
    padded = [segment + "=" * (-len(segment) % 4 or 4) for segment in (header, claims, signature)]
    spellings = [
        f"{padded[0]}.{claims}.{signature}",
        f"{header}.{padded[1]}.{signature}",
        f"{header}.{claims}.{padded[2]}",
        ".".join(padded),
        f"{header}.{claims}.{signature}\n",
        f" {header}.{claims}.{signature}",
        f"{header}\r\n.{claims}.{signature}",
        f"{header}.{claims}.{signature}.",
        f".{header}.{claims}.{signature}",
        f"{header}.{claims}",
        f"{header}.{claims}.+/{signature[2:]}",
        f"{header}.{claims}.{signature[:-2]}é",
        f"{header}．{claims}．{signature}",
    ]
    verifier = vendor.verifier()
    await verifier.verify(vendor.mint())
    for spelled in spellings:
        assert await refusal(verifier, spelled) == Reason.MALFORMED_TOKEN


@each
async def test_a_signature_that_is_missing_or_of_another_length(vendor):
    header, claims, signature = vendor.mint().split(".")
    good = unb64(signature)
    for other in (b"", good[:-1], good + b"\x00", b"\x00" * len(good), b"\xff" * len(good), good[::-1]):
        assert await refusal(vendor.verifier(), f"{header}.{claims}.{b64(other)}") == Reason.BAD_SIGNATURE


@each
async def test_encrypted_tokens_are_not_unpacked(vendor):
    """A JWE may be compressed a thousandfold; there is nothing here that would inflate one."""
    bomb = zlib.compress(b"a" * 5_000_000)
    header = {"alg": "RSA-OAEP", "enc": "A256GCM", "zip": "DEF", "kid": vendor.access[0]["kid"]}
    parts = [b64(header), b64(b"\x01" * 256), b64(b"\x01" * 12), b64(bomb), b64(b"\x01" * 16)]
    assert await refusal(vendor.verifier(), ".".join(parts)) == Reason.MALFORMED_TOKEN
    assert (
        await refusal(vendor.verifier(), ".".join([b64({**header, "alg": "dir"}), "", *parts[2:]]))
        == Reason.MALFORMED_TOKEN
    )


@each
async def test_a_compressed_payload_of_a_signed_token_is_no_json(vendor):
    key = signing_key(vendor.access[0]["kid"], vendor.algorithm)
    whole = sign({**vendor.access[0], "zip": "DEF"}, vendor.access[1], key)
    packed = with_segment(whole, 1, zlib.compress(b'{"a":"' + b"a" * 1_000_000 + b'"}'))
    assert await refusal(vendor.verifier(), packed) == Reason.MALFORMED_TOKEN


# --- claims ---


@each
async def test_expiry_to_the_second(vendor):
    expires = vendor.access[1]["exp"] + vendor.rules.leeway_seconds
    token = vendor.mint()
    await vendor.verifier(now=expires - 1).verify(token)
    for now in (expires, expires + 1):
        assert await refusal(vendor.verifier(now=now), token) == Reason.EXPIRED


@each
@pytest.mark.parametrize(("claim", "reason"), [("nbf", Reason.NOT_YET_VALID), ("iat", Reason.ISSUED_IN_FUTURE)])
async def test_the_beginning_to_the_second(vendor, claim, reason):
    leeway = vendor.rules.leeway_seconds
    await vendor.verifier().verify(vendor.mint({claim: NOW + leeway}))
    assert await refusal(vendor.verifier(), vendor.mint({claim: NOW + leeway + 1})) == reason


@each
@pytest.mark.parametrize("value", ["9999999999", True, [], {}, 10**400], ids=lambda value: str(value)[:12])
async def test_an_expiry_that_is_no_number(vendor, value):
    assert await refusal(vendor.verifier(), vendor.mint({"exp": value})) == Reason.MALFORMED_CLAIM


def confusables(issuer):
    scheme, _, rest = issuer.partition("://")
    return [
        issuer.replace("o", "\u043e"),  # Cyrillic o
        issuer.replace(".", "\u3002"),
        issuer.replace(".", "\uff0e"),
        issuer.replace("/", "\u2044"),
        issuer.replace("e", "e\u0301", 1),
        issuer + "\u200b",
        "\ufeff" + issuer,
        issuer + "\u0000",
        scheme.upper() + "://" + rest,
        "http://" + rest,
        issuer.removesuffix("/") if issuer.endswith("/") else issuer + "/",
        issuer + "?x",
        issuer + "#x",
        issuer + "@mallory.example",
        "https://mallory.example/" + issuer,
        issuer.replace("://", "://user@"),
        issuer.replace("://" + rest.split("/")[0], "://" + rest.split("/")[0].upper()),
        issuer.replace("https://", "https:\\\\"),
    ]


@each
async def test_issuers_that_look_the_same(vendor):
    verifier = vendor.verifier()
    vendor.asked.clear()
    for lookalike in confusables(vendor.access[1]["iss"]):
        assert lookalike != vendor.access[1]["iss"]
        assert await refusal(verifier, vendor.mint({"iss": lookalike})) == Reason.UNKNOWN_ISSUER, lookalike
    for other in (None, 7, [vendor.access[1]["iss"]], {"a": 1}, True, ""):
        assert await refusal(verifier, vendor.mint({"iss": other})) == Reason.UNKNOWN_ISSUER
    assert vendor.asked == []  # nothing is fetched for them


@each
async def test_an_id_token_in_place_of_an_access_token(vendor):
    marked = vendor.rules.token_types == {"at+jwt"}
    for token in (vendor.mint_id_token(), vendor.mint_id_token({"token_use": "id", "typ": "ID"})):
        reason = await refusal(vendor.verifier(), token)
        assert reason == (Reason.WRONG_TYPE if marked else Reason.WRONG_TOKEN_USE)


@each
@pytest.mark.parametrize("typ", ["dpop+jwt", "logout+jwt", "secevent+jwt", "token-introspection+jwt", "JWS", 7])
async def test_a_jwt_made_for_another_purpose(vendor, typ):
    """RFC 8725 §3.12: a logout token or a proof, signed by the right key. Cognito marks no token by its header."""
    if vendor.rules.token_types:
        token = assemble({**vendor.access[0], "typ": typ}, vendor.access[1])
        assert await refusal(vendor.verifier(), token) == Reason.WRONG_TYPE
    else:
        claims = {"token_use": "logout", "nonce": "n"}
        assert await refusal(vendor.verifier(), vendor.mint(claims)) == Reason.WRONG_TOKEN_USE


@each
async def test_a_wrong_client(vendor):
    verifier = vendor.verifier(replace(vendor.rules, client_ids=["another"]))
    assert await refusal(verifier, vendor.mint()) == Reason.WRONG_CLIENT


def test_the_weakest_link_of_the_suite_is_a_real_key():
    """The signatures above fail for their content: the key that signs them is good."""
    assert isinstance(signing_key("mallory"), RSAKey)
    assert public_key("mallory")["n"] != public_key("1234example=")["n"]
