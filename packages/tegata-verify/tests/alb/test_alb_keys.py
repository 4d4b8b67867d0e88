"""The keys of load balancers: asked for once, rarely for strangers, kept through an outage."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tegata_verify import KeysUnavailable, Reason, TokenError

from .conftest import KID

pytestmark = pytest.mark.anyio


def build_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


async def outcome(alb, token: str) -> str:
    try:
        return (await alb.verify(token)).subject
    except (TokenError, KeysUnavailable) as error:
        return error.reason


def named(balancer, kid: str | None = None) -> str:
    return balancer.sign(balancer.header(kid=kid or str(uuid.uuid4())))


async def test_a_hundred_requests_at_once_cause_one_fetch(alb, balancer, publish, server, until):
    publish(balancer.pem)
    verifier = alb()
    server.gate.clear()
    waiting = [asyncio.create_task(outcome(verifier, balancer.sign())) for _ in range(100)]
    await until(lambda: server.requests)
    server.gate.set()
    assert set(await asyncio.gather(*waiting)) == {"user-1"}
    assert server.requests.total() == 1


async def test_a_waiter_that_gives_up_leaves_the_fetch_to_the_others(alb, balancer, publish, server, until):
    publish(balancer.pem)
    verifier = alb()
    server.gate.clear()
    first, second = (asyncio.create_task(verifier.verify(balancer.sign())) for _ in range(2))
    await until(lambda: server.requests)
    first.cancel()
    server.gate.set()
    assert (await second).subject == "user-1"
    assert server.requests.total() == 1


async def test_ten_thousand_made_up_names_cause_five_fetches(alb, balancer, server, clock):
    verifier = alb()
    reasons = Counter([await outcome(verifier, named(balancer)) for _ in range(10_000)])
    assert server.requests.total() == 5
    assert reasons == {Reason.UNKNOWN_KEY: 5, Reason.KEYS_UNAVAILABLE: 9_995}


async def test_made_up_names_do_not_harm_users_whose_key_is_known(alb, balancer, publish, server):
    publish(balancer.pem)
    verifier = alb()
    assert await outcome(verifier, balancer.sign()) == "user-1"
    for _ in range(200):
        await outcome(verifier, named(balancer))
    assert await outcome(verifier, balancer.sign()) == "user-1"
    assert server.requests.total() == 5


async def test_after_a_minute_new_names_are_asked_for_again(alb, balancer, publish, clock):
    verifier = alb()
    for _ in range(6):
        await outcome(verifier, named(balancer))
    publish(balancer.pem)
    with pytest.raises(KeysUnavailable) as caught:
        await verifier.verify(balancer.sign())
    assert 1 <= caught.value.retry_after_seconds <= 60
    clock.now += 60
    assert await outcome(verifier, balancer.sign()) == "user-1"


async def test_a_name_without_a_key_is_not_asked_for_again_so_soon(alb, balancer, publish, server, clock):
    verifier = alb()
    for _ in range(3):
        assert await outcome(verifier, balancer.sign()) == Reason.UNKNOWN_KEY
    assert server.requests.total() == 1
    clock.now += 60
    publish(balancer.pem)
    assert await outcome(verifier, balancer.sign()) == "user-1"


@pytest.mark.parametrize("status", [403, 404])
async def test_a_key_that_is_no_longer_published_is_withdrawn_when_it_is_renewed(alb, balancer, publish, clock, status):
    publish(balancer.pem)
    verifier = alb()
    assert await outcome(verifier, balancer.sign()) == "user-1"
    publish(b"", status=status)
    clock.now += 3600
    later = balancer.sign(balancer.header(exp=int(clock.now) + 60), balancer.claims(exp=int(clock.now) + 60))
    assert await outcome(verifier, later) == Reason.UNKNOWN_KEY


async def test_an_outage_of_the_keys_is_survived_for_a_day_and_no_longer(alb, balancer, publish, server, clock):
    path = publish(balancer.pem)
    verifier = alb()
    ever = {"exp": int(clock.now) + 1_000_000}
    token = balancer.sign(balancer.header(**ever), balancer.claims(**ever))
    assert await outcome(verifier, token) == "user-1"
    publish(b"busy", status=503)
    clock.now += 24 * 3600 - 1
    assert await outcome(verifier, token) == "user-1"
    clock.now += 1
    assert await outcome(verifier, token) == Reason.KEYS_UNAVAILABLE
    assert server.requests[path] == 2  # the second failure is too recent to try again
    publish(balancer.pem)
    clock.now += 5
    assert await outcome(verifier, token) == "user-1"


async def test_without_any_key_an_outage_is_no_judgement_about_the_token(alb, balancer, publish, server):
    publish(b"busy", status=500)
    verifier = alb()
    assert [await outcome(verifier, balancer.sign()) for _ in range(3)] == [Reason.KEYS_UNAVAILABLE] * 3
    assert server.requests.total() == 1


async def test_a_key_server_that_is_away_is_no_judgement_about_the_token(alb, rules, balancer, server):
    gone = replace(rules, key_url="http://127.0.0.1:1/{kid}")
    assert await outcome(alb(gone), balancer.sign()) == Reason.KEYS_UNAVAILABLE


async def test_a_broken_answer_does_not_replace_a_key_that_works(alb, balancer, publish, clock):
    publish(balancer.pem)
    verifier = alb()
    assert await outcome(verifier, balancer.sign()) == "user-1"
    publish(b"<html>")
    clock.now += 3600
    later = balancer.sign(balancer.header(exp=int(clock.now) + 60), balancer.claims(exp=int(clock.now) + 60))
    assert await outcome(verifier, later) == "user-1"


async def test_no_more_keys_are_kept_than_allowed(alb, balancer, publish, server):
    verifier = alb(max_keys=2, new_keys=10)
    kids = [str(uuid.uuid4()) for _ in range(3)]
    paths = [publish(balancer.pem, kid) for kid in kids]
    for kid in (*kids, kids[2], kids[0]):
        assert await outcome(verifier, named(balancer, kid)) == "user-1"
    assert [server.requests[path] for path in paths] == [2, 1, 1]


EC, OTHER_EC = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
BODIES = {
    "a page": b"<!DOCTYPE html><html><body>Sign in</body></html>",
    "nothing": b"",
    "another curve": build_pem(ec.generate_private_key(ec.SECP384R1())),
    "the curve of Bitcoin": build_pem(ec.generate_private_key(ec.SECP256K1())),
    "an RSA key": build_pem(rsa.generate_private_key(65537, 2048)),
    "two keys": build_pem(EC) + build_pem(OTHER_EC),
    "a private key": EC.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    "a key and a page": build_pem(EC) + b"<html>",
    "a text before the key": b"Subject: x\n" + build_pem(EC),
    "half a key": build_pem(EC)[:90] + b"\n-----END PUBLIC KEY-----\n",
    "a key set": b'{"keys": []}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_what_is_not_one_p256_key_is_not_taken_for_one(alb, balancer, publish, body):
    publish(body)
    assert await outcome(alb(), balancer.sign(key=EC)) == Reason.KEYS_UNAVAILABLE


async def test_line_ends_of_another_system_do_no_harm(alb, balancer, publish):
    publish(balancer.pem.replace(b"\n", b"\r\n"))
    assert await outcome(alb(), balancer.sign()) == "user-1"


async def test_a_redirect_is_not_followed(alb, balancer, publish, server):
    elsewhere = publish(balancer.pem, "elsewhere")
    publish(b"", status=302, headers={"Location": f"{server.base}{elsewhere}"})
    assert await outcome(alb(), balancer.sign()) == Reason.KEYS_UNAVAILABLE
    assert server.requests[elsewhere] == 0


async def test_an_answer_beyond_the_cap_is_not_read(alb, balancer, publish):
    publish(balancer.pem + b"\n" * 8192)
    assert await outcome(alb(), balancer.sign()) == Reason.KEYS_UNAVAILABLE


async def test_an_answer_that_drips_is_given_up(alb, balancer, publish):
    publish(balancer.pem, drip_seconds=0.05)
    assert await outcome(alb(timeout=0.2), balancer.sign()) == Reason.KEYS_UNAVAILABLE


async def test_a_fetch_under_way_ends_with_the_verifier(alb, balancer, publish, server, until):
    publish(balancer.pem)
    verifier = alb()
    server.gate.clear()
    waiting = asyncio.create_task(verifier.verify(balancer.sign()))
    await until(lambda: server.requests)
    await verifier.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert KID in next(iter(server.requests))
