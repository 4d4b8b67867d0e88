"""Every front end gives the same answers, to the letter: status, challenge, other headers and body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tegata_verify import DpopNonces, DpopPolicy, Guard, ProtectedResource, SyncGuard
from tegata_verify.testing import TestDpopKey, TestIssuer

from .front_ends import FRONT_ENDS, HOST

NOW = 1_700_000_000.0
ISSUER = TestIssuer(clock=lambda: NOW)
SILENT = TestIssuer("https://silent.test", clock=lambda: NOW)
SILENT.reachable = False
KEY = TestDpopKey(clock=lambda: NOW)
NONCES = DpopNonces([b"not a secret, thirty-two bytes!!"])
NONCE = NONCES.make(NOW)

BEARER, PROOF = 'Bearer realm="beer"', 'DPoP realm="beer"'
ALGS = ', algs="ES256 Ed25519 EdDSA PS256 RS256"'
WHERE = f', resource_metadata="{HOST}/.well-known/oauth-protected-resource"'


def says(error: str, text: str, more: str = "") -> str:
    return f', error="{error}", error_description="{text}"{more}'


EXPIRED = says("invalid_token", "The access token expired")
INVALID = says("invalid_token", "The access token is not valid for this service")
NARROW = says("insufficient_scope", "The access token does not allow this")
LOGIN = says("insufficient_user_authentication", "A stronger or more recent login is required", ', acr_values="mfa"')


@dataclass(frozen=True)
class Case:
    """A request and its one answer; `headers` is a function, because a proof is good once."""

    headers: Any
    status: int
    challenge: str | None = None
    error: str | None = None
    request: tuple[str, str] = ("GET", "/beers")
    guard: str = "bearer"
    nonce: str | None = None
    retry_after: bool = False


def bearer(**wish):
    return lambda: list(ISSUER.headers(**wish).items())


def bound(method="GET", nonce=NONCE, scope="read", key=KEY):
    token = ISSUER.mint(scope=scope, bound_to=KEY)
    return lambda: list(key.headers(method, f"{HOST}/beers", token, nonce=nonce).items())


CASES = {
    "no token": Case(list, 401, BEARER),
    "a good token": Case(bearer(scope="read"), 200),
    "an expired token": Case(bearer(flaw="expired"), 401, BEARER + EXPIRED, "invalid_token"),
    "a forged token": Case(bearer(flaw="wrong_signature"), 401, BEARER + INVALID, "invalid_token"),
    "a narrow token": Case(bearer(scope="write"), 403, BEARER + NARROW + ', scope="read"', "insufficient_scope"),
    "a reader who writes": Case(
        bearer(scope="read"), 403, BEARER + NARROW + ', scope="write"', "insufficient_scope", ("POST", "/beers")
    ),
    "a weak login": Case(bearer(), 401, BEARER + LOGIN, "insufficient_user_authentication", request=("GET", "/cellar")),
    "a strong login": Case(bearer(claims={"acr": "mfa"}), 200, request=("GET", "/cellar")),
    "keys that cannot be had": Case(
        lambda: list(SILENT.headers(scope="read").items()),
        503,
        error="temporarily_unavailable",
        guard="silent",
        retry_after=True,
    ),
    "no token where the service is described": Case(list, 401, BEARER + WHERE, guard="described"),
    "no token where proofs are taken": Case(list, 401, f"{BEARER}, {PROOF}{ALGS}", guard="proofs", nonce=NONCE),
    "no token where proofs are needed": Case(list, 401, PROOF + ALGS, guard="proofs alone", nonce=NONCE),
    "a proof": Case(bound(), 200, guard="proofs", nonce=NONCE),
    "a proof for writing": Case(
        bound("POST", scope="write"), 200, guard="proofs alone", nonce=NONCE, request=("POST", "/beers")
    ),
    "a bearer token where proofs are taken": Case(bearer(scope="read"), 200, guard="proofs"),
}


def guards():
    parts = {
        "bearer": {},
        "described": {"resource": ProtectedResource(HOST)},
        "proofs": {"dpop": DpopPolicy(HOST, nonces=NONCES)},
        "proofs alone": {"dpop": DpopPolicy(HOST, nonces=NONCES, required=True)},
        "silent": {},
    }
    return {name: (SILENT if name == "silent" else ISSUER, more) for name, more in parts.items()}


@pytest.fixture(scope="module")
def services():
    """Return how to ask each front end with each guard; they are built when they are first needed."""
    built, opened = {}, []

    def find(front_end, name):
        if (front_end, name) not in built:
            # Each service has a guard, and with it a memory of proofs, of its own.
            issuer, parts = guards()[name]

            def make():
                return Guard(issuer.verifier(), realm="beer", **parts)

            def make_for_threads():
                opened.append(SyncGuard(issuer.verifier(), realm="beer", **parts))
                return opened[-1]

            built[front_end, name] = FRONT_ENDS[front_end](make, make_for_threads)
        return built[front_end, name]

    yield find
    for guard in opened:
        guard.close()


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.parametrize("name", CASES)
def test_each_front_end_gives_the_same_answer(services, front_end, name):
    case = CASES[name]
    answer = services(front_end, case.guard)(*case.request, case.headers())
    assert answer.status == case.status
    # Django joins fields of one name, as RFC 9110 §5.3 allows.
    assert ", ".join(answer.all("www-authenticate")) == (case.challenge or "")
    assert answer.all("dpop-nonce") == ([case.nonce] if case.nonce else [])
    assert answer.all("content-type") == ["application/json"]
    if case.status == 200:
        assert answer.body == {"caller": "user-1"}
    else:
        assert answer.body.get("error") == case.error
        assert answer.all("cache-control") == ["no-store"]
    assert bool(answer.all("retry-after")) is case.retry_after


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_each_front_end_asks_for_a_nonce_and_takes_a_proof_once(services, front_end):
    ask = services(front_end, "proofs")
    without = ask("GET", "/beers", bound(nonce=None)())
    assert (without.status, without.body["error"]) == (401, "use_dpop_nonce")
    good = bound(nonce=without.all("dpop-nonce")[0])()
    assert ask("GET", "/beers", good).status == 200
    for headers, error in (
        (good, "invalid_dpop_proof"),
        (bound(key=TestDpopKey(clock=lambda: NOW))(), "invalid_token"),
    ):
        refused = ask("GET", "/beers", headers)
        assert (refused.status, refused.body["error"]) == (401, error)
        assert refused.all("dpop-nonce") == [NONCE]


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_two_tokens_are_none(services, front_end):
    answer = services(front_end, "bearer")("GET", "/beers", bearer(scope="read")() * 2)
    assert (answer.status, answer.body["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_each_front_end_serves_what_its_challenge_names(services, front_end):
    where = "/.well-known/oauth-protected-resource"
    for method in ("GET", "OPTIONS"):
        answer = services(front_end, "described")(method, where, [])
        assert (answer.status, answer.body["resource"]) == (200, HOST)
        assert answer.body["authorization_servers"] == [ISSUER.issuer]
        assert answer.all("content-type") == ["application/json"]
        assert answer.all("access-control-allow-origin") == ["*"]
