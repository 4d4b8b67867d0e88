"""Page values are plain, frozen and safe to log by type."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest

from tegata.web import pages


@pytest.mark.parametrize("kind", get_args(pages.Page))
def test_every_page_is_a_frozen_slotted_dataclass(kind: type) -> None:
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert hasattr(kind, "__slots__")


@pytest.mark.parametrize("kind", get_args(pages.Page))
def test_pages_hold_texts_flags_and_tuples_only(kind: type) -> None:
    allowed = ("str", "bool", "tuple[")
    for field in dataclasses.fields(kind):
        assert str(field.type).startswith(allowed), field.name


def test_no_page_is_given_a_password_by_a_person() -> None:
    assert "password" not in {field.name for field in dataclasses.fields(pages.SignInPage)}
