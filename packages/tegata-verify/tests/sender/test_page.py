"""The page about sender constraint runs, and its tables say what the code does."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from tegata_verify import ClientCertificates, DpopPolicy, IntrospectionPolicy

PAGE = (Path(__file__).parents[4] / "docs/how-to/sender-constraint.md").read_text()


def table_of(name: str) -> dict[str, str]:
    table = PAGE.split(f"| of `{name}` |")[1].split("\n\n")[0]
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", table, re.MULTILINE))


@pytest.mark.parametrize("record", [DpopPolicy, ClientCertificates, IntrospectionPolicy])
def test_each_setting_stands_in_its_table_with_its_default(record):
    table = table_of(record.__name__)
    assert set(table) == {field.name for field in fields(record)} - {"_"}
    for field in fields(record):
        if isinstance(field.default, bool):
            assert table[field.name] == ("yes" if field.default else "no")
        elif isinstance(field.default, int | float):
            assert float(table[field.name]) == field.default
        elif isinstance(field.default, tuple):
            assert table[field.name] == ", ".join(field.default)
        elif field.default is MISSING and field.default_factory is MISSING and field.name != "_":
            assert table[field.name] in ("–", "by the way")


def test_the_code_of_the_page_runs():
    namespace: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "page", "exec", dont_inherit=True), namespace)
    assert {"guard", "behind_nginx", "asking"} <= set(namespace)
