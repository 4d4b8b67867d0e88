"""Digests: the specifications' own vectors, and that nothing two different things have is the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegata.crypto import digests


def test_the_code_challenge_of_rfc_7636_appendix_b() -> None:
    assert digests.s256("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.mark.parametrize(
    ("value", "half"),
    [
        pytest.param("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y", "77QmUPtjPfzWtF2AnpK9RQ", id="at_hash of §A.3"),
        pytest.param(
            "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk", "LDktKdoQak3Pk0cnXxCltA", id="c_hash of §A.4"
        ),
    ],
)
def test_the_half_hashes_of_openid_connect_core(value: str, half: str) -> None:
    assert digests.half_hash(value) == half


def test_base64url_of_rfc_7515_appendix_c() -> None:
    assert digests.base64url(bytes([3, 236, 255, 224, 193])) == "A-z_4ME"


def test_a_new_secret_has_256_random_bits_and_an_identifier_128() -> None:
    assert len({digests.new_secret() for _ in range(100)}) == 100
    assert {len(digests.new_secret()) for _ in range(20)} == {43}
    assert {len(digests.new_identifier()) for _ in range(20)} == {22}
    assert all(character.isalnum() or character in "-_" for character in digests.new_secret())


@given(st.text(st.characters()), st.text(st.characters()))
def test_a_secret_matches_its_own_digest_only(secret: str, other: str) -> None:
    """Even text that is no UTF-8: whatever is sent, it is compared and not a fault."""
    assert digests.matches(digests.digest_of(secret), secret)
    assert digests.matches(digests.digest_of(secret), other) is (secret == other)


texts = st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=3)


@given(texts, texts)
def test_a_keyed_digest_tells_its_parts_apart(one: list[str], other: list[str]) -> None:
    same = digests.keyed_digest(b"k", *one) == digests.keyed_digest(b"k", *other)
    assert same is (one == other)


def test_a_keyed_digest_depends_on_where_its_parts_end_and_on_its_key() -> None:
    assert digests.keyed_digest(b"k", "a", "bc") != digests.keyed_digest(b"k", "ab", "c")
    assert digests.keyed_digest(b"k", "a") != digests.keyed_digest(b"l", "a")
    assert digests.keyed_digest(b"k", "") != digests.keyed_digest(b"k")
