"""The reference page names every figure, audit line, field of the policy and method, with the values that hold."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest

from tegata_credentials.secret_service import CachePolicy, SecretService, figures

PAGE = (Path(__file__).parents[4] / "docs/reference/credentials.md").read_text()
SECTION = PAGE.partition("## The secret service")[2].partition("\n## ")[0]
FIRST_CELLS = " ".join(line.split("|")[1] for line in SECTION.splitlines() if line.startswith("| "))


@pytest.mark.parametrize("name", [text for name, text in vars(figures).items() if name.isupper()])
def test_each_figure_and_audit_line_has_a_row(name):
    assert f"`{name}`" in FIRST_CELLS


@pytest.mark.parametrize("field", fields(CachePolicy), ids=lambda field: field.name)
def test_each_figure_of_the_policy_has_a_row_with_its_default(field):
    rows = [line.split("|")[1:3] for line in SECTION.splitlines() if line.startswith("| `")]
    names, defaults = next(row for row in rows if f"`{field.name}`" in row[0])
    position = re.findall(r"`(\w+)`", names).index(field.name)
    assert float(defaults.split(",")[position]) == field.default


def test_each_method_is_named():
    methods = {name for name, _ in inspect.getmembers(SecretService, inspect.isfunction) if not name.startswith("_")}
    twins = {name for name in methods if name.startswith("a") and name[1:] in methods}
    for name in methods - twins - {"close", "reach"}:
        assert f"`{name}(" in FIRST_CELLS, name
    assert len(twins) == 8
