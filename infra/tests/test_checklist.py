"""Seed 001's checklist on its page: every line is held by a test that is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "aws-checklist.md"
LINE = re.compile(r"^\| (?P<line>[^|]+) \| [^|]+ \| (?P<held>[^|]+) \|$")
HELD = re.compile(r"\[(?P<name>test_\w+)\]\((?P<file>[^)]+\.py)\)")

SEED = {
    "Network": 5,
    "Database": 5,
    "Cache and sessions": 4,
    "Application": 5,
    "Security": 5,
    "Monitoring and logs": 4,
}
"""Sections of the seed's checklist, and how many lines each has."""


def read_lines() -> list[tuple[str, str, str]]:
    """Return section, line and what holds it."""
    section, found = "", []
    for text in PAGE.read_text().splitlines():
        if text.startswith("## "):
            section = text.removeprefix("## ")
        elif section in SEED and (row := LINE.match(text)) and row["line"] not in ("line", "---"):
            found.append((section, row["line"], row["held"]))
    return found


def names_of(file: Path) -> set[str]:
    """Return the tests that a file holds, in classes, too."""
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_line_of_the_seed_is_there() -> None:
    counted = dict.fromkeys(SEED, 0)
    for section, _, _ in read_lines():
        counted[section] += 1
    assert counted == SEED


@pytest.mark.parametrize(("section", "line", "held"), read_lines(), ids=lambda value: str(value)[:40])
def test_a_line_is_held_by_tests_that_are_there(section: str, line: str, held: str) -> None:
    named = HELD.findall(held)
    assert named, f"{section}: {line}"
    for name, file in named:
        assert name in names_of((PAGE.parent / file).resolve()), f"{section}: {line}: {file} has no {name}"


def test_a_test_that_there_is_not_would_be_found() -> None:
    assert "test_that_there_is_not" not in names_of(Path(__file__))
    assert "test_every_line_of_the_seed_is_there" in names_of(Path(__file__))
