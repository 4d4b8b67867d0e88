"""ministack has an environment of its own, inside ours, made once and again when its pins change."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from workspace.environment import Environment
from workspace.ministack import PURPOSE, Apart

from .conftest import Recorded


class RecordedApart(Recorded, Apart):
    """One whose packages are only noted down."""


def prepared(checkout: Path) -> RecordedApart:
    subject = RecordedApart(Environment(checkout))
    subject.prepare(PURPOSE)
    return subject


def test_it_is_made_once_within_the_other_one(checkout: Path) -> None:
    first = prepared(checkout)
    assert first.done == ["create", PURPOSE]
    assert first.directory == checkout / ".venv" / "ministack"
    assert json.loads((first.directory / "tegata-ministack.json").read_text())["root"] == str(checkout)
    assert prepared(checkout).done == []


def test_other_pins_are_installed(checkout: Path) -> None:
    prepared(checkout)
    (checkout / "requirements" / "ministack.txt").write_text("changed\n")
    assert prepared(checkout).done == [PURPOSE]


def test_it_goes_with_the_other_one(checkout: Path) -> None:
    prepared(checkout)
    shutil.rmtree(checkout / ".venv")
    assert prepared(checkout).done == ["create", PURPOSE]
