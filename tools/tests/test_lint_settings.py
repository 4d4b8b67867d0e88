"""What ruff is set to find for us beyond its usual trade is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def codes(text: str, path: str) -> set[str]:
    """The rules that ruff, with this project's settings, sees broken by a text at that place."""
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise"]
    command += ["--stdin-filename", path, "-"]
    answer = subprocess.run(command, check=False, cwd=ROOT, input=text, capture_output=True, text=True)
    return {line.split()[1] for line in answer.stdout.splitlines() if line.startswith(path)}


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("TID251", '"""A test."""\n\nfrom unittest.mock import patch\n\nwith patch("os.path"):\n    pass\n'),
        ("TID251", '"""A test."""\n\nfrom unittest import mock\n\nwith mock.patch("os.path"):\n    pass\n'),
        ("TID251", '"""A module."""\n\nimport datetime\n\nx = datetime.datetime.utcnow()\n'),
        ("DTZ005", '"""A module."""\n\nimport datetime\n\nx = datetime.datetime.now()\n'),
        ("D100", "x = 1\n"),
    ],
)
def test_ruff_finds(code: str, text: str) -> None:
    assert code in codes(text, "packages/tegata/src/tegata/flows/new.py")


def test_ruff_wants_a_docstring_of_a_package() -> None:
    assert "D104" in codes("x = 1\n", "packages/tegata/src/tegata/flows/__init__.py")
