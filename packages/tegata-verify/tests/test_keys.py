"""The key cache against a real server: how often it asks, whom it lets wait, what it survives."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter

import pytest

from tegata_verify import Guard, HttpRequest, KeysUnavailable, Reason, TokenError

from .conftest import PATIENCE_SECONDS, until

pytestmark = pytest.mark.anyio

HOUR = 3600


async def refuse(verifier, token):
    with pytest.raises(TokenError) as caught:
        await verifier.verify(token)
    return caught.value.reason


async def test_keys_are_found_through_discovery_and_kept(server):
    verifier = server.verifier()
    for n in range(20):
        assert (await verifier.verify(server.signer.mint(subject=f"user-{n}"))).subject == f"user-{n}"
    assert server.requests == {"/demo/.well-known/openid-configuration": 1, "/demo/jwks": 1}


async def test_a_fixed_jwks_uri_needs_no_discovery(server):
    rules = server.rules
    verifier = server.verifier(
        type(rules)(rules.issuer, rules.audiences, jwks_uri=f"{server.base}/demo/jwks", allow_loopback_http=True)
    )
    await verifier.verify(server.signer.mint())
    assert server.requests == {"/demo/jwks": 1}


@pytest.mark.parametrize("named", ["http://127.0.0.1:1/demo", "", None, ["x"], "http://127.0.0.1/dem"])
async def test_a_discovery_document_of_another_issuer_is_refused(server, answer, named):
    server.answers["/demo/.well-known/openid-configuration"] = answer(
        {"issuer": named, "jwks_uri": f"{server.base}/demo/jwks"}
    )
    with pytest.raises(KeysUnavailable, match="another issuer"):
        await server.verifier().verify(server.signer.mint())
    assert server.fetches == 0


@pytest.mark.parametrize("uri", [None, 7, "http://example.com/jwks", "file:///etc/passwd", "https://u:p@example.com/"])
async def test_a_discovery_document_cannot_lead_to_an_unsafe_address(server, answer, uri):
    server.answers["/demo/.well-known/openid-configuration"] = answer({"issuer": server.signer.issuer, "jwks_uri": uri})
    with pytest.raises(KeysUnavailable):
        await server.verifier().verify(server.signer.mint())
    assert server.requests == {"/demo/.well-known/openid-configuration": 1}


async def test_fifty_requests_at_a_cold_start_make_one_fetch(server):
    server.gate.clear()
    verifier = server.verifier()
    waiting = [asyncio.create_task(verifier.verify(server.signer.mint(subject=f"user-{n}"))) for n in range(50)]
    await asyncio.sleep(0.02)
    server.gate.set()
    assert len({principal.subject for principal in await asyncio.gather(*waiting)}) == 50
    assert server.fetches == 1


async def test_a_cancelled_waiter_leaves_the_fetch_to_the_others(server):
    server.gate.clear()
    verifier = server.verifier()
    first, second = (asyncio.create_task(verifier.verify(server.signer.mint())) for _ in range(2))
    await until(lambda: server.requests)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    server.gate.set()
    assert (await second).subject == "user-1"
    assert server.fetches == 1


async def test_a_fetch_whose_every_waiter_left_still_serves_the_next_request(server):
    server.gate.clear()
    verifier = server.verifier()
    waiter = asyncio.create_task(verifier.verify(server.signer.mint()))
    await until(lambda: server.requests)
    waiter.cancel()
    server.gate.set()
    await verifier.verify(server.signer.mint())
    assert server.fetches == 1


async def test_ten_thousand_random_kids_cause_a_handful_of_fetches(server, clock):
    verifier = server.verifier()
    guard, (_, claims, signature) = Guard(verifier), server.signer.mint().split(".")
    reasons = Counter()
    for n in range(10_000):
        clock.now += 0.01  # a hundred seconds in all
        header = {"alg": "ES256", "typ": "at+jwt", "kid": f"guess-{n}"}
        encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
        sent = (b"authorization", f"Bearer {encoded}.{claims}.{signature}".encode())
        try:
            await guard.authorize(HttpRequest("GET", "https://api.test/", (sent,)))
        except TokenError as error:
            reasons[error.reason] += 1
    assert reasons == {Reason.UNKNOWN_KEY: 10_000}
    assert server.fetches <= 1 + 1 + 100 // 30
    await verifier.verify(server.signer.mint())


async def test_a_kid_found_missing_is_not_looked_for_again_soon(server, clock):
    verifier = server.verifier(unknown_kid=1, unknown_kid_kept=60)
    for _ in range(10):
        assert await refuse(verifier, server.signer.mint(header={"kid": "gone"})) == Reason.UNKNOWN_KEY
        clock.now += 5
    assert server.fetches == 1


async def test_the_memory_of_unknown_kids_is_bounded(server, clock):
    verifier = server.verifier(unknown_kid=0, unknown_kids_kept=5)
    for n in range(20):
        clock.now += 1
        await refuse(verifier, server.signer.mint(header={"kid": f"guess-{n}"}))
    assert len(verifier.verification.find_cache(server.signer.issuer)._unknown) == 5


async def test_a_rotated_key_is_found_at_once(server):
    verifier = server.verifier()
    await verifier.verify(server.signer.mint())
    server.signer.rotate()
    await verifier.verify(server.signer.mint())
    assert server.fetches == 2


async def test_many_requests_with_a_rotated_key_share_one_refetch(server):
    verifier = server.verifier()
    await verifier.verify(server.signer.mint())
    server.signer.rotate()
    tokens = [server.signer.mint(subject=f"user-{n}") for n in range(50)]
    await asyncio.gather(*(verifier.verify(token) for token in tokens))
    assert server.fetches == 2


async def test_keys_are_renewed_ahead_of_their_end_without_anybody_waiting(server, clock):
    verifier = server.verifier(default_ttl=100, refresh_ahead=0.8, timeout=600)
    await verifier.verify(server.signer.mint())
    clock.now += 79
    await verifier.verify(server.signer.mint())
    assert server.fetches == 1
    clock.now += 2
    server.gate.clear()
    await asyncio.wait_for(verifier.verify(server.signer.mint()), PATIENCE_SECONDS)
    server.gate.set()
    await until(lambda: server.fetches == 2)
    await verifier.aclose()


async def test_a_withdrawn_key_is_refused_after_the_time_to_live(server, clock):
    verifier = server.verifier(default_ttl=100)
    old = server.signer.mint()
    await verifier.verify(old)
    server.signer.rotate(withdraw=True)
    clock.now += 101
    assert await refuse(verifier, old) == Reason.UNKNOWN_KEY


@pytest.mark.parametrize(
    ("cache_control", "kept_seconds"),
    [
        ("max-age=200", 200),
        ("public, max-age=200", 200),
        ("max-age=1", 60),
        ("no-store", 60),
        ("max-age=99999999", HOUR),
        ("", 300),
        ("max-age=x", 300),
    ],
)
async def test_max_age_counts_between_bounds(server, clock, answer, cache_control, kept_seconds):
    server.answers["/demo/jwks"] = lambda _: answer(server.signer.jwks(), headers={"cache-control": cache_control})
    verifier = server.verifier(refresh_ahead=1)
    await verifier.verify(server.signer.mint())
    clock.now += kept_seconds - 1
    await verifier.verify(server.signer.mint())
    assert server.fetches == 1
    clock.now += 1
    await verifier.verify(server.signer.mint())
    assert server.fetches == 2


async def test_an_answer_that_is_old_already_is_kept_for_the_rest_of_its_time(server, clock, answer):
    headers = {"cache-control": "max-age=200", "age": "50"}
    server.answers["/demo/jwks"] = lambda _: answer(server.signer.jwks(), headers=headers)
    verifier = server.verifier(refresh_ahead=1)
    await verifier.verify(server.signer.mint())
    clock.now += 150
    await verifier.verify(server.signer.mint())
    assert server.fetches == 2


async def test_an_unchanged_key_set_is_renewed_by_its_etag_and_not_parsed_again(server, clock, answer):
    def answer_by_etag(headers):
        if headers.get("if-none-match") == '"one"':
            return answer(status=304, headers={"etag": '"one"'})
        return answer(server.signer.jwks(), headers={"etag": '"one"'})

    server.answers["/demo/jwks"] = answer_by_etag
    verifier = server.verifier()
    cache = verifier.verification.find_cache(server.signer.issuer)
    before = await cache.find_keys(server.signer.key.kid)
    clock.now += 301
    after = await cache.find_keys(server.signer.key.kid)
    assert server.fetches == 2
    assert after[0] is before[0]
    clock.now += 299 * 0.5
    await cache.find_keys(server.signer.key.kid)
    assert server.fetches == 2


async def test_a_304_that_nobody_asked_for_is_a_failure(server, answer):
    server.answers["/demo/jwks"] = answer(status=304)
    with pytest.raises(KeysUnavailable, match="status 304"):
        await server.verifier().verify(server.signer.mint())


async def test_known_keys_serve_on_during_an_outage_and_end_at_the_bound(server, clock, answer):
    verifier = server.verifier(stale=6 * HOUR)
    await verifier.verify(server.signer.mint())
    server.answers["/demo/jwks"] = answer(status=500)
    clock.now += 6 * HOUR - 1
    await verifier.verify(server.signer.mint())
    clock.now += 2
    with pytest.raises(KeysUnavailable):
        await verifier.verify(server.signer.mint())


async def test_during_an_outage_requests_do_not_wait_for_the_issuer(server, clock, answer):
    verifier = server.verifier(timeout=600)
    await verifier.verify(server.signer.mint())
    server.answers["/demo/jwks"] = answer(status=500)
    clock.now += 301
    await verifier.verify(server.signer.mint())  # learns of the outage
    server.gate.clear()
    clock.now += 6
    await asyncio.wait_for(verifier.verify(server.signer.mint()), PATIENCE_SECONDS)
    server.gate.set()
    await verifier.aclose()


async def test_an_issuer_that_is_down_is_not_asked_by_every_request(server, clock, answer):
    server.answers["/demo/jwks"] = answer(status=503)
    verifier = server.verifier(retry=5)
    for _ in range(20):
        with pytest.raises(KeysUnavailable) as caught:
            await verifier.verify(server.signer.mint())
        assert 1 <= caught.value.retry_after_seconds <= 5
    assert server.fetches == 1
    clock.now += 5
    server.answers["/demo/jwks"] = answer(server.signer.jwks())
    await verifier.verify(server.signer.mint())
    assert server.fetches == 2
    assert await refuse(verifier, server.signer.mint(header={"kid": "guess"})) == Reason.UNKNOWN_KEY


async def test_an_unknown_key_during_an_outage_is_not_blamed_on_the_token(server, clock, answer):
    verifier = server.verifier()
    await verifier.verify(server.signer.mint())
    server.signer.rotate()
    server.answers["/demo/jwks"] = answer(status=500)
    for _ in range(3):
        with pytest.raises(KeysUnavailable):
            await verifier.verify(server.signer.mint())
    assert server.fetches == 2


async def test_after_an_outage_discovery_may_name_a_new_address(server, clock, answer):
    verifier = server.verifier()
    await verifier.verify(server.signer.mint())
    server.answers["/demo/jwks"] = answer(status=404)
    server.answers["/demo/keys"] = answer(server.signer.jwks())
    server.answers["/demo/.well-known/openid-configuration"] = answer(
        {"issuer": server.signer.issuer, "jwks_uri": f"{server.base}/demo/keys"}
    )
    clock.now += 301
    await verifier.verify(server.signer.mint())  # learns that the old address is gone
    clock.now += 5
    await verifier.verify(server.signer.mint())  # looks for a new one behind the request's back
    await until(lambda: server.requests["/demo/keys"])
    await verifier.aclose()


@pytest.mark.parametrize(
    "broken", [b"", b"<html>", b"[]", {"keys": []}, {"keys": {}}, {"keys": [{"kty": "oct", "k": "AAAA"}]}, {"error": 1}]
)
async def test_a_broken_key_set_does_not_replace_keys_that_work(server, clock, answer, broken):
    verifier = server.verifier()
    await verifier.verify(server.signer.mint())
    server.answers["/demo/jwks"] = answer(broken)
    clock.now += 301
    await verifier.verify(server.signer.mint())
    assert server.fetches == 2


async def test_a_clock_set_back_does_not_prolong_a_copy(server, clock):
    verifier = server.verifier()
    await verifier.verify(server.signer.mint())
    clock.now -= 10_000
    await verifier.verify(server.signer.mint())
    assert server.fetches == 2


async def test_a_clock_set_back_does_not_keep_us_from_asking_for_a_new_key(server, clock, answer):
    verifier = server.verifier()
    assert await refuse(verifier, server.signer.mint(header={"kid": "later"})) == Reason.UNKNOWN_KEY
    clock.now -= 10_000
    cache = verifier.verification.find_cache(server.signer.issuer)
    await cache.find_keys(server.signer.key.kid)
    before = server.fetches
    assert await cache.find_keys("later") == ()
    assert server.fetches == before + 1


async def test_event_loops_in_two_threads_do_not_wait_for_each_others_fetch(server):
    verifier, token = server.verifier(), server.signer.mint()
    server.gate.clear()
    elsewhere = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(verifier.verify(token))))
    await until(lambda: server.requests)
    here = asyncio.create_task(verifier.verify(token))
    await asyncio.sleep(0.01)
    server.gate.set()
    assert (await here).subject == (await elsewhere).subject == "user-1"


async def test_a_verifier_outlives_the_event_loop_it_was_first_used_in(server):
    verifier, token = server.verifier(), server.signer.mint()
    server.gate.clear()

    async def leave_in_the_middle_of_a_fetch():
        waiting = asyncio.create_task(verifier.verify(token))
        await until(lambda: server.requests)
        waiting.cancel()

    await asyncio.to_thread(lambda: asyncio.run(leave_in_the_middle_of_a_fetch()))
    server.gate.set()
    assert (await verifier.verify(token)).subject == "user-1"


async def test_discovery_is_asked_again_in_time(server, clock):
    verifier = server.verifier(default_ttl=60, max_ttl=1000)
    for seconds, asked in ((0, 1), (900, 1), (99, 1), (61, 2)):
        clock.now += seconds
        await verifier.verification.find_cache(server.signer.issuer).find_keys(None)
        assert server.requests["/demo/.well-known/openid-configuration"] == asked


async def test_keys_are_good_for_their_time_even_if_nothing_stale_is_wanted(server, clock, answer):
    verifier = server.verifier(stale=0)
    await verifier.verify(server.signer.mint())
    server.answers["/demo/jwks"] = answer(status=500)
    clock.now += 299
    await verifier.verify(server.signer.mint())
    clock.now += 2
    with pytest.raises(KeysUnavailable):
        await verifier.verify(server.signer.mint())
