"""No DPoP proof that the token's own client did not make, byte for byte, is ever accepted."""

from __future__ import annotations

import asyncio
import base64
import json
from functools import cache

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tegata_verify import AccessError, DpopPolicy, Guard, Reason, UsedProof
from tegata_verify.testing import TestIssuer

from .proofs import BASE, NOW, Client, b64, request

# A busy machine must not fail these: no deadline, no complaint about slow generation.
relaxed = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


class KnowsNothing:
    """Takes every proof for a new one, so that it is what a proof says that is refused."""

    def remember(self, proof: UsedProof) -> bool:
        return True


class Bench:
    """A guard, and two good proofs of one client: for this request, and for another."""

    def __init__(self) -> None:
        issuer, self.client = TestIssuer(clock=lambda: NOW), Client()
        self.token = issuer.mint(claims={"cnf": {"jkt": self.client.thumbprint}})
        self.guard = Guard(issuer.verifier(), dpop=DpopPolicy(BASE, memory=KnowsNothing()))
        self.good, self.other = (self.client.prove(self.token, {"htm": method}) for method in ("GET", "POST"))

    def authorize(self, proof: str, method: str = "GET") -> None:
        more = ((b"dpop", proof.encode("utf-8", "surrogatepass")),)
        asyncio.run(self.guard.authorize(request(self.token, method=method, more=more)))


@cache
def bench() -> Bench:
    return Bench()


def refuse(proof: str) -> Reason:
    with pytest.raises(AccessError) as caught:
        bench().authorize(proof)
    return caught.value.reason


def unb64(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "==")


@given(data=st.data())
@relaxed
def test_flipped_bits_in_the_text_and_inside_the_segments(data):
    segments = [bytearray(unb64(segment)) for segment in bench().good.split(".")]
    changed = segments[data.draw(st.integers(0, 2))]
    place = data.draw(st.integers(0, len(changed) * 8 - 1))
    changed[place // 8] ^= 1 << place % 8
    refuse(".".join(b64(bytes(segment)) for segment in segments))
    text = bytearray(bench().good.encode())
    place = data.draw(st.integers(0, len(text) * 8 - 1))
    text[place // 8] ^= 1 << place % 8
    assume(text.strip(b" \t") != bench().good.encode())
    refuse(text.decode("latin-1"))


@given(data=st.data())
@relaxed
def test_text_cut_out_and_put_in_and_segments_mixed(data):
    good = bench().good
    place, cut = data.draw(st.integers(0, len(good))), data.draw(st.integers(0, 8))
    changed = good[:place] + data.draw(st.text(max_size=8)) + good[place + cut :]
    assume(changed.strip(" \t") != good)
    refuse(changed)
    pool = good.split(".") + bench().other.split(".")
    mixed = data.draw(st.lists(st.sampled_from(pool), min_size=3, max_size=3))
    assume(mixed != good.split("."))
    refuse(".".join(mixed))


values = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.lists(st.text(max_size=4), max_size=2)
names = st.sampled_from(["alg", "typ", "jwk", "kid", "htm", "htu", "iat", "jti", "ath", "nonce", "exp"])


@given(header=st.dictionaries(names, values, max_size=2), claims=st.dictionaries(names, values, max_size=3))
@relaxed
def test_members_edited_under_the_old_signature(header, claims):
    head, body, signature = bench().good.split(".")
    edited = [{**json.loads(unb64(head)), **header}, {**json.loads(unb64(body)), **claims}]
    refuse(".".join([*(b64(json.dumps(part).encode()) for part in edited), signature]))


def test_a_stranger_can_sign_with_neither_key():
    stranger = Client()
    for jwk in (stranger.jwk, bench().client.jwk):
        assert refuse(stranger.prove(bench().token, header={"jwk": jwk})) is Reason.WRONG_PROOF


def test_what_is_changed_above_is_good():
    bench().authorize(bench().good)
    bench().authorize(bench().other, "POST")
    assert refuse(bench().other) is Reason.WRONG_PROOF
