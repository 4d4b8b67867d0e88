"""A checkout with pins, and environments whose packages are only noted down."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from workspace.apart import PURPOSES
from workspace.environment import PACKAGES, Environment


class Recorded(Environment):
    """An environment that makes and installs nothing; `done` says what it would have. The first of several bases."""

    def __init__(self, *place: Any) -> None:
        super().__init__(*place)
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
    for purpose in ("build", "run", "dev", *PURPOSES):
        (tmp_path / "requirements" / f"{purpose}.txt").write_text(f"{purpose}==1\n")
    for name in PACKAGES:
        (tmp_path / "packages" / name).mkdir(parents=True)
        (tmp_path / "packages" / name / "pyproject.toml").write_text("[project]\n")
    return tmp_path
