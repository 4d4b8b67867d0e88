"""What is remembered is bounded, whatever comes in."""

from __future__ import annotations

import base64
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.errors import JoseError

from tegata_verify import CachePolicy, Principal, SyncVerifier, TokenError
from tegata_verify.jwks import parse_key
from tegata_verify.memory import TokenMemory
from tegata_verify.testing import TestIssuer
from tegata_verify.tokens import SignatureRegistry, check_signature, decode_segment, parse_token

relaxed = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
SOMEBODY = Principal("https://id.example", "user-1")


def fill(memory, numbers, size=400):
    for n in numbers:
        claims = {"sub": f"user-{n}", "padding": "x" * size}
        who = Principal("https://id.example", f"user-{n}", claims=claims)
        memory.keep(n.to_bytes(32, "big"), who, since=0, until=60, size=size)


def test_twenty_thousand_tokens_take_no_more_memory_than_the_first_thousand():
    memory = TokenMemory(max_tokens=1000, max_bytes=10**9)
    tracemalloc.start()
    try:
        fill(memory, range(2000))
        full = tracemalloc.get_traced_memory()[0]
        fill(memory, range(2000, 20_000))
        assert tracemalloc.get_traced_memory()[0] < full * 1.2
    finally:
        tracemalloc.stop()
    assert len(memory) == 1000


def test_large_tokens_push_out_more_than_one():
    memory = TokenMemory(max_tokens=1000, max_bytes=10_000)
    fill(memory, range(100), size=400)
    assert len(memory) == 25
    fill(memory, [1000], size=9_000)
    assert len(memory) == 1 + 2
    fill(memory, [1001], size=10_001)
    assert len(memory) == 0
    assert memory._bytes == 0


def test_one_that_is_over_goes_when_another_comes():
    memory = TokenMemory(max_tokens=1000, max_bytes=10_000)
    memory.keep(b"old", SOMEBODY, since=0, until=60, size=1)
    memory.keep(b"new", SOMEBODY, since=60, until=120, size=1)
    assert b"old" not in memory
    assert memory._bytes == 1


def test_a_token_kept_again_counts_once():
    memory = TokenMemory(max_tokens=10, max_bytes=10_000)
    for _ in range(50):
        memory.keep(b"same", SOMEBODY, since=0, until=60, size=400)
    assert (len(memory), memory._bytes) == (1, 400)


def test_threads_leave_the_books_in_order():
    memory = TokenMemory(max_tokens=50, max_bytes=10**6)

    def work(part):
        for n in range(part, 4000, 8):
            memory.keep((n % 97).to_bytes(32, "big"), SOMEBODY, since=0, until=60, size=n % 300)
            memory.find((n % 89).to_bytes(32, "big"), now=1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(memory) == 50
    assert memory._bytes == sum(kept.size for kept in memory._kept.values())


def test_headers_are_known_only_of_good_tokens_and_only_so_many(clock):
    issuer = TestIssuer("https://id.example/demo", clock=clock)
    verifier = SyncVerifier(issuer.rules, transport=issuer.transport, clock=clock, cache_policy=CachePolicy(timeout=60))
    for n in range(200):
        verifier.verify(issuer.mint(header={"x": n}))
        with pytest.raises(TokenError):
            verifier.verify(issuer.mint(header={"y": n}, audience="elsewhere"))
        assert 0 < len(verifier.verification._headers) <= 64
    assert not any(b'"y"' in decode_segment(segment) for segment in verifier.verification._headers)
    verifier.close()


@pytest.fixture
def hasty_threads():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_threads_that_look_up_do_not_disturb_those_that_keep(hasty_threads):
    memory, names = TokenMemory(max_tokens=64, max_bytes=10**9), [b"%d" % n for n in range(64)]
    done = threading.Event()

    def look_up():
        while not done.is_set():
            for name in names:
                memory.find(name, now=10)

    def keep():
        try:
            for _ in range(600):
                for name in names:
                    memory.keep(name, SOMEBODY, since=1, until=1000, size=10)
        finally:
            done.set()

    with ThreadPoolExecutor(2) as pool:
        for ended in [pool.submit(look_up), pool.submit(keep)]:
            ended.result()
    assert (len(memory), memory._bytes) == (64, 640)


@relaxed
@given(data=st.binary(max_size=40), tail=st.sampled_from([b"", b"=", b"==", b"A", b"B", b"\n", b"+", b"/", b"_"]))
def test_a_segment_has_the_one_spelling_that_encoding_gives(data, tail):
    segment = base64.urlsafe_b64encode(data).rstrip(b"=")
    assert decode_segment(segment) == data
    try:
        decoded = decode_segment(segment + tail)
    except ValueError:
        return
    assert base64.urlsafe_b64encode(decoded).rstrip(b"=") == segment + tail


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "PS256", "EdDSA"])
def test_a_signature_is_judged_as_the_jose_library_judges_it(algorithm):
    issuer = TestIssuer(algorithm=algorithm)
    key = parse_key(issuer.jwks()["keys"][0])
    token = issuer.mint()

    @relaxed
    @given(st.integers(0, 10_000), st.integers(0, 255), st.integers(-2, 2))
    def compare(place, change, length):
        head, _, signature = token.rpartition(".")
        damaged = bytearray(decode_segment(signature.encode()))
        damaged[place % len(damaged)] ^= change
        damaged = bytes(damaged)[: len(damaged) + length] + b"\0" * max(0, length)
        text = head + "." + base64.urlsafe_b64encode(damaged).rstrip(b"=").decode()
        try:
            check_signature(parse_token(text, max_bytes=20_000), key)
            ours = True
        except TokenError:
            ours = False
        try:
            jws.deserialize_compact(text, key.key, registry=SignatureRegistry())
            theirs = True
        except (JoseError, ValueError):
            theirs = False
        assert ours == theirs == (text == token)

    compare()
