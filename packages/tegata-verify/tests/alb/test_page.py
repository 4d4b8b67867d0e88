"""The page about users of a load balancer runs, and its tables say what the code does."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from tegata_verify import Alb, AlbKeyPolicy, Guard, Reason

DOCS = Path(__file__).parents[4] / "docs"
PAGE = (DOCS / "how-to/users-of-a-load-balancer.md").read_text()
CHECKS = (DOCS / "reference/issuers.md").read_text().partition("## Of a load balancer that logs users in")[2]


def table_of(name: str) -> dict[str, str]:
    table = PAGE.split(f"| of `{name}`")[1].split("\n\n")[0]
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", table, re.MULTILINE))


@pytest.mark.parametrize("record", [Alb, AlbKeyPolicy])
def test_each_setting_stands_in_its_table_with_its_default(record):
    table = table_of(record.__name__)
    assert list(table) == [field.name for field in fields(record) if field.init and field.name != "_"]
    for name, field in {field.name: field for field in fields(record) if field.name in table}.items():
        if field.default is MISSING:
            assert table[name] == "–"
        elif isinstance(field.default, bool):
            assert table[name] == ("yes" if field.default else "no")
        elif isinstance(field.default, int | float):
            assert float(table[name]) == field.default


def test_the_code_of_the_page_runs():
    namespace: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "page", "exec", dont_inherit=True), namespace)
    assert isinstance(namespace["guard"], Guard)


def test_the_reasons_in_the_table_of_checks_exist():
    rows = [line.split("|") for line in CHECKS.splitlines() if line.startswith("| ")]
    named = {name for row in rows[1:] for name in re.findall(r"`(\w+)`", row[3])}
    assert named <= {str(reason) for reason in Reason}
    assert {"wrong_signer", "untrusted_peer", "wrong_subject"} <= named
