"""Tokens by an attacker's hand, through the whole chain: each is refused, nobody is told why, and the log is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from chain import FRONT, STRANGER, Chain
from chain.pool import parse_claims, sign
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc.jwk import RSAKey

from tegata_verify.keys import CachePolicy
from tegata_verify.testing import TestAlb

Header = dict[str, Any]
MALLORY = RSAKey.generate_key(2048, {"kid": "mallory"})
LEEWAY_SECONDS = 30
BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""What may stand behind the word Bearer (RFC 6750 §2.1)."""

SAYINGS = {"expired": "The access token expired"}
SAID = "The access token is not valid for this service"


def b64(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def good(chain: Chain, claims: Header | None = None, header: Header | None = None) -> str:
    """A token that the pool has signed, whatever it says."""
    return chain.pool.sign({**parse_claims(chain.user.access), **(claims or {})}, header)


def edited(chain: Chain, header: Header, signature: str | None = None) -> str:
    """A good token under another header; without `signature`, with the old one."""
    first, claims, last = good(chain).split(".")
    return f"{b64({**json.loads(unb64(first)), **header})}.{claims}.{last if signature is None else signature}"


def replaced(token: str, place: int, data: bytes) -> str:
    segments = token.split(".")
    segments[place] = b64(data)
    return ".".join(segments)


def public_key(chain: Chain) -> RSAKey:
    published = chain.pool.read(chain.pool.keys_path)
    assert published is not None
    return RSAKey.import_key(published["keys"][-1])


def symmetric(chain: Chain, secret: bytes) -> str:
    signed = edited(chain, {"alg": "HS256"}).rpartition(".")[0]
    return f"{signed}.{b64(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def by_mallory(chain: Chain, header: Header | None = None) -> str:
    """Signed by a key of the attacker's, under the name of the pool's."""
    name = json.loads(unb64(good(chain).split(".")[0]))["kid"]
    return sign({"alg": "RS256", "kid": name, **(header or {})}, parse_claims(chain.user.access), MALLORY)


def encrypted(chain: Chain) -> str:
    bomb = zlib.compress(b"a" * 5_000_000)
    header = {"alg": "RSA-OAEP", "enc": "A256GCM", "zip": "DEF", "kid": "mallory"}
    return ".".join([b64(header), b64(b"\x01" * 256), b64(b"\x01" * 12), b64(bomb), b64(b"\x01" * 16)])


def issuer(change: Callable[[str], str]) -> Callable[[Chain], str]:
    return lambda chain: good(chain, {"iss": change(chain.pool.issuer)})


ACCESS: dict[str, tuple[Callable[[Chain], str], str]] = {
    "no signature": (lambda chain: edited(chain, {"alg": "none"}, ""), "algorithm_not_allowed"),
    "no signature, in capitals": (lambda chain: edited(chain, {"alg": "NONE"}, ""), "algorithm_not_allowed"),
    "an algorithm that is a list": (lambda chain: edited(chain, {"alg": ["RS256"]}), "algorithm_not_allowed"),
    "the public key as a secret, PEM": (
        lambda chain: symmetric(chain, public_key(chain).as_pem(private=False)),
        "algorithm_not_allowed",
    ),
    "the public key as a secret, JWK": (
        lambda chain: symmetric(chain, json.dumps(public_key(chain).as_dict(private=False)).encode()),
        "algorithm_not_allowed",
    ),
    "another key under the right name": (by_mallory, "bad_signature"),
    "another key under its own name": (lambda chain: by_mallory(chain, {"kid": "mallory"}), "unknown_key"),
    "the name of the pool's other key": (lambda chain: edited(chain, {"kid": "dummy"}), "bad_signature"),
    "a key that the token brings along": (
        lambda chain: by_mallory(chain, {"jwk": MALLORY.as_dict(private=False)}),
        "bad_signature",
    ),
    "addresses of keys": (
        lambda chain: edited(chain, {"jku": f"{chain.documents.url}/mallory", "x5u": f"{chain.documents.url}/mallory"}),
        "bad_signature",
    ),
    "a path as the key's name": (lambda chain: edited(chain, {"kid": "../../mallory"}), "unknown_key"),
    "a number as the key's name": (lambda chain: edited(chain, {"kid": 7}), "malformed_token"),
    "no key's name": (lambda chain: edited(chain, {"kid": ""}), "malformed_token"),
    "an extension": (lambda chain: edited(chain, {"crit": ["exp"]}), "critical_header"),
    "an unencoded payload": (lambda chain: edited(chain, {"b64": False}), "critical_header"),
    "a claim twice": (
        lambda chain: replaced(good(chain), 1, b'{"sub":"admin",' + unb64(good(chain).split(".")[1])[1:]),
        "duplicate_member",
    ),
    "a header's member twice": (
        lambda chain: replaced(good(chain), 0, b'{"alg":"none",' + unb64(good(chain).split(".")[0])[1:]),
        "duplicate_member",
    ),
    "deep JSON": (lambda chain: replaced(good(chain), 1, b'{"a":' * 1500 + b"1" + b"}" * 1500), "malformed_token"),
    "no JSON": (lambda chain: replaced(good(chain), 1, b"\xff\xfe{}"), "malformed_token"),
    "not a number": (lambda chain: replaced(good(chain), 1, b'{"exp":NaN}'), "malformed_token"),
    "17 kilobytes": (lambda chain: good(chain, {"padding": "x" * 13_000}), "token_too_large"),
    "padding": (lambda chain: ".".join(part + "==" for part in good(chain).split(".")), "malformed_token"),
    "one segment more": (lambda chain: good(chain) + ".", "malformed_token"),
    "one segment less": (lambda chain: good(chain).rpartition(".")[0], "malformed_token"),
    "full-width stops": (lambda chain: good(chain).replace(".", "．"), "malformed_token"),
    "a signature of nothing": (lambda chain: good(chain).rpartition(".")[0] + ".", "bad_signature"),
    "a signature of zeros": (lambda chain: good(chain).rpartition(".")[0] + "." + b64(b"\0" * 256), "bad_signature"),
    "an encrypted token with a bomb": (encrypted, "malformed_token"),
    "an ID token": (lambda chain: chain.user.id_token, "wrong_token_use"),
    "another use": (lambda chain: good(chain, {"token_use": "refresh"}), "wrong_token_use"),
    "another client": (lambda chain: good(chain, {"client_id": "stranger"}), "wrong_client"),
    "clients in a list": (
        lambda chain: good(chain, {"client_id": ["stranger", chain.pool.client_id]}),
        "malformed_claim",
    ),
    "another pool of the same region": (issuer(lambda name: name[:-1] + "0~"), "unknown_issuer"),
    "an issuer without TLS": (issuer(lambda name: name.replace("https", "http")), "unknown_issuer"),
    "an issuer with a Cyrillic o": (issuer(lambda name: name.replace("o", "\u043e")), "unknown_issuer"),
    "an issuer in capitals": (issuer(str.upper), "unknown_issuer"),
    "an issuer and a slash": (issuer(lambda name: name + "/"), "unknown_issuer"),
    "an issuer with a zero-width space": (issuer(lambda name: name + "\u200b"), "unknown_issuer"),
    "an issuer as somebody's path": (issuer(lambda name: f"https://mallory.example/{name}"), "unknown_issuer"),
    "issuers in a list": (lambda chain: good(chain, {"iss": [chain.pool.issuer]}), "unknown_issuer"),
    "expired a second beyond the leeway": (
        lambda chain: good(chain, {"exp": int(time.time()) - LEEWAY_SECONDS - 1}),
        "expired",
    ),
    "not good yet": (lambda chain: good(chain, {"nbf": int(time.time()) + 600}), "not_yet_valid"),
    "issued tomorrow": (lambda chain: good(chain, {"iat": int(time.time()) + 86400}), "issued_in_future"),
    "an expiry that is a text": (lambda chain: good(chain, {"exp": "9999999999"}), "malformed_claim"),
    "bound to a key of somebody's": (lambda chain: good(chain, {"cnf": {"jkt": "x" * 43}}), "wrong_scheme"),
    "bound to a certificate": (lambda chain: good(chain, {"cnf": {"x5t#S256": "x" * 43}}), "wrong_certificate"),
    "bound to what nobody knows": (lambda chain: good(chain, {"cnf": {"kid": "x"}}), "unknown_binding"),
}


def forged_data(chain: Chain) -> str:
    """Signed by another key under the load balancer's name of its own."""
    other = TestAlb(chain.alb.issuer, client_id=chain.pool.client_id, arn=chain.alb.arn)
    other.kid = chain.alb.kid
    return other.mint_data(subject=chain.user.subject)


def data(header: Header | None = None, claims: Header | None = None, **more: Any) -> Callable[[Chain], str]:
    """What the load balancer has signed, whatever it says."""
    return lambda chain: chain.alb.mint_data(
        **{"subject": chain.user.subject, "header": header, "claims": claims, **more}
    )


def signer(change: Callable[[str], Any]) -> Callable[[Chain], str]:
    return lambda chain: chain.alb.mint_data(subject=chain.user.subject, header={"signer": change(chain.alb.arn)})


def unpadded(chain: Chain) -> str:
    # Of some length that has padding at all.
    for letters in range(1, 4):
        text = chain.alb.mint_data(subject=chain.user.subject, header={"x": "x" * letters})
        if "=" in text.split(".")[0]:
            return text.replace("=", "")
    raise AssertionError("one of three lengths must have padding")


DATA: dict[str, tuple[Callable[[Chain], str], str]] = {
    "another signer": (signer(lambda arn: arn.replace("front", "other")), "wrong_signer"),
    "the signer of another account": (signer(lambda arn: arn.replace("1111", "9999")), "wrong_signer"),
    "signers in a list": (signer(lambda arn: [arn]), "wrong_signer"),
    "no signer": (signer(lambda arn: None), "wrong_signer"),
    "a path as the key's name": (data({"kid": "../../latest/meta-data"}), "malformed_token"),
    "a UUID and more": (lambda chain: data({"kid": chain.alb.kid + "\n"})(chain), "malformed_token"),
    "a UUID in capitals": (lambda chain: data({"kid": chain.alb.kid.upper()})(chain), "malformed_token"),
    "a UUID that nobody has": (data({"kid": "00000000-0000-4000-8000-000000000000"}), "unknown_key"),
    "another key under the right name": (forged_data, "bad_signature"),
    "no signature": (data({"alg": "none"}), "algorithm_not_allowed"),
    "a symmetric signature": (data({"alg": "HS256"}), "algorithm_not_allowed"),
    "an extension": (data({"crit": ["exp"]}), "critical_header"),
    "another client": (data({"client": "stranger"}), "wrong_client"),
    "another issuer": (data({"iss": "https://mallory.example"}), "unknown_issuer"),
    "another issuer among the claims": (data(claims={"iss": "https://mallory.example"}), "unknown_issuer"),
    "expired": (data(lifetime_seconds=-LEEWAY_SECONDS - 1), "expired"),
    "another user": (data(subject="somebody-else"), "wrong_subject"),
    "no user": (data(claims={"sub": None}), "missing_claim"),
    "no padding": (unpadded, "malformed_token"),
    "a claim changed": (
        lambda chain: replaced(data()(chain), 1, b'{"sub":"admin"}').replace("fQ.", "fQ==."),
        "bad_signature",
    ),
    "17 kilobytes": (lambda chain: "a" * 17_000, "token_too_large"),
    "an access token": (lambda chain: chain.user.access, "malformed_token"),
    "nothing": (lambda chain: "", "malformed_token"),
    "letters": (lambda chain: "é．é．é", "malformed_token"),
}


@pytest.fixture(scope="module")
def ways(chain: Chain) -> Iterator[dict[str, httpx2.Client]]:
    """A connection that the front load balancer would have, and one of a stranger."""
    with chain.open(FRONT) as front, chain.open(STRANGER) as stranger:
        yield {FRONT: front, STRANGER: stranger}


def ask(client: httpx2.Client, headers: list[tuple[str, str]]) -> httpx2.Response:
    return client.get("/me", headers=[(name.encode(), value.encode()) for name, value in headers])


def check_refusal(chain: Chain, answer: httpx2.Response, reason: str, before: int) -> None:
    """But for expiry, the answer is the same whatever the reason; the reason stands in the log."""
    said = SAYINGS.get(reason, SAID)
    assert (answer.status_code, answer.json()) == (401, {"error": "invalid_token", "error_description": said})
    challenge = f'Bearer realm="plan-b", error="invalid_token", error_description="{said}"'
    assert answer.headers["www-authenticate"] == challenge
    assert read_reasons(chain, before) == [reason]


def read_reasons(chain: Chain, before: int) -> list[str]:
    return re.findall("request refused: (.*)", chain.application_log.read_bytes()[before:].decode())


def size_of_log(chain: Chain) -> int:
    return chain.application_log.stat().st_size


@pytest.mark.parametrize("case", ACCESS)
def test_an_access_token_is_refused_in_either_header(chain: Chain, ways, case: str) -> None:
    make, reason = ACCESS[case]
    token = make(chain)
    before = size_of_log(chain)
    check_refusal(chain, ask(ways[FRONT], chain.headers(access=token)), reason, before)
    before = size_of_log(chain)
    answer = ask(ways[STRANGER], [("authorization", f"Bearer {token}")])
    if BEARER.fullmatch(token):
        check_refusal(chain, answer, reason, before)
    else:
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
        assert read_reasons(chain, before) == ["malformed_authorization"]


@pytest.mark.parametrize("case", DATA)
def test_what_is_said_of_a_user_is_refused(chain: Chain, ways, case: str) -> None:
    make, reason = DATA[case]
    before = size_of_log(chain)
    check_refusal(chain, ask(ways[FRONT], chain.headers(data=make(chain))), reason, before)


def test_the_tokens_that_are_changed_above_are_good(chain: Chain, ways) -> None:
    """So it is the change that is refused."""
    # Each is made when it is asked with: the last has expired a moment ago, and is taken for the leeway.
    for make in (lambda: chain.user.access, lambda: good(chain), lambda: good(chain, {"exp": int(time.time()) - 1})):
        assert ask(ways[FRONT], chain.headers(access=make())).status_code == 200
        assert ask(ways[STRANGER], [("authorization", f"Bearer {make()}")]).status_code == 200
    assert ask(ways[FRONT], chain.headers(data=data()(chain))).status_code == 200


def test_nothing_is_fetched_but_keys_from_where_they_are(chain: Chain) -> None:
    """Whatever addresses and names tokens carry; after the tests above, or for itself."""
    uuid = "/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    for path in chain.documents.fetches:
        assert path == chain.pool.keys_path or re.fullmatch(uuid, path)
    # The two applications ask for keys when they begin, and again for names that they do not know: rarely.
    pauses = (time.monotonic() - chain.since) / CachePolicy().unknown_kid
    assert sum(chain.documents.fetches.values()) <= 8 + 2 * pauses


# Without control characters and spaces: a client library would not send them everywhere.
LETTERS = [chr(number) for number in range(0x21, 0x100) if number != 0x7F]

# A busy machine must not fail these: no deadline, no complaint about slow generation.
relaxed = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@given(place=st.integers(0, 5000), letter=st.sampled_from(LETTERS))
@relaxed
def test_no_letter_can_be_changed(chain: Chain, ways, place: int, letter: str) -> None:
    headers = chain.headers()
    for at, (name, value) in enumerate(headers):
        spot = place % len(value)
        # The last letter of a segment holds bits that mean nothing, but they must be zero; space ends a header's value.
        changed = value[:spot] + letter + value[spot + 1 :]
        if changed.strip(" \t") != value:
            sent = [item if other != at else (name, changed) for other, item in enumerate(headers)]
            answer = ways[FRONT].get("/me", headers=[(n.encode(), v.encode("latin-1")) for n, v in sent])
            assert answer.status_code in (400, 401)
