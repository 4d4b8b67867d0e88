"""Passwords: argon2id, and an absent account that costs as much as a present one."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import VerifyMismatchError

from tegata.crypto import passwords
from tegata.crypto.passwords import MAX_PASSWORD_CHARACTERS, hash_password, needs_rehash, verify_password

PASSWORD = "correct horse 馬 battery"
HASH = hash_password(PASSWORD)


def costs(password_hash: str) -> tuple[object, ...]:
    found = extract_parameters(password_hash)
    return found.type, found.time_cost, found.memory_cost, found.parallelism, found.hash_len


def test_the_right_password_and_no_other_is_accepted() -> None:
    assert verify_password(HASH, PASSWORD)
    for wrong in ("", PASSWORD + " ", PASSWORD.upper(), PASSWORD[:-1]):
        assert not verify_password(HASH, wrong)


def test_two_hashes_of_one_password_differ() -> None:
    assert hash_password(PASSWORD) != HASH


def test_the_parameters_are_those_of_the_cheat_sheet() -> None:
    assert costs(HASH) == (Type.ID, 2, 19_456, 1, 32)
    assert not needs_rehash(HASH)
    assert needs_rehash(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("x"))


@pytest.mark.parametrize("kept", ["", "plain", "$2b$12$abcdefghijklmnopqrstuv", "$argon2id$v=19$m=19456,t=2,p=1$x$y"])
def test_what_is_no_hash_accepts_nothing(kept: str) -> None:
    assert not verify_password(kept, kept)
    assert not verify_password(kept, "")


def test_an_absent_account_accepts_nothing_and_is_really_computed() -> None:
    """A malformed stand-in would be answered at once, and so tell which accounts exist."""
    assert not verify_password(None, PASSWORD)
    with pytest.raises(VerifyMismatchError):
        PasswordHasher().verify(passwords._NOBODY, PASSWORD)
    assert costs(passwords._NOBODY) == costs(HASH)


def test_a_password_that_is_too_long_is_never_right() -> None:
    longest = "x" * MAX_PASSWORD_CHARACTERS
    assert verify_password(hash_password(longest), longest)
    assert not verify_password(hash_password(longest + "x"), longest + "x")
