"""Verification in threads without asyncio: the same answers, and a fetch only where a key is missing."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import threading
from collections import Counter
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack

import httpx2
import pytest

from tegata_verify import (
    CachePolicy,
    HttpRequest,
    KeysUnavailable,
    LocalProofMemory,
    Reason,
    SyncGuard,
    SyncVerifier,
    TokenError,
    UsedProof,
)
from tegata_verify.background import Background
from tegata_verify.client import DpopKey
from tegata_verify.testing import TestIssuer

PATIENCE_SECONDS = 60
PATIENT = CachePolicy(timeout=PATIENCE_SECONDS)


class Published(httpx2.AsyncBaseTransport):
    """Answers for a `TestIssuer`, counts, and fails or waits on demand; in whichever event loop it is asked."""

    def __init__(self, issuer: TestIssuer) -> None:
        self.issuer = issuer
        self.fetches = 0
        self.threads: set[str] = set()
        self.is_down = False
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> httpx2.AsyncBaseTransport:
        return self

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.threads.add(threading.current_thread().name)
        while not self.gate.is_set():
            await asyncio.sleep(0.001)
        url = str(request.url)
        self.fetches += url.endswith("/jwks")
        return httpx2.Response(503) if self.is_down else httpx2.Response(200, json=self.issuer.documents()[url])


@pytest.fixture
def issuer(clock):
    return TestIssuer("https://id.example/demo", clock=clock)


@pytest.fixture
def published(issuer):
    return Published(issuer)


@pytest.fixture
def verifier(issuer, published):
    made = SyncVerifier(issuer.rules, transport=published, clock=issuer.clock, cache_policy=PATIENT)
    yield made
    made.close()


def reason_of(verifier, token):
    with pytest.raises(TokenError) as caught:
        verifier.verify(token)
    return caught.value.reason


def test_fifty_threads_at_a_cold_start_make_one_fetch(verifier, published, issuer):
    published.gate.clear()
    tokens = [issuer.mint(subject=f"user-{n}") for n in range(50)]
    with ThreadPoolExecutor(50) as pool:
        waiting = [pool.submit(verifier.verify, token) for token in tokens]
        published.gate.set()
        assert {done.result().subject for done in waiting} == {f"user-{n}" for n in range(50)}
    assert published.fetches == 1
    assert published.threads == {"tegata-verify"}


def test_with_keys_at_hand_nothing_leaves_the_callers_thread(issuer, published):
    first = SyncVerifier(issuer.rules, transport=published, clock=issuer.clock, cache_policy=PATIENT)
    token = issuer.mint()
    first.verify(token)
    first.close()
    assert first.verify(token) is first.verify(token)
    first.verify(issuer.mint(subject="another"))
    assert reason_of(first, issuer.mint(audience="elsewhere")) == Reason.WRONG_AUDIENCE
    assert first.background._running is None, "a closed background starts again only when it is needed"
    assert published.fetches == 1


def test_ten_thousand_random_kids_in_threads_cause_a_handful_of_fetches(verifier, published, issuer, clock):
    verifier.verify(issuer.mint())
    _, claims, signature = issuer.mint().split(".")

    def guess(part):
        reasons = Counter()
        for n in range(part, 10_000, 8):
            header = {"alg": "ES256", "typ": "at+jwt", "kid": f"guess-{n}"}
            encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
            try:
                verifier.verify(f"{encoded}.{claims}.{signature}")
            except TokenError as error:
                reasons[error.reason] += 1
        return reasons

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(guess, range(8)), Counter()) == {Reason.UNKNOWN_KEY: 10_000}
    assert published.fetches == 2
    clock.now += 30
    guess(0)
    assert published.fetches == 3


def test_a_rotated_key_is_found_by_many_threads_with_one_refetch(verifier, published, issuer):
    verifier.verify(issuer.mint())
    issuer.rotate()
    tokens = [issuer.mint(subject=f"user-{n}") for n in range(40)]
    with ThreadPoolExecutor(20) as pool:
        assert len({principal.subject for principal in pool.map(verifier.verify, tokens)}) == 40
    assert published.fetches == 2


class Name(str):
    """A key's name in whose first look-up something happens elsewhere."""

    meanwhile = None

    def __hash__(self):
        happen, self.meanwhile = self.meanwhile, None
        if happen is not None:
            happen()
        return super().__hash__()


