"""No `x-amzn-oidc-data` that the load balancer did not sign, byte for byte, is ever accepted."""

from __future__ import annotations

import asyncio
import base64
import json
from functools import cache

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tegata_verify import AccessError, Guard, HttpRequest, TokenError
from tegata_verify.alb import Alb, AlbVerifier
from tegata_verify.alb_keys import AlbKeyPolicy
from tegata_verify.testing import TestIssuer

from .conftest import ARN, CLIENT, KID, Balancer, padded, segment

NOW = 1_700_000_000.0
PEER = "10.0.0.7"

# A busy machine must not fail these: no deadline, no complaint about slow generation.
relaxed = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


class OneKey(httpx2.AsyncBaseTransport):
    """The address of the keys, which knows one name."""

    def __init__(self, pem: bytes) -> None:
        self._pem = pem

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        is_there = request.url.path.endswith(KID)
        return httpx2.Response(200, content=self._pem) if is_there else httpx2.Response(403)


class Bench:
    """One load balancer with two good tokens, what verifies them, and a guard that has it."""

    def __init__(self) -> None:
        self.issuer = TestIssuer(clock=lambda: NOW)
        self.balancer = Balancer(NOW)
        self.header = self.balancer.header(iss=self.issuer.issuer)
        self.claims = self.balancer.claims(iss=self.issuer.issuer)
        rules = Alb([ARN], self.issuer.issuer, [CLIENT], trusted_peers=[PEER], allow_loopback_http=True)
        transport = OneKey(self.balancer.pem)
        # Made-up names of keys must not end in 503 here: that would hide what is thought of the token.
        self.alb = AlbVerifier(
            rules, transport=lambda: transport, clock=lambda: NOW, key_policy=AlbKeyPolicy(new_keys=10_000, timeout=60)
        )
        self.guard = Guard(self.issuer.verifier(), alb=self.alb)
        self.good = self.balancer.sign(self.header, self.claims)
        self.other = self.balancer.sign(self.header, {**self.claims, "sub": "admin", "name": "Ann"})
        self.access = self.issuer.mint(client_id=CLIENT)
        for token in (self.good, self.other):
            asyncio.run(self.alb.verify(token))
        asyncio.run(self.guard.authorize(self.request(self.good)))

    def request(self, data: str) -> HttpRequest:
        headers = {"accesstoken": self.access, "data": data, "identity": "user-1"}
        fields = tuple((f"x-amzn-oidc-{name}".encode(), value.encode("latin-1")) for name, value in headers.items())
        return HttpRequest("GET", "https://api.test/", fields, peer=PEER)


@cache
def bench() -> Bench:
    return Bench()


def refuse(token):
    with pytest.raises(TokenError):
        asyncio.run(bench().alb.verify(token))


@given(data=st.data())
@relaxed
def test_flipped_bits(data):
    raw = bytearray(bench().good.encode())
    for place in data.draw(st.sets(st.integers(0, len(raw) * 8 - 1), min_size=1, max_size=4)):
        raw[place // 8] ^= 1 << place % 8
    refuse(bytes(raw))
    with pytest.raises(AccessError):
        asyncio.run(bench().guard.authorize(bench().request(raw.decode("latin-1"))))


@given(data=st.data())
@relaxed
def test_flipped_bits_inside_the_decoded_segments(data):
    segments = [bytearray(base64.urlsafe_b64decode(text)) for text in bench().good.split(".")]
    changed = segments[data.draw(st.integers(0, 2))]
    place = data.draw(st.integers(0, len(changed) * 8 - 1))
    changed[place // 8] ^= 1 << place % 8
    refuse(".".join(padded(bytes(text)) for text in segments))


@given(data=st.data())
@relaxed
def test_segments_of_two_good_tokens_mixed(data):
    pool = bench().good.split(".") + bench().other.split(".")
    mixed = ".".join(data.draw(st.lists(st.sampled_from(pool), min_size=3, max_size=3)))
    assume(mixed not in (bench().good, bench().other))
    refuse(mixed)


@given(data=st.data())
@relaxed
def test_text_cut_out_and_put_in(data):
    token = bench().good
    place, cut = data.draw(st.integers(0, len(token))), data.draw(st.integers(0, 8))
    added = data.draw(st.text(max_size=8) | st.text("=.-_AQgw", max_size=4) | st.text(st.characters(codec=None)))
    changed = token[:place] + added + token[place + cut :]
    assume(changed != token)
    refuse(changed)


@given(data=st.data())
@relaxed
def test_other_amounts_of_padding(data):
    segments = [text.rstrip("=") for text in bench().good.split(".")]
    changed = ".".join(text + "=" * data.draw(st.integers(0, 4)) for text in segments)
    assume(changed != bench().good)
    refuse(changed)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(["alg", "kid", "typ", "jwk", "iss", "sub", "client", "signer", "exp", "nbf", "name"])
edits = st.dictionaries(names, json_values, max_size=4)


@given(header=edits, claims=edits)
@relaxed
def test_header_and_claims_edited_under_the_old_signature(header, claims):
    edited = [segment({**bench().header, **header}), segment({**bench().claims, **claims})]
    assume(edited != bench().good.split(".")[:2])
    refuse(".".join([*edited, bench().good.split(".")[2]]))


@given(claims=edits)
@relaxed
def test_claims_edited_and_signed_by_another_key(claims):
    mallory = generate_private_key(SECP256R1())
    refuse(bench().balancer.sign(bench().header, {**bench().claims, **claims}, mallory))


@given(name=st.sampled_from(["alg", "kid", "iss", "client", "signer"]), value=json_values | st.text())
@relaxed
def test_another_header_though_the_load_balancer_signed_it(name, value):
    refuse(bench().balancer.sign({**bench().header, name: value}, bench().claims))


@given(anything=st.text(st.characters(codec=None)) | st.binary())
@relaxed
def test_anything_at_all(anything):
    refuse(anything)


def test_the_good_ones_are_good_still():
    assert asyncio.run(bench().alb.verify(bench().good)).subject == json.loads(segment_of(bench().good))["sub"]


def segment_of(token):
    return base64.urlsafe_b64decode(token.split(".")[1])


@pytest.mark.parametrize("text", ["\ud800", "a.b.\udfff", "\udcff.\udcff.\udcff"], ids=ascii)
def test_half_a_surrogate_pair_is_malformed_as_any_other_text(text):
    refuse(text)
