"""`x-amzn-oidc-data`: what is accepted, and that everything else is refused with its reason, mostly without a fetch."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from tegata_verify import Reason, TokenError
from tegata_verify.alb_tokens import decode_padded

from .conftest import ARN, CLIENT, ISSUER, KID, OTHER_ARN, padded, segment

pytestmark = pytest.mark.anyio

CONFUSABLE_ISSUER = ISSUER.replace("cognito", "\N{CYRILLIC SMALL LETTER ES}ognito")


async def refused(alb, data: str | bytes) -> Reason:
    with pytest.raises(TokenError) as caught:
        await alb.verify(data)
    return caught.value.reason


async def test_a_token_as_the_load_balancer_writes_it_is_accepted(alb, balancer, publish, server):
    publish(balancer.pem)
    identity = await alb().verify(balancer.sign())
    assert (identity.subject, identity.client_id, identity.signer) == ("user-1", CLIENT, ARN)
    assert identity.claims["name"] == "Zoë +/=-_ ~"
    assert server.requests.total() == 1


@pytest.mark.parametrize("length", range(6), ids=lambda length: f"a name of {length} letters")
async def test_it_is_accepted_with_any_amount_of_padding(alb, balancer, publish, length):
    publish(balancer.pem)
    identity = await alb().verify(balancer.sign(balancer.header(x="y" * length), balancer.claims(name="n" * length)))
    assert identity.claims["name"] == "n" * length


async def test_a_token_signed_by_another_library_is_accepted(alb, balancer, publish):
    publish(balancer.pem)
    text = f"{segment(balancer.header())}.{segment(balancer.claims())}"
    signature = jwt.get_algorithm_by_name("ES256").sign(text.encode(), balancer.key)
    assert (await alb().verify(f"{text}.{padded(signature)}")).subject == "user-1"


async def test_claims_cannot_be_changed_and_are_not_shown(alb, balancer, publish):
    publish(balancer.pem)
    identity = await alb().verify(balancer.sign(claims=balancer.claims(address={"city": ["Ghent"]})))
    with pytest.raises(TypeError):
        identity.claims["sub"] = "somebody else"
    assert identity.claims["address"]["city"] == ("Ghent",)
    assert "Zoë" not in repr(identity)


async def test_userinfo_of_another_provider_needs_no_iss_nor_exp(alb, balancer, publish):
    publish(balancer.pem)
    assert (await alb().verify(balancer.sign(claims={"sub": "user-1"}))).subject == "user-1"


HEADERS = {
    "another load balancer of another account": ({"signer": OTHER_ARN}, Reason.WRONG_SIGNER),
    "no signer": ({"signer": ...}, Reason.WRONG_SIGNER),
    "a list of signers": ({"signer": [ARN]}, Reason.WRONG_SIGNER),
    "a signer in capitals": ({"signer": ARN.upper()}, Reason.WRONG_SIGNER),
    "a signer that begins like ours": ({"signer": ARN + "0"}, Reason.WRONG_SIGNER),
    "another client": ({"client": "stranger"}, Reason.WRONG_CLIENT),
    "no client": ({"client": ...}, Reason.WRONG_CLIENT),
    "another pool": ({"iss": ISSUER + "x"}, Reason.UNKNOWN_ISSUER),
    "an issuer that looks like ours": ({"iss": CONFUSABLE_ISSUER}, Reason.UNKNOWN_ISSUER),
    "no issuer": ({"iss": ...}, Reason.UNKNOWN_ISSUER),
    "no algorithm": ({"alg": "none"}, Reason.ALGORITHM_NOT_ALLOWED),
    "an algorithm of one shared secret": ({"alg": "HS256"}, Reason.ALGORITHM_NOT_ALLOWED),
    "another curve": ({"alg": "ES384"}, Reason.ALGORITHM_NOT_ALLOWED),
    "RSA": ({"alg": "RS256"}, Reason.ALGORITHM_NOT_ALLOWED),
    "the algorithm in small letters": ({"alg": "es256"}, Reason.ALGORITHM_NOT_ALLOWED),
    "a critical extension": ({"crit": ["exp"]}, Reason.CRITICAL_HEADER),
}


@pytest.mark.parametrize(("changes", "reason"), HEADERS.values(), ids=HEADERS)
async def test_a_wrong_header_is_refused_without_a_fetch(alb, balancer, publish, server, changes, reason):
    publish(balancer.pem)
    assert await refused(alb(), balancer.sign(balancer.header(**changes))) == reason
    assert server.requests.total() == 0


KIDS = {
    "a way out of the folder": "../" * 3 + KID,
    "a way out after a good beginning": f"{KID}/../../secret",
    "a query": f"{KID}?x",
    "a fragment": f"{KID}#x",
    "a line end": f"{KID}\n",
    "capitals": KID.upper(),
    "braces": f"{{{KID}}}",
    "no hyphens": KID.replace("-", ""),
    "digits of another script": KID.replace("1", "\N{ARABIC-INDIC DIGIT ONE}"),
    "percent signs": "%2e%2e%2f" + KID[9:],
    "another host": f"@example.com/{KID}",
    "a placeholder": "{region}",
    "nothing": "",
    "null": None,
    "a number": 7,
    "a list": [KID],
    "absent": ...,
}


@pytest.mark.parametrize("kid", KIDS.values(), ids=KIDS)
async def test_a_key_name_that_is_no_uuid_is_refused_without_a_fetch(alb, balancer, server, kid):
    assert await refused(alb(), balancer.sign(balancer.header(kid=kid))) == Reason.MALFORMED_TOKEN
    assert server.requests.total() == 0


def unpadded(token: str) -> str:
    return ".".join(part.rstrip("=") for part in token.split("."))


def spelled_otherwise(token: str) -> str:
    """Set bits at the end of the header that decode to nothing."""
    header, rest = token.split(".", 1)
    assert header.endswith("==")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return f"{header[:-3]}{alphabet[alphabet.index(header[-3]) + 1]}==.{rest}"


TEXTS = {
    "without padding": unpadded,
    "with more padding": lambda token: token + "=",
    "with padding after the payload": lambda token: token.replace(".", "====.", 2),
    "in another spelling of the same bytes": spelled_otherwise,
    "in the other alphabet": lambda token: token.replace("-", "+").replace("_", "/"),
    "with four segments": lambda token: token + ".e30=",
    "with two segments": lambda token: token.rsplit(".", 1)[0],
    "with five segments, as an encrypted one": lambda token: token + ".e30=.e30=",
    "twice, as a server joins two headers": lambda token: f"{token},{token}",
    "with a line end": lambda token: token + "\n",
    "with a space in front": lambda token: " " + token,
    "with a letter outside ASCII": lambda token: token.replace("e", "\N{LATIN SMALL LETTER E WITH ACUTE}", 1),
    "empty": lambda _: "",
    "of dots": lambda _: "..",
}


@pytest.mark.parametrize("change", TEXTS.values(), ids=TEXTS)
async def test_a_token_written_otherwise_is_refused_without_a_fetch(alb, balancer, publish, server, change):
    publish(balancer.pem)
    # Of such a length that the header ends with two equals signs, and such a text that the other alphabet differs.
    header = next(h for n in range(3) if segment(h := balancer.header(x="~?" + "x" * n)).endswith("=="))
    token = balancer.sign(header, balancer.claims(name="???>>>~~~"))
    assert await refused(alb(), change(token)) == Reason.MALFORMED_TOKEN
    assert server.requests.total() == 0


CONTENTS = {
    "a header that is a list": (b"[]", None, Reason.MALFORMED_TOKEN),
    "a header that is no JSON": (b"{", None, Reason.MALFORMED_TOKEN),
    "a header in UTF-16": ('{"alg":"ES256"}'.encode("utf-16"), None, Reason.MALFORMED_TOKEN),
    "a header nested deeply": (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", None, Reason.MALFORMED_TOKEN),
    "a header with two signers": (b'{"signer":"a","signer":"b"}', None, Reason.DUPLICATE_MEMBER),
    "claims with two subjects": (None, b'{"sub":"user-1","sub":"admin"}', Reason.DUPLICATE_MEMBER),
    "claims that are text": (None, b'"user-1"', Reason.MALFORMED_TOKEN),
    "claims nested deeply": (None, b'{"sub":' + b"[" * 5000 + b"]" * 5000 + b"}", Reason.MALFORMED_TOKEN),
    "no claims": (None, b"", Reason.MALFORMED_TOKEN),
}


@pytest.mark.parametrize(("header", "claims", "reason"), CONTENTS.values(), ids=CONTENTS)
async def test_content_that_is_no_plain_object_is_refused(alb, balancer, publish, header, claims, reason):
    publish(balancer.pem)
    assert await refused(alb(), balancer.sign(header, claims)) == reason


CLAIMS = {
    "no user": ({"sub": ...}, Reason.MISSING_CLAIM),
    "a user without a name": ({"sub": ""}, Reason.MISSING_CLAIM),
    "a user that is a number": ({"sub": 7}, Reason.MISSING_CLAIM),
    "claims of another pool": ({"iss": ISSUER + "x"}, Reason.UNKNOWN_ISSUER),
    "claims of no pool": ({"iss": None}, Reason.UNKNOWN_ISSUER),
    "a lifetime that is text": ({"exp": "4102444800"}, Reason.MALFORMED_CLAIM),
    "claims that have expired": ({"exp": 1}, Reason.EXPIRED),
    "claims for later": ({"nbf": 4_102_444_800}, Reason.NOT_YET_VALID),
}


@pytest.mark.parametrize(("changes", "reason"), CLAIMS.values(), ids=CLAIMS)
async def test_wrong_claims_are_refused_although_they_are_signed(alb, balancer, publish, changes, reason):
    publish(balancer.pem)
    assert await refused(alb(), balancer.sign(claims=balancer.claims(**changes))) == reason


@pytest.mark.parametrize("where", ["header", "claims"])
@pytest.mark.parametrize(("seconds", "good"), [(29, True), (30, False), (31, False)])
async def test_it_expires_to_the_second(alb, balancer, publish, clock, where, seconds, good):
    publish(balancer.pem)
    expired = {"exp": int(clock.now) - seconds}
    token = balancer.sign(
        balancer.header(**(expired if where == "header" else {})),
        balancer.claims(**(expired if where == "claims" else {})),
    )
    if good:
        assert (await alb().verify(token)).subject == "user-1"
    else:
        assert await refused(alb(), token) == Reason.EXPIRED


@pytest.mark.parametrize(
    ("expiry", "reason"),
    [
        (..., Reason.MISSING_CLAIM),
        (None, Reason.MISSING_CLAIM),
        ("soon", Reason.MALFORMED_CLAIM),
        (True, Reason.MALFORMED_CLAIM),
    ],
    ids=["absent", "null", "text", "true"],
)
async def test_it_must_say_when_it_expires(alb, balancer, publish, expiry, reason):
    publish(balancer.pem)
    assert await refused(alb(), balancer.sign(balancer.header(exp=expiry))) == reason


@pytest.mark.parametrize("size", [16 * 1024 + 1, 1_000_000])
async def test_a_huge_token_is_refused_before_it_is_read(alb, server, size):
    assert await refused(alb(), "!" * size) == Reason.TOKEN_TOO_LARGE
    assert server.requests.total() == 0


async def test_the_cap_can_be_lowered(alb, rules, balancer):
    assert await refused(alb(replace(rules, max_header_bytes=100)), balancer.sign()) == Reason.TOKEN_TOO_LARGE


def with_signature(token: str, signature: bytes) -> str:
    return f"{token.rsplit('.', 1)[0]}.{padded(signature)}"


ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SIGNATURES = {
    "zeros": bytes(64),
    "r is zero": bytes(32) + b"\x01" * 32,
    "s is the order of the curve": b"\x01" * 32 + ORDER.to_bytes(32),
    "beyond the order": b"\xff" * 64,
    "nothing": b"",
    "half": b"\x01" * 32,
    "one byte more": b"\x01" * 65,
    "DER": bytes.fromhex("3006020101020101"),
}


@pytest.mark.parametrize("signature", SIGNATURES.values(), ids=SIGNATURES)
async def test_a_signature_that_is_none_is_refused(alb, balancer, publish, signature):
    publish(balancer.pem)
    assert await refused(alb(), with_signature(balancer.sign(), signature)) == Reason.BAD_SIGNATURE


async def test_a_signature_by_another_key_or_for_another_text_is_refused(alb, balancer, publish):
    publish(balancer.pem)
    assert await refused(alb(), balancer.sign(key=generate_private_key(SECP256R1()))) == Reason.BAD_SIGNATURE
    header, _, signature = balancer.sign().split(".")
    assert await refused(alb(), f"{header}.{segment(balancer.claims(sub='admin'))}.{signature}") == Reason.BAD_SIGNATURE


async def test_a_signature_over_the_text_without_padding_is_refused(alb, balancer, publish):
    publish(balancer.pem)
    token = balancer.sign()
    text = unpadded(token.rsplit(".", 1)[0])
    assert text != token.rsplit(".", 1)[0]
    forged = f"{token.rsplit('.', 1)[0]}.{balancer.signature(text)}"
    assert await refused(alb(), forged) == Reason.BAD_SIGNATURE


async def test_keys_inside_the_header_are_not_used(alb, balancer, publish, server):
    publish(balancer.pem)
    mine = generate_private_key(SECP256R1())
    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(mine.public_key()))
    header = balancer.header(jwk=jwk, jku=f"{server.base}/keys", x5u=f"{server.base}/x5u")
    assert await refused(alb(), balancer.sign(header, key=mine)) == Reason.BAD_SIGNATURE
    assert set(server.requests) == {f"/eu-central-1/{KID}"}


@pytest.mark.parametrize(
    "segment_text", [b"YQ", b"YQ=", b"YR==", b"YWI", b"YWJ=", b"YQ==YQ==", b"=YQ=", b"Y Q==", b"YQ==\n"]
)
def test_only_one_spelling_of_a_segment_is_decoded(segment_text):
    with pytest.raises(ValueError, match=r"base64|canonical|[Pp]adding|data"):
        decode_padded(segment_text)


def test_each_byte_string_has_its_spelling():
    for length in range(7):
        data = bytes(range(250, 250 + min(length, 5))) + bytes(max(0, length - 5))
        assert decode_padded(base64.urlsafe_b64encode(data)) == data
