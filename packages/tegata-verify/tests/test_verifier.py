"""One call for any of the trusted issuers, and what it remembers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tegata_verify import CachePolicy, Generic, Reason, Tegata, TokenError, Verifier
from tegata_verify.testing import TestIssuer, build_verifier

pytestmark = pytest.mark.anyio


async def refusal(verifier, token):
    with pytest.raises(TokenError) as caught:
        await verifier.verify(token)
    return caught.value.reason


@pytest.fixture
def issuer(clock):
    return TestIssuer("https://id.example/demo", clock=clock)


async def test_a_token_becomes_a_principal(issuer):
    principal = await issuer.verifier().verify(issuer.mint(subject="me", scope="read", roles=["admin"]))
    assert (principal.subject, principal.issuer, principal.tenant) == ("me", issuer.issuer, "demo")
    assert (principal.scopes, principal.roles) == ({"read"}, {"admin"})


async def test_each_of_several_issuers_is_judged_by_its_own_keys_and_rules(clock):
    demo = TestIssuer("https://id.example/demo", audience="a", clock=clock)
    other = TestIssuer("https://id.example/other", audience="b", algorithm="RS256", clock=clock)
    verifier = build_verifier(demo, other, clock=clock)
    assert (await verifier.verify(demo.mint())).tenant == "demo"
    assert (await verifier.verify(other.mint())).tenant == "other"
    assert await refusal(verifier, demo.mint(audience="b")) == Reason.WRONG_AUDIENCE
    # Demo signs in the name of other, with its own key's name and with the other's.
    assert await refusal(verifier, demo.mint(claims={"iss": other.issuer}, audience="b")) == Reason.UNKNOWN_KEY
    forged = demo.mint(claims={"iss": other.issuer}, audience="b", header={"kid": other.key.kid})
    assert await refusal(verifier, forged) == Reason.WRONG_KEY


@pytest.mark.parametrize(
    "iss", ["https://id.example/dem", "https://id.example/demo/", "https://id.example", None, 7, []]
)
async def test_an_issuer_that_is_not_named_to_the_letter_is_unknown_and_nothing_is_fetched(server, iss):
    verifier = server.verifier()
    assert await refusal(verifier, server.signer.mint(claims={"iss": iss})) == Reason.UNKNOWN_ISSUER
    assert not server.requests


@pytest.mark.parametrize(
    "change", [{"header": {"alg": "none"}}, {"header": {"typ": "JWT"}}, {"header": {"crit": ["x"]}}]
)
async def test_nothing_is_fetched_for_a_token_that_cannot_become_good(server, issuer, change):
    header = {"alg": "ES256", "typ": "at+jwt", "kid": "x", **change["header"]}
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    with pytest.raises(TokenError):
        await server.verifier().verify(f"{head}.{server.signer.mint().split('.')[1]}.AAAA")
    assert not server.requests


def test_an_issuer_is_named_once():
    rules = Tegata("https://id.example/demo", ["a"])
    with pytest.raises(ValueError, match="each issuer once"):
        Verifier(rules, Generic("https://id.example/demo", ["b"]))
    with pytest.raises(ValueError, match="at least one"):
        Verifier()


# --- what is remembered ---


async def test_a_repeated_token_is_not_verified_again(issuer, clock):
    verifier, token = issuer.verifier(), issuer.mint()
    first = await verifier.verify(token)
    assert await verifier.verify(token) is first


@pytest.mark.parametrize(("seconds", "again"), [(59, False), (60, True), (-1, True)])
async def test_a_verification_is_remembered_for_a_minute(issuer, clock, seconds, again):
    verifier, token = issuer.verifier(), issuer.mint()
    first = await verifier.verify(token)
    clock.now += seconds
    assert (await verifier.verify(token) is not first) == again


async def test_a_verification_is_never_remembered_beyond_expiry(issuer, clock):
    verifier, token = issuer.verifier(), issuer.mint(lifetime_seconds=10)
    await verifier.verify(token)
    clock.now += 10 + issuer.rules.leeway_seconds
    assert await refusal(verifier, token) == Reason.EXPIRED


async def test_within_the_leeway_nothing_is_remembered(issuer, clock):
    verifier, token = issuer.verifier(), issuer.mint(lifetime_seconds=10)
    clock.now += 20
    assert await verifier.verify(token) is not await verifier.verify(token)


async def test_a_refusal_is_not_remembered(issuer, clock):
    verifier, token = issuer.verifier(), issuer.mint(claims={"nbf": clock.now + 100})
    assert await refusal(verifier, token) == Reason.NOT_YET_VALID
    clock.now += 100
    await verifier.verify(token)


async def test_the_memory_is_bounded_and_keeps_what_was_used_last(issuer):
    verifier = Verifier(
        issuer.rules,
        transport=issuer.transport,
        clock=issuer.clock,
        cache_policy=CachePolicy(timeout=60),
        remembered_tokens=3,
    )
    tokens = [issuer.mint(subject=f"user-{n}") for n in range(4)]
    first = await verifier.verify(tokens[0])
    for token in tokens[1:3]:
        await verifier.verify(token)
    assert await verifier.verify(tokens[0]) is first
    await verifier.verify(tokens[3])
    assert len(verifier.verification.memory) == 3
    assert await verifier.verify(tokens[0]) is first


async def test_a_token_is_remembered_by_its_digest_alone(issuer):
    verifier, token = issuer.verifier(), issuer.mint()
    await verifier.verify(token)
    memory = verifier.verification.memory
    assert hashlib.sha256(token.encode()).digest() in memory
    assert len(memory) == 1
    assert not any(token.split(".")[n] in repr(memory._kept) for n in range(3))


async def test_another_spelling_of_a_remembered_token_is_another_token(issuer):
    verifier, token = issuer.verifier(), issuer.mint()
    await verifier.verify(token)
    for spelled in (token + "=", token + "\n", " " + token, token.replace(".", "．"), token + "\ud800"):
        assert await refusal(verifier, spelled) == Reason.MALFORMED_TOKEN


async def test_the_size_is_bounded_before_anything_else(issuer):
    assert await refusal(issuer.verifier(), "a" * (16 * 1024 + 1)) == Reason.TOKEN_TOO_LARGE


@given(anything=st.text())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_anything_at_all_is_refused(anything):
    issuer = TestIssuer()
    with pytest.raises(TokenError):
        asyncio.run(issuer.verifier().verify(anything))


async def test_a_policy_is_taken_for_every_issuer(issuer):
    verifier = issuer.verifier(cache_policy=CachePolicy(max_keys=1))
    issuer.rotate()
    with pytest.raises(Exception, match="more than 1 keys"):
        await verifier.verify(issuer.mint())
