"""The pages about the doctor say what it does: the table of checks is the list, and the worked example is proven."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import psycopg
import pytest

from tegata.postgres.doctor import CHECKS, PROBES, Diagnosis, Finding, Wall, as_json, examine
from tegata.testing.clusters import Cluster

DOCS = Path(__file__).parents[4] / "docs"
REFERENCE = (DOCS / "reference" / "doctor.md").read_text(encoding="utf-8")
HOW_TO = (DOCS / "how-to" / "guard-your-own-tables.md").read_text(encoding="utf-8")
WALL_TESTS = Path(__file__).parents[1] / "attacks" / "wall"


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_table_of_checks_is_the_list_of_checks() -> None:
    rows = [
        f"| {check.id}{' (warning)' if check.severity == 'warning' else ''} | {check.explanation} | {check.fix} |"
        for check in CHECKS
    ]
    rows += [f"| {check} | {explanation} | {fix} |" for check, (explanation, fix) in PROBES.items()]
    assert [line for line in REFERENCE.splitlines() if re.match(r"\| [RTIFVGL]\d\d", line)] == rows


def test_the_json_on_the_page_has_the_form_of_the_report() -> None:
    (example,) = (json.loads(block) for block in blocks(REFERENCE, "json"))
    finding = Finding("T03", "x", "y", "z")
    made = json.loads(as_json(Diagnosis((finding,), len(CHECKS), 1, ("not proven",))))
    assert list(example) == list(made)
    assert list(example["findings"][0]) == list(made["findings"][0])
    assert example["checks"] == made["checks"]


def test_what_is_accepted_names_tests_that_exist() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in WALL_TESTS.glob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", REFERENCE)
    assert len(named) >= 7
    assert [name for name in named if f"def {name}(" not in tests] == []


@pytest.mark.parametrize("text", [*blocks(REFERENCE, "python"), *blocks(HOW_TO, "python")], ids=["reference", "how-to"])
def test_the_python_on_the_pages_names_what_exists(text: str) -> None:
    tree = ast.parse(text)
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            scope: dict[str, object] = {}
            exec(compile(ast.Module([node], []), "page", "exec"), scope)


def test_the_worked_example_is_proven(each_cluster: Cluster) -> None:
    (statements,), (described,) = blocks(HOW_TO, "sql"), blocks(HOW_TO, "toml")
    with each_cluster.empty_database() as target, psycopg.connect(target.psycopg_conninfo()) as connection:
        connection.execute(statements.encode())
        connection.commit()
        try:
            wall = Wall.from_toml(described)
            diagnosis = examine(target, application=target.entering_as("shop_web"), wall=wall)
            assert diagnosis.is_proven, as_json(diagnosis)
            assert diagnosis.probes > 20
        finally:
            connection.execute("drop owned by shop_owner cascade")
            connection.execute("drop owned by shop_web, shop_jobs")
            connection.execute("drop role shop_owner, shop_web, shop_jobs")
            connection.commit()