def test_a_key_that_another_thread_fetches_during_the_look_up_is_not_taken_for_missing(verifier, published, issuer):
    verifier.verify(issuer.mint())
    issuer.rotate()
    name = Name(issuer.key.kid)
    name.meanwhile = lambda: verifier.verify(issuer.mint())
    (found,) = verifier.verification.find_cache(issuer.issuer).find_at_hand(name)
    assert found.kid == issuer.key.kid
    assert published.fetches == 2


def test_keys_are_renewed_behind_the_callers_back(verifier, published, issuer, clock, wait_until):
    verifier.verify(issuer.mint())
    clock.now += 290
    published.gate.clear()
    verifier.verify(issuer.mint(subject="does not wait"))
    published.gate.set()
    wait_until(lambda: published.fetches == 2)


def test_an_issuer_that_is_down_is_told_from_a_bad_token_and_asked_once(verifier, published, issuer):
    published.is_down = True
    for _ in range(5):
        with pytest.raises(KeysUnavailable):
            verifier.verify(issuer.mint())
    published.is_down = False
    assert published.fetches == 0


def test_a_fetch_that_hangs_ends_with_a_refusal(issuer, published):
    published.gate.clear()
    policy = CachePolicy(timeout=0.05)
    verifier = SyncVerifier(issuer.rules, transport=published, clock=issuer.clock, cache_policy=policy)
    with pytest.raises(KeysUnavailable):
        verifier.verify(issuer.mint())
    published.gate.set()
    verifier.close()


def test_both_kinds_of_verifier_share_keys_and_tokens(issuer, published):
    from tegata_verify import Verifier

    verifier = Verifier(issuer.rules, transport=published, clock=issuer.clock, cache_policy=PATIENT)
    token = issuer.mint()
    known = asyncio.run(verifier.verify(token))
    twin = SyncVerifier.of(verifier)
    assert twin.verify(token) is known
    twin.verify(issuer.mint(subject="another"))
    assert published.fetches == 1
    assert twin.background._running is None


def test_a_forked_process_verifies_by_itself_even_if_locks_were_held(verifier, published, issuer):
    verifier.verify(issuer.mint())
    cache = verifier.verification.find_cache(issuer.issuer)
    issuer.rotate()
    fresh = issuer.mint(subject="child")
    proofs, client_key = LocalProofMemory(), DpopKey()
    # Another thread holds each lock at the moment of the fork, as a busy server's would.
    held, done = threading.Event(), threading.Event()

    def hold():
        locks = [cache._lock, verifier.verification.memory._lock, verifier.background._lock]
        with ExitStack() as stack:
            for lock in (*locks, proofs._lock, client_key._lock):
                stack.enter_context(lock)
            held.set()
            done.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(60)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(60)  # ends a child that waits for ever
            code = 0 if verifier.verify(fresh).subject == "child" else 2
            code |= 0 if proofs.remember(UsedProof("digest", "key", 0, 60)) else 4
            code |= 0 if client_key.learn("https://api.test/", {"dpop-nonce": "n"}) else 8
        finally:
            os._exit(code)
    done.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert verifier.verify(fresh).subject == "child"


def test_the_guard_for_threads_lets_in_and_refuses_as_its_twin(verifier, issuer):
    guard = SyncGuard(verifier, realm="beer")
    good = (b"authorization", b"Bearer " + issuer.mint(subject="me").encode())
    assert guard.authorize(HttpRequest("GET", "https://api.test/", (good,))).subject == "me"
    with pytest.raises(TokenError) as caught:
        guard.authorize(HttpRequest("GET", "https://api.test/", ((b"authorization", b"Bearer a.b.c"),)))
    refusal = guard.refuse(caught.value)
    assert refusal.status == 401
    assert 'realm="beer"' in dict(refusal.headers)["WWW-Authenticate"]


def test_a_background_raises_what_its_work_raises_and_gives_up_in_time():
    async def fail():
        raise LookupError("gone")

    async def hang():
        await asyncio.sleep(3600)

    background = Background()
    with pytest.raises(LookupError, match="gone"):
        background.run(fail(), timeout_seconds=60)
    with pytest.raises(TimeoutError, match="no answer within"):
        background.run(hang(), timeout_seconds=0.01)
    left = background.start(hang())
    background.close()
    with pytest.raises(CancelledError):
        left.result(PATIENCE_SECONDS)
    background.close()
