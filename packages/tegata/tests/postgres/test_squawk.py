"""squawk finds nothing in the migrations that would stop traffic, nor anything else without a reason here."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tegata.postgres.migrate import migration_script, newest_revision

ROOT = Path(__file__).resolve().parents[4]
CONFIGURATION = ROOT / ".squawk.toml"
REVISIONS = [f"{number:04}" for number in range(1, int(newest_revision()) + 1)]

_EXCHANGE = "the audit log becomes partitioned under its own name in one transaction; columns and rights stay"
ACCEPTED = {
    ("0002", "renaming-table"): _EXCHANGE,
    ("0002", "renaming-object"): _EXCHANGE,
    ("0002", "ban-drop-constraint"): "the primary key is replaced in the same transaction; the other one is its own",
    ("0002", "prefer-robust-stmts"): "enabling row-level security may be repeated",
}
# Whatever else is accepted one day, these are not: each holds up everybody who uses the table.
ABOUT_LOCKS = {
    "adding-field-with-default",
    "adding-foreign-key-constraint",
    "adding-not-nullable-field",
    "adding-required-field",
    "adding-serial-primary-key-field",
    "ban-concurrent-index-creation-in-transaction",
    "changing-column-type",
    "constraint-missing-not-valid",
    "disallowed-unique-constraint",
    "require-concurrent-index-creation",
    "require-concurrent-index-deletion",
    "require-concurrent-partition-attach",
    "require-concurrent-partition-detach",
    "require-concurrent-reindex",
    "require-lock-timeout",
    "require-statement-timeout",
    "require-timeout-settings",
    "setting-not-nullable-field",
    "transaction-nesting",
}


def found_in(script: str) -> list[tuple[str, str]]:
    """The rules that a script breaks, each with what squawk says about it."""
    finished = subprocess.run(
        [
            str(Path(sys.executable).with_name("squawk")),
            *("--config", str(CONFIGURATION), "--reporter", "json", "--stdin-filepath", "migration.sql"),
        ],
        input=script,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return [(found["rule_name"], f"line {found['line']}: {found['message']}") for found in json.loads(finished.stdout)]


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_revision_is_clean_but_for_what_has_a_reason(revision: str) -> None:
    before = None if revision == REVISIONS[0] else f"{int(revision) - 1:04}"
    found = found_in(migration_script(after=before, to=revision))
    accepted = {rule for of, rule in ACCEPTED if of == revision}
    assert [told for rule, told in found if rule not in accepted] == []
    assert accepted <= {rule for rule, _ in found}, "a reason for something that is not there any more"


def test_the_stored_functions_are_clean() -> None:
    assert found_in(migration_script(after=REVISIONS[-1])) == []


def test_no_rule_about_locks_is_left_out() -> None:
    left_out = set(tomllib.loads(CONFIGURATION.read_text())["excluded_rules"])
    assert left_out
    assert ABOUT_LOCKS & (left_out | {rule for _, rule in ACCEPTED}) == set()


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("create index x on tegata.account (username);", "require-concurrent-index-creation"),
        ("drop index tegata.account_login_email;", "require-concurrent-index-deletion"),
        (
            "alter table tegata.account add constraint x foreign key (tenant_id) references tegata.tenant (tenant_id);",
            "adding-foreign-key-constraint",
        ),
        ("alter table tegata.account add constraint x check (username <> '');", "constraint-missing-not-valid"),
        ("alter table tegata.account add constraint x unique (tenant_id, username);", "disallowed-unique-constraint"),
        ("alter table tegata.account alter column username set not null;", "adding-not-nullable-field"),
        ("alter table tegata.account alter column username type varchar(30);", "changing-column-type"),
        ("alter table tegata.account add column x text not null;", "adding-required-field"),
        ("begin; create index concurrently x on tegata.account (username); commit;", None),
        ("set lock_timeout = 0; drop table tegata.account;", "ban-drop-table"),
    ],
)
def test_squawk_finds_in_such_a_script_what_it_is_there_for(statement: str, rule: str | None) -> None:
    whole = migration_script(after=REVISIONS[-1], to=REVISIONS[-1]) + statement
    rules = {found for found, _ in found_in(whole)}
    if rule is None:
        assert any("concurrent" in found for found in rules)
    else:
        assert rule in rules


def test_a_script_without_time_limits_is_found() -> None:
    whole = migration_script(after=REVISIONS[-1])
    without = "\n".join(line for line in whole.splitlines() if "_timeout" not in line)
    assert {rule for rule, _ in found_in(without)} >= {"require-lock-timeout", "require-statement-timeout"}
