"""DPoP at the resource server (RFC 9449 §4.3, §7.1, §9), with proofs that PyJWT makes."""

from __future__ import annotations

import asyncio
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from importlib import util
from pathlib import Path

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tegata_verify import (
    AccessError,
    CachePolicy,
    DpopNonces,
    DpopPolicy,
    Guard,
    InvalidDpopProof,
    KeysUnavailable,
    LocalProofMemory,
    Reason,
    SyncGuard,
    TokenError,
    UseDpopNonce,
    UsedProof,
    Verifier,
)
from tegata_verify.testing import TestIssuer

_spec = util.spec_from_file_location("proofs", Path(__file__).parent / "proofs.py")
assert _spec is not None
assert _spec.loader is not None
proofs = util.module_from_spec(_spec)
_spec.loader.exec_module(proofs)
BASE, NOW, Client, request = proofs.BASE, proofs.NOW, proofs.Client, proofs.request

pytestmark = pytest.mark.anyio


class Bench:
    """An issuer, a client, and a guard whose time is set."""

    def __init__(self, **policy):
        self.now = NOW
        self.issuer = TestIssuer(clock=lambda: self.now)
        self.client = Client()
        self.policy = DpopPolicy(BASE, **policy)
        self.guard = Guard(self.issuer.verifier(), dpop=self.policy)
        self.token = self.mint(self.client)

    def mint(self, client, **claims):
        return self.issuer.mint(claims={"cnf": {"jkt": client.thumbprint}, **claims}, lifetime_seconds=3600)

    async def authorize(self, *given, **how):
        return await self.guard.authorize(request(self.token, *given, **how))


@contextmanager
def refused(reason, kind=AccessError, detail=None):
    with pytest.raises(kind) as caught:
        yield caught
    assert caught.value.reason is reason
    if detail is not None:
        assert caught.value.detail == detail


@pytest.fixture
def bench():
    return Bench()


async def test_a_bound_token_with_a_good_proof_is_accepted_once(bench):
    proof = bench.client.prove(bench.token)
    assert (await bench.authorize(proof)).subject == "user-1"
    with refused(Reason.REPLAYED_PROOF, InvalidDpopProof):
        await bench.authorize(proof)


async def test_threads_have_the_same_rules(bench):
    guard = SyncGuard(bench.issuer.verifier(), dpop=bench.policy)
    try:
        proof = bench.client.prove(bench.token)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: outcome(guard, request(bench.token, proof)), range(24)))
        assert answers.count("let in") == 1
        assert answers.count(Reason.REPLAYED_PROOF) == 23
    finally:
        guard.close()


def outcome(guard, sent):
    try:
        guard.authorize(sent)
    except AccessError as error:
        return error.reason
    return "let in"


async def test_of_a_proof_sent_many_times_at_once_one_is_accepted(bench):
    proof = bench.client.prove(bench.token)
    results = await asyncio.gather(*(bench.authorize(proof) for _ in range(50)), return_exceptions=True)
    assert sum(not isinstance(result, Exception) for result in results) == 1


@pytest.mark.parametrize(
    ("claims", "reason", "detail"),
    [
        ({"htm": "POST"}, Reason.WRONG_PROOF, "htm"),
        ({"htm": "get"}, Reason.WRONG_PROOF, "htm"),
        ({"htm": None}, Reason.WRONG_PROOF, "htm"),
        ({"htu": f"{BASE}/beers/1"}, Reason.WRONG_PROOF, "htu"),
        ({"htu": "https://other.example.com/beers"}, Reason.WRONG_PROOF, "htu"),
        ({"htu": "http://api.example.com/beers"}, Reason.WRONG_PROOF, "htu"),
        ({"htu": f"{BASE}/beers%2F"}, Reason.WRONG_PROOF, "htu"),
        ({"htu": f"{BASE}/%2562eers"}, Reason.WRONG_PROOF, "htu"),
        ({"htu": "https://api.example.com@evil.example/beers"}, Reason.WRONG_PROOF, "htu"),
        ({"htu": 7}, Reason.WRONG_PROOF, "htu"),
        ({"htu": None}, Reason.WRONG_PROOF, "htu"),
        ({"ath": None}, Reason.WRONG_PROOF, "ath"),
        ({"ath": "x"}, Reason.WRONG_PROOF, "ath"),
        ({"jti": None}, Reason.MALFORMED_PROOF, "jti"),
        ({"jti": "x" * 513}, Reason.MALFORMED_PROOF, "jti"),
        ({"iat": None}, Reason.MALFORMED_PROOF, "iat"),
        ({"iat": True}, Reason.MALFORMED_PROOF, "iat"),
        ({"iat": NOW - 61}, Reason.WRONG_PROOF, "iat"),
        ({"iat": NOW + 11}, Reason.WRONG_PROOF, "iat"),
        ({"exp": NOW - 10}, Reason.WRONG_PROOF, "exp or nbf"),
        ({"nbf": NOW + 11}, Reason.WRONG_PROOF, "exp or nbf"),
    ],
)
async def test_each_claim_is_checked(bench, claims, reason, detail):
    proof = bench.client.prove(bench.token, claims)
    with refused(reason, InvalidDpopProof, detail):
        await bench.authorize(proof)


