"""Accounts are found by what people type, in whatever width and case (RFC 8265 §3.3)."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tegata.identifiers import UserId
from tegata.identity.account import User, normalize_username


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("Taro", "taro"),
        (" taro ", "taro"),
        ("ｔａｒｏ＠ｅｘａｍｐｌｅ．ｃｏｍ", "taro@example.com"),
        ("ヤマダ", "ヤマダ"),
        ("ﾔﾏﾀﾞ", "ヤマダ"),
        ("山田\u3000", "山田"),
        ("STRASSE", "strasse"),
        ("straße", "strasse"),
        ("ＡＢＣ", "abc"),
        ("Å", "å"),
        ("\u212b", "å"),
        ("ß\u0301", "s\u015b"),
        ("\u0390", "\u0390"),
        ("\u0399\u0308\u0301", "\u0390"),
        ("", ""),
    ],
)
def test_what_is_typed_finds_the_account(typed: str, found: str) -> None:
    assert normalize_username(typed) == found


@given(st.text())
@example("ß\u0301")
@example("a\u0130\u0327")
def test_what_was_found_once_is_found_again(typed: str) -> None:
    once = normalize_username(typed)
    assert normalize_username(once) == once
    assert normalize_username(f"  {typed}\t") == once


@given(st.text(st.characters(exclude_categories=["Cs", "M"])))
@example("ß")
def test_case_makes_no_difference(typed: str) -> None:
    assert normalize_username(typed.casefold()) == normalize_username(typed)


def test_a_persons_data_stay_out_of_the_representation() -> None:
    assert "secret" not in repr(User(UserId(UUID(int=1)), "taro", {"email": "secret@example.com"}))
