"""What cannot share our environment has one of its own inside it, made once and again when its pins change."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from workspace.apart import PURPOSES, Apart
from workspace.environment import Environment

from .conftest import Recorded

each = pytest.mark.parametrize("purpose", PURPOSES)


class RecordedApart(Recorded, Apart):
    """One whose packages are only noted down."""


def prepared(checkout: Path, purpose: str) -> RecordedApart:
    subject = RecordedApart(Environment(checkout), purpose)
    subject.prepare(purpose)
    return subject


@each
def test_it_is_made_once_within_the_other_one(checkout: Path, purpose: str) -> None:
    first = prepared(checkout, purpose)
    assert first.done == ["create", purpose]
    assert first.directory == checkout / ".venv" / purpose
    assert json.loads((first.directory / f"tegata-{purpose}.json").read_text())["root"] == str(checkout)
    assert prepared(checkout, purpose).done == []


@each
def test_other_pins_are_installed(checkout: Path, purpose: str) -> None:
    prepared(checkout, purpose)
    (checkout / "requirements" / f"{purpose}.txt").write_text("changed\n")
    assert prepared(checkout, purpose).done == [purpose]


@each
def test_it_goes_with_the_other_one(checkout: Path, purpose: str) -> None:
    prepared(checkout, purpose)
    shutil.rmtree(checkout / ".venv")
    assert prepared(checkout, purpose).done == ["create", purpose]
