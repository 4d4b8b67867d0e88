"""No token that an issuer did not sign, byte for byte, is ever accepted."""

from __future__ import annotations

import asyncio
import json
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tegata_verify import Reason, TokenError

from ..issuers.vendors import all_vendors, sign, signing_key  # noqa: TID252 - tests have no absolute name
from .forgery import b64, unb64

# A busy machine must not fail these: no deadline, no complaint about slow generation.
relaxed = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

each = pytest.mark.parametrize("vendor", all_vendors(), ids=lambda vendor: vendor.name)


@cache
def good(name):
    """One good token of each issuer, and another of the same issuer with more rights; and a verifier that saw both."""
    vendor = next(vendor for vendor in all_vendors() if vendor.name == name)
    verifier = vendor.verifier()
    tokens = vendor.mint(), vendor.mint({"sub": "admin", "scope": "admin", "scp": "Admin"})
    for token in tokens:
        asyncio.run(verifier.verify(token))
    return verifier, *tokens


def refuse(verifier, token):
    with pytest.raises(TokenError) as caught:
        asyncio.run(verifier.verify(token))
    return caught.value.reason


@each
@given(data=st.data())
@relaxed
def test_flipped_bits(vendor, data):
    verifier, token, _ = good(vendor.name)
    raw = bytearray(token.encode())
    for place in data.draw(st.sets(st.integers(0, len(raw) * 8 - 1), min_size=1, max_size=4)):
        raw[place // 8] ^= 1 << place % 8
    refuse(verifier, raw.decode("latin-1"))


@each
@given(data=st.data())
@relaxed
def test_flipped_bits_inside_the_decoded_segments(vendor, data):
    verifier, token, _ = good(vendor.name)
    segments = [bytearray(unb64(segment)) for segment in token.split(".")]
    segment = segments[data.draw(st.integers(0, 2))]
    place = data.draw(st.integers(0, len(segment) * 8 - 1))
    segment[place // 8] ^= 1 << place % 8
    refuse(verifier, ".".join(b64(bytes(segment)) for segment in segments))


@each
@given(data=st.data())
@relaxed
def test_segments_of_two_good_tokens_mixed(vendor, data):
    verifier, first, second = good(vendor.name)
    pool = first.split(".") + second.split(".")
    mixed = ".".join(data.draw(st.lists(st.sampled_from(pool), min_size=3, max_size=3)))
    header = first.split(".")[0]
    same = {first, second, f"{header}.{first.partition('.')[2]}", f"{header}.{second.partition('.')[2]}"}
    if mixed not in same:
        refuse(verifier, mixed)


@each
@given(data=st.data())
@relaxed
def test_text_cut_out_and_put_in(vendor, data):
    verifier, token, _ = good(vendor.name)
    place = data.draw(st.integers(0, len(token)))
    cut = data.draw(st.integers(0, 8))
    changed = token[:place] + data.draw(st.text(max_size=8)) + token[place + cut :]
    if changed != token:
        refuse(verifier, changed)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(
    [
        "alg",
        "kid",
        "typ",
        "jwk",
        "jku",
        "iss",
        "sub",
        "aud",
        "exp",
        "nbf",
        "scope",
        "scp",
        "roles",
        "azp",
        "token_use",
        "tid",
    ]
)


@each
@given(header=st.dictionaries(names, json_values, max_size=3), claims=st.dictionaries(names, json_values, max_size=4))
@relaxed
def test_header_and_claims_edited_under_the_old_signature(vendor, header, claims):
    verifier, token, _ = good(vendor.name)
    head, body, signature = token.split(".")
    edited = [b64({**json.loads(unb64(head)), **header}), b64({**json.loads(unb64(body)), **claims})]
    if edited != [head, body]:
        refuse(verifier, ".".join([*edited, signature]))


@each
@given(claims=st.dictionaries(names, json_values, max_size=4))
@relaxed
def test_claims_edited_and_signed_by_another_key(vendor, claims):
    verifier, token, _ = good(vendor.name)
    body = {**json.loads(unb64(token.split(".")[1])), **claims}
    mallory = signing_key("mallory", vendor.algorithm)
    forged = sign(vendor.access[0], body, mallory)
    reason = refuse(verifier, forged)
    expected = Reason.BAD_SIGNATURE if body.get("iss") == vendor.access[1]["iss"] else Reason.UNKNOWN_ISSUER
    assert reason == expected