@pytest.mark.parametrize("iat", [NOW - 60, NOW + 10])
async def test_the_last_second_of_a_proof_counts(bench, iat):
    await bench.authorize(bench.client.prove(bench.token, {"iat": iat}))


@pytest.mark.parametrize(
    "htu",
    ["HTTPS://API.example.com:443/beers", f"{BASE}/%62eers", f"{BASE}/x/../beers", f"{BASE}/beers?page=2#top"],
)
async def test_another_spelling_of_the_address_is_the_same_address(bench, htu):
    await bench.authorize(bench.client.prove(bench.token, {"htu": htu}))


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        ({"typ": "JWT"}, "typ"),
        ({"typ": None}, "typ"),
        ({"jwk": None}, "jwk"),
        ({"crit": ["exp"]}, "crit"),
    ],
)
async def test_each_header_member_is_checked(bench, header, detail):
    if "crit" in header:
        header = header | {"exp": 1}
    with refused(Reason.MALFORMED_PROOF, InvalidDpopProof, detail):
        await bench.authorize(bench.client.prove(bench.token, header=header))


async def test_a_proof_with_a_private_key_is_refused(bench):
    secret = proofs.b64(bench.client.key.private_numbers().private_value.to_bytes(32))
    with refused(Reason.MALFORMED_PROOF, InvalidDpopProof, "jwk"):
        await bench.authorize(bench.client.prove(bench.token, header={"jwk": bench.client.jwk | {"d": secret}}))


async def test_a_symmetric_proof_is_refused(bench):
    octets = {"kty": "oct", "k": proofs.b64(b"k" * 32)}
    with refused(Reason.MALFORMED_PROOF, InvalidDpopProof, "alg"):
        await bench.authorize(bench.client.prove(bench.token, header={"jwk": octets}, key=b"k" * 32, algorithm="HS256"))


async def test_a_key_of_another_kind_than_the_algorithm_is_refused(bench):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = rsa.generate_private_key(65537, 2048)
        proof = bench.client.prove(bench.token, key=other, algorithm="RS256")
    with refused(Reason.MALFORMED_PROOF, InvalidDpopProof, "jwk"):
        await bench.authorize(proof)


async def test_the_key_must_be_the_tokens(bench):
    with refused(Reason.WRONG_PROOF, TokenError, "another key"):
        await bench.authorize(Client().prove(bench.token))


async def test_the_signature_must_be_by_the_key_in_the_header(bench):
    with refused(Reason.WRONG_PROOF, InvalidDpopProof, "signature"):
        await bench.authorize(bench.client.prove(bench.token, key=Client().key))


async def test_a_proof_for_another_token_of_the_same_key_is_refused(bench):
    other = bench.mint(bench.client, sub="user-2")
    with refused(Reason.WRONG_PROOF, InvalidDpopProof, "ath"):
        await bench.authorize(bench.client.prove(other))


async def test_the_host_header_does_not_decide_what_the_target_is(bench):
    stolen = bench.client.prove(bench.token, {"htu": "https://evil.example/beers"})
    with refused(Reason.WRONG_PROOF, InvalidDpopProof, "htu"):
        await bench.authorize(stolen, host="evil.example")
    await bench.authorize(bench.client.prove(bench.token), host="internal:8000")


