"""Whatever comes with a request, a guard that takes everything gives a principal or an `AccessError`, never a fault."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import cache
from types import SimpleNamespace

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tegata_verify import (
    AccessError,
    AccessPolicy,
    ClientCertificates,
    DpopNonces,
    DpopPolicy,
    Guard,
    HttpRequest,
    Introspection,
    build_requirement,
)
from tegata_verify.client import ClientSecret
from tegata_verify.testing import TestAlb, TestCertificate, TestDpopKey, TestIssuer

NOW = 1_700_000_000.0
PEER, HOST = "10.0.0.7", "https://api.test"
relaxed = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


class NobodyKnows(httpx2.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"active": False})


@cache
def bench() -> SimpleNamespace:
    """Everything a guard can be given, and good headers of each kind."""
    issuer, key, certificate = TestIssuer(clock=lambda: NOW), TestDpopKey(clock=lambda: NOW), TestCertificate()
    alb, way, nonces = TestAlb(issuer, peer=PEER), ClientCertificates.nginx([PEER]), DpopNonces()
    introspection = Introspection(
        issuer.rules, ClientSecret("api", "s"), url="https://issuer.test/ask", transport=NobodyKnows, clock=lambda: NOW
    )
    policy = AccessPolicy(roles={"viewer": ["*"]}, scopes={"read": {"methods": ["GET"], "permissions": ["*"]}})
    guard = Guard(
        issuer.verifier(),
        alb=alb.verifier(),
        dpop=DpopPolicy(HOST, nonces=nonces),
        certificates=way,
        introspection=introspection,
        policy=policy,
    )
    who = {"scope": "read", "roles": ["viewer"]}
    token = issuer.mint(bound_to=key, **who)
    good = [
        *alb.mint_headers(**who),
        *issuer.headers(**who).items(),
        *key.headers("GET", f"{HOST}/beers", token, nonce=nonces.make(NOW)).items(),
        *certificate.headers(way).items(),
    ]
    return SimpleNamespace(guard=guard, good=[(name.lower().encode(), value.encode()) for name, value in good])


@st.composite
def damaged(draw, value):
    place, cut = draw(st.integers(0, len(value))), draw(st.integers(0, 4))
    return value[:place] + draw(st.binary(max_size=4)) + value[place + cut :]


@st.composite
def fields(draw):
    found = draw(st.lists(st.sampled_from(bench().good), max_size=6))
    names = st.sampled_from(sorted({name for name, _ in bench().good}))
    found += draw(st.lists(st.tuples(names, st.binary(max_size=40)), max_size=2))
    return [(name, draw(damaged(value)) if draw(st.booleans()) else value) for name, value in found]


@given(
    headers=fields(),
    method=st.sampled_from(["GET", "POST", "get", "", "\ud800", "CONNECT"]),
    path=st.binary(max_size=30) | st.sampled_from([b"/beers", b"", b"*", b"http://x/beers", b"//x", b"/%"]),
    query=st.binary(max_size=30),
    peer=st.sampled_from([PEER, None, "", "::ffff:10.0.0.7", "unix:", "10.0.0.7%eth0", "::1%1"]),
    known=st.booleans(),
)
@relaxed
def test_anything_with_a_request_is_judged(headers, method, path, query, peer, known):
    url = HOST + path.decode("latin-1")
    request = HttpRequest(method, url, tuple(headers), query, peer, path if known else None)
    with suppress(AccessError):
        asyncio.run(bench().guard.authorize(request, build_requirement(scope="read")))


@pytest.mark.parametrize("some", [slice(0, 3), slice(3, 4), slice(4, 6)], ids=["load balancer", "bearer", "proof"])
def test_the_good_ones_are_good(some):
    request = HttpRequest("GET", f"{HOST}/beers", tuple(bench().good[some]), b"", PEER, b"/beers")
    assert asyncio.run(bench().guard.authorize(request, build_requirement(scope="read"))).subject == "user-1"
