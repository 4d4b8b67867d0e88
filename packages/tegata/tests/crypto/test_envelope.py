"""Sealed values: open under the right key, tenant and purpose, and under nothing else."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegata.crypto.envelope import (
    Envelope,
    SealBroken,
    derive_key,
    new_master_key,
    open_successor,
    seal_successor,
)

OLD, NEW = b"o" * 32, b"n" * 32
ENVELOPE = Envelope([NEW, OLD])
SEALED = ENVELOPE.seal(b"secret", tenant="t1", purpose="signing-key")


def opens(
    sealed: bytes, envelope: Envelope = ENVELOPE, tenant: str = "t1", purpose: str = "signing-key"
) -> bytes | None:
    try:
        return envelope.open(sealed, tenant=tenant, purpose=purpose)
    except SealBroken:
        return None


@given(st.binary(), st.uuids(), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_sealed_value_opens_again(plaintext: bytes, tenant: object, purpose: str) -> None:
    sealed = ENVELOPE.seal(plaintext, tenant=str(tenant), purpose=purpose)
    assert opens(sealed, tenant=str(tenant), purpose=purpose) == plaintext
    assert sealed != ENVELOPE.seal(plaintext, tenant=str(tenant), purpose=purpose)


@pytest.mark.parametrize(
    ("tenant", "purpose"),
    [("t2", "signing-key"), ("t1", "other"), ("", "signing-key"), ("t1", ""), ("signing-key", "t1")],
)
def test_it_does_not_open_for_another_tenant_or_purpose(tenant: str, purpose: str) -> None:
    assert opens(SEALED, tenant=tenant, purpose=purpose) is None


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_it_does_not_open_with_any_byte_changed(position: int, change: int) -> None:
    mutated = bytearray(SEALED)
    mutated[position] ^= change
    assert opens(bytes(mutated)) is None


@given(st.integers(0, len(SEALED) - 1))
def test_it_does_not_open_when_cut_short(length: int) -> None:
    assert opens(SEALED[:length]) is None
    assert opens(SEALED + SEALED[:length] + b"x") is None


@given(st.binary(max_size=80))
def test_any_bytes_are_refused(raw: bytes) -> None:
    assert opens(raw) is None
    assert opens(SEALED[:5] + raw) is None


def test_the_first_master_key_seals_and_every_one_opens() -> None:
    by_old = Envelope([OLD]).seal(b"secret", tenant="t1", purpose="signing-key")
    assert opens(by_old) == b"secret"
    assert opens(SEALED, Envelope([NEW])) == b"secret"
    assert opens(SEALED, Envelope([OLD])) is None


def test_keys_are_read_from_text_separated_by_commas_or_space() -> None:
    first, second = new_master_key(), new_master_key()
    for text in (f"{first},{second}", f" {first}\n{second} ", first.rstrip("=") + ", " + second.rstrip("=")):
        sealed = Envelope.from_text(second).seal(b"x", tenant="t1", purpose="signing-key")
        assert opens(sealed, Envelope.from_text(text)) == b"x"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(" , ", id="separators"),
        pytest.param("aHVzaA", id="too short"),
        pytest.param(base64.urlsafe_b64encode(b"hush" * 16).decode(), id="too long"),
        pytest.param("hush" * 10 + "!", id="no base64url"),
        pytest.param("hüsh" * 11, id="no ASCII"),
        pytest.param(new_master_key() + ",hush", id="a good one and a bad one"),
    ],
)
def test_a_malformed_key_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="master key") as refused:
        Envelope.from_text(text)
    assert "hush" not in str(refused.value)


@given(st.text())
def test_any_text_is_a_key_or_refused(text: str) -> None:
    with pytest.raises(ValueError, match="master key"):
        Envelope.from_text(text)


def test_keys_stay_out_of_the_representation() -> None:
    assert "nnnn" not in repr(ENVELOPE)
    assert "nnnn" not in str(ENVELOPE)


def test_a_new_master_key_is_new_and_usable() -> None:
    assert new_master_key() != new_master_key()
    Envelope.from_text(new_master_key())


def test_only_who_holds_the_presented_token_reads_its_successor() -> None:
    """Pitfalls P23."""
    sealed = seal_successor("presented", "successor")
    assert open_successor("presented", sealed) == "successor"
    assert b"successor" not in sealed
    assert sealed != seal_successor("presented", "successor")
    for presented, raw in (("other", sealed), ("presented", sealed[:-1]), ("presented", b""), ("", sealed)):
        with pytest.raises(SealBroken):
            open_successor(presented, raw)


def test_a_derived_key_is_for_one_purpose() -> None:
    assert derive_key(OLD, "a") == derive_key(OLD, "a")
    assert len({derive_key(OLD, "a"), derive_key(OLD, "b"), derive_key(NEW, "a"), OLD}) == 4
