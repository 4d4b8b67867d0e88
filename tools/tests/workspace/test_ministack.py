"""ministack has an environment of its own, inside ours, made once and again when its pins change."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from workspace.environment import PACKAGES, Environment
from workspace.ministack import PURPOSE, Apart


class Recorded(Apart):
    """One whose packages are only noted down."""

    def __init__(self, outer: Environment) -> None:
        super().__init__(outer)
        self.done: list[str] = []

    def _create(self) -> None:
        self.done.append("create")
        shutil.rmtree(self.directory, ignore_errors=True)
        self.python.parent.mkdir(parents=True)
        self.python.symlink_to(sys.executable)

    def _install(self, purpose: str) -> None:
        self.done.append(purpose)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "requirements").mkdir()
    for purpose in ("build", PURPOSE):
        (tmp_path / "requirements" / f"{purpose}.txt").write_text(f"{purpose}==1\n")
    for name in PACKAGES:
        (tmp_path / "packages" / name).mkdir(parents=True)
        (tmp_path / "packages" / name / "pyproject.toml").write_text("[project]\n")
    return tmp_path


def prepared(checkout: Path) -> Recorded:
    subject = Recorded(Environment(checkout))
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
