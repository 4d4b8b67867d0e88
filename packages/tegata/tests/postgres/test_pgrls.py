"""A second opinion: pgrls, which others have written, finds nothing that we have not looked at (pgrls_allowed.toml)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import psycopg
import pytest

from tegata.testing.clusters import Cluster, MigratedDatabase

PROGRAM = Path(sys.executable).with_name("pgrls")
ALLOWED = Path(__file__).with_name("pgrls_allowed.toml")

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="pgrls is not installed")


@dataclass(frozen=True, slots=True)
class Allowed:
    """Findings that may be, and why."""

    rules: tuple[str, ...]
    objects: tuple[str, ...]
    reason: str

    def covers(self, rule: str, location: str) -> bool:
        return rule in self.rules and any(fnmatchcase(location, pattern) for pattern in self.objects)


@pytest.fixture
def database(clusters: dict[str, Cluster]) -> Iterator[MigratedDatabase]:
    if not clusters["15"].is_installed:
        pytest.skip("PostgreSQL 15 is not installed")
    with clusters["15"].migrated_database() as migrated:
        yield migrated


def lint(database: MigratedDatabase, home: Path) -> set[tuple[str, str]]:
    """Return what it finds: rule and place. It has no configuration here, so that nothing is left out."""
    done = subprocess.run(
        [PROGRAM, "lint", "--schemas", "tegata,tegata_jobs", "--format", "json", "--min-severity", "info"],
        env={"DATABASE_URL": database.admin.psycopg_conninfo(), "HOME": str(home), "PATH": os.environ["PATH"]},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    return {(found["rule_id"], found["location"]) for found in json.loads(done.stdout)["violations"]}


def read_allowed() -> list[Allowed]:
    entries = tomllib.loads(ALLOWED.read_text(encoding="utf-8"))["allowed"]
    return [Allowed(tuple(entry["rules"]), tuple(entry["objects"]), entry["reason"]) for entry in entries]


def test_every_finding_has_a_reason_and_every_reason_a_finding(database: MigratedDatabase, tmp_path: Path) -> None:
    found, allowed = lint(database, tmp_path), read_allowed()
    assert len(found) > 50
    assert sorted(each for each in found if not any(entry.covers(*each) for entry in allowed)) == []
    for entry in allowed:
        assert len(entry.reason) > 40
        for rule in entry.rules:
            for pattern in entry.objects:
                one = Allowed((rule,), (pattern,), entry.reason)
                assert any(one.covers(*each) for each in found), f"nothing is covered by {rule} on {pattern}"


@pytest.mark.parametrize(
    "hole",
    [
        "create policy open on tegata.session to tegata_app using (true)",
        "alter table tegata.session disable row level security",
        "create view tegata.sessions as select * from tegata.session; grant select on tegata.sessions to tegata_app",
        "create function tegata.peek() returns bigint language sql security definer as 'select 1::bigint'",
    ],
)
def test_a_hole_is_not_covered(database: MigratedDatabase, tmp_path: Path, hole: str) -> None:
    with psycopg.connect(database.admin.psycopg_conninfo()) as connection:
        connection.execute(hole.encode())
    allowed = read_allowed()
    assert [each for each in lint(database, tmp_path) if not any(entry.covers(*each) for entry in allowed)]