async def test_a_prefix_that_the_proxy_takes_away_is_part_of_the_base():
    bench = Bench()
    bench.guard = Guard(bench.issuer.verifier(), dpop=DpopPolicy(f"{BASE}/v1/"))
    await bench.authorize(bench.client.prove(bench.token, {"htu": f"{BASE}/v1/beers"}))
    with refused(Reason.WRONG_PROOF, InvalidDpopProof, "htu"):
        await bench.authorize(bench.client.prove(bench.token))


async def test_there_must_be_one_proof(bench):
    with refused(Reason.MISSING_PROOF, InvalidDpopProof):
        await bench.authorize()
    with refused(Reason.MALFORMED_PROOF, InvalidDpopProof, "repeated"):
        await bench.authorize(bench.client.prove(bench.token), bench.client.prove(bench.token))


@pytest.mark.parametrize("proof", ["", "x", "a.b.c", "e30.e30.", "x" * 9000, "e30.e30.e30, e30.e30.e30"])
async def test_what_is_no_proof_is_refused(bench, proof):
    with refused(Reason.MALFORMED_PROOF, InvalidDpopProof):
        await bench.authorize(proof)


async def test_a_bound_token_is_no_bearer_token_in_any_configuration(bench):
    proof = bench.client.prove(bench.token)
    for guard in (bench.guard, Guard(bench.issuer.verifier())):
        with refused(Reason.WRONG_SCHEME, TokenError):
            await guard.authorize(request(bench.token, proof, scheme="Bearer"))


@pytest.mark.parametrize(
    ("confirmation", "reason"),
    [
        ({"jwk": {}}, Reason.UNKNOWN_BINDING),
        ({}, Reason.UNKNOWN_BINDING),
        ("x", Reason.MALFORMED_CLAIM),
        ({"jkt": ""}, Reason.MALFORMED_CLAIM),
        ({"jkt": ["x"]}, Reason.MALFORMED_CLAIM),
        ({"x5t#S256": "x"}, Reason.WRONG_CERTIFICATE),
    ],
)
async def test_a_binding_that_cannot_be_checked_is_refused(bench, confirmation, reason):
    token = bench.issuer.mint(claims={"cnf": confirmation})
    with refused(reason, TokenError):
        await bench.guard.authorize(request(token, scheme="Bearer"))


async def test_an_unbound_token_is_refused_with_the_scheme_and_taken_as_bearer(bench):
    token = bench.issuer.mint()
    with refused(Reason.WRONG_SCHEME, TokenError):
        await bench.guard.authorize(request(token, bench.client.prove(token)))
    await bench.guard.authorize(request(token, scheme="Bearer"))


async def test_where_proofs_are_required_no_bearer_token_is_taken():
    bench = Bench(required=True)
    with refused(Reason.NOT_BOUND, TokenError) as caught:
        await bench.guard.authorize(request(bench.issuer.mint(), scheme="Bearer"))
    challenges = [value for name, value in bench.guard.refuse(caught.value).headers if name == "WWW-Authenticate"]
    assert [challenge.split(" ")[0] for challenge in challenges] == ["DPoP"]
    assert 'algs="ES256 Ed25519 EdDSA PS256 RS256"' in challenges[0]


async def test_the_nonce_is_asked_for_given_and_taken_until_it_is_old():
    bench = Bench(nonces=DpopNonces(lifetime_seconds=60))
    with refused(Reason.MISSING_NONCE, UseDpopNonce) as caught:
        await bench.authorize(bench.client.prove(bench.token))
    refusal = bench.guard.refuse(caught.value)
    assert refusal.status == 401
    nonces = [value for name, value in refusal.headers if name == "DPoP-Nonce"]
    assert len(nonces) == 1
    sent = request(bench.token, bench.client.prove(bench.token, {"nonce": nonces[0]}))
    await bench.guard.authorize(sent)
    assert bench.guard.answer_headers(sent) == (("DPoP-Nonce", nonces[0]),)
    bench.now += 91
    with refused(Reason.WRONG_NONCE, UseDpopNonce):
        await bench.authorize(bench.client.prove(bench.token, {"nonce": nonces[0], "iat": bench.now}))
    with refused(Reason.WRONG_NONCE, UseDpopNonce):
        await bench.authorize(bench.client.prove(bench.token, {"nonce": ["x"], "iat": bench.now}))


def test_processes_with_the_same_keys_know_each_others_nonces_through_a_change_of_keys():
    old, new = b"o" * 32, b"n" * 32
    nonce = DpopNonces([old]).make(NOW)
    assert DpopNonces([new, old]).is_good(nonce, NOW)
    assert not DpopNonces([new]).is_good(nonce, NOW)
    with pytest.raises(ValueError, match="32 bytes"):
        DpopNonces([b"short"])


class SharedMemory:
    """Stands for a store that processes share: it answers later."""

    def __init__(self):
        self.seen = set()

    async def remember(self, proof):
        await asyncio.sleep(0)
        is_new = proof.digest not in self.seen
        self.seen.add(proof.digest)
        return is_new


async def test_a_shared_memory_is_waited_for():
    bench = Bench(memory=SharedMemory())
    proof = bench.client.prove(bench.token)
    await bench.authorize(proof)
    with refused(Reason.REPLAYED_PROOF):
        await bench.authorize(proof)


async def test_the_memory_is_bounded_and_forgets_nothing_that_is_still_good():
    bench = Bench(memory=LocalProofMemory(capacity=3, per_key=2))
    first = bench.client.prove(bench.token)
    await bench.authorize(first)
    await bench.authorize(bench.client.prove(bench.token))
    with refused(Reason.MEMORY_UNAVAILABLE, KeysUnavailable):
        await bench.authorize(bench.client.prove(bench.token))
    with refused(Reason.REPLAYED_PROOF):
        await bench.authorize(first)
    other = Client()
    token = bench.mint(other)
    await bench.guard.authorize(request(token, other.prove(token)))
    bench.now += 82
    await bench.authorize(bench.client.prove(bench.token, {"iat": bench.now}))
    assert len(bench.policy.memory) == 1


async def test_a_proof_is_remembered_as_long_as_its_time_lasts(bench):
    proof = bench.client.prove(bench.token, {"iat": NOW + 10})
    await bench.authorize(proof)
    bench.now += 70
    with refused(Reason.REPLAYED_PROOF):
        await bench.authorize(proof)
    bench.now += 1
    with refused(Reason.WRONG_PROOF, InvalidDpopProof, "iat"):
        await bench.authorize(proof)


def test_a_clock_that_was_ahead_for_a_moment_does_not_stop_the_memory_from_forgetting():
    memory = LocalProofMemory(capacity=4, per_key=4)

    def see(name, now):
        return memory.remember(UsedProof(name, "thumbprint", seen_at=now, keep_seconds=80))

    assert see("ahead", NOW + 86_400)
    for step in range(20):
        assert see(f"proof-{step}", NOW + 40 * step)
    assert len(memory) <= 4
    assert not see("proof-19", NOW + 40 * 19)


def test_a_clock_that_is_set_back_a_little_forgets_nothing():
    memory = LocalProofMemory()
    proof = UsedProof("digest", "thumbprint", seen_at=NOW, keep_seconds=80)
    assert memory.remember(proof)
    assert not memory.remember(replace(proof, seen_at=NOW - 79))


async def test_a_request_without_a_good_token_leaves_no_trace_in_the_memory(bench):
    with refused(Reason.MALFORMED_TOKEN):
        await bench.guard.authorize(request("x.y.z", bench.client.prove("x.y.z")))
    assert len(bench.policy.memory) == 0


async def test_a_proof_is_judged_when_its_token_has_been_however_slow_the_issuer_was(bench):
    proof = bench.client.prove(bench.token)
    assert (await bench.authorize(proof)).subject == "user-1"

    class Slow(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request):
            bench.now += 45
            await bench.authorize(bench.client.prove(bench.token, {"iat": int(bench.now)}))
            return await bench.issuer.transport().handle_async_request(request)

    verifier = Verifier(
        bench.issuer.rules, transport=Slow, clock=lambda: bench.now, cache_policy=CachePolicy(timeout=60)
    )
    with refused(Reason.WRONG_PROOF, InvalidDpopProof, "iat"):
        await Guard(verifier, dpop=bench.policy).authorize(request(bench.token, proof))
