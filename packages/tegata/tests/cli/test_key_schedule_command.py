"""`tegata keys rotate --schedule` and the worker's chore, on a real database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from tegata.cli.failures import CommandFailure
from tegata.cli.keys import report_as_document
from tegata.cli.main import app
from tegata.crypto.envelope import new_master_key
from tegata.flows.admin.key_schedule import ScheduledKey, ScheduleReport
from tegata.flows.admin.keys import NoSuchTenant
from tegata.testing.clusters import Cluster, MigratedDatabase
from tegata.testing.warm_starts import run_to_its_end

TEGATA = Path(sys.executable).parent / "tegata"
MASTER_KEY = new_master_key()
TENANTS = "\n---\n".join(
    f"{{apiVersion: tegata.dev/v1, kind: Tenant, metadata: {{name: tenant-{number}}}, spec: {{}}}}" for number in (1, 2)
)
KEYS = "select algorithm, state, count(*) from tegata.signing_key group by 1, 2 order by 1, 2"

Run = Callable[..., Result]


@pytest.fixture
def database(clusters: dict[str, Cluster]) -> Iterator[MigratedDatabase]:
    with clusters["18"].migrated_database() as found:
        yield found


@pytest.fixture
def settings(database: MigratedDatabase, tmp_path: Path) -> dict[str, str]:
    """An environment for operators' commands."""
    target = database.maintenance
    return {
        "TEGATA_HOME": str(tmp_path),
        "TEGATA_MASTER_KEY": MASTER_KEY,
        "TEGATA_MAINTENANCE_DATABASE_URL": (
            f"postgresql:///{target.database}?host={target.host}&port={target.port}&user={target.user}"
        ),
    }


@pytest.fixture
def tegata(database: MigratedDatabase, settings: dict[str, str]) -> Run:
    """Run a command; settings as keywords. There are two tenants whose keys are two hours old."""

    def run(*words: str, stdin: str | None = None, **changed: str) -> Result:
        return CliRunner().invoke(app, words, input=stdin, env=settings | changed)  # type: ignore[return-value]

    assert run("apply", "-f", "-", stdin=TENANTS).exit_code == 0
    grow_old(database)
    return run


def process(settings: dict[str, str], *words: str, **changed: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in (settings | changed).items() if value}
    return run_to_its_end(
        [str(TEGATA), *words],
        env=environment | {"PATH": os.environ["PATH"]},
        timeout=60,
    )


def grow_old(database: MigratedDatabase) -> None:
    older = ", ".join(f"{column} = {column} - interval '2 hours'" for column in ("created_at", "state_changed_at"))
    ask(database, f"update tegata.signing_key set {older}")


def ask(database: MigratedDatabase, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database.admin.psycopg_conninfo(), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


HOURLY = {"TEGATA_SIGNING_KEY_DAYS": "0.04"}
ROTATED = [("ES256", "active", 2), ("ES256", "next", 2), ("ES256", "previous", 2)]
ROTATED += [("RS256", "active", 2), ("RS256", "next", 2), ("RS256", "previous", 2)]


def test_what_is_due_of_every_tenant_is_rotated_and_told(tegata: Run, database: MigratedDatabase) -> None:
    nothing = tegata("keys", "rotate", "--schedule")
    assert nothing.exit_code == 0, nothing.stderr
    assert nothing.stdout.startswith("0 rotated, 0 previous keys dropped, next due ")
    done = tegata("keys", "rotate", "--schedule", **HOURLY)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(": ")[0] for line in lines[:-1]] == [
        "tenant-1 ES256",
        "tenant-1 RS256",
        "tenant-2 ES256",
        "tenant-2 RS256",
    ]
    assert lines[-1].startswith("4 rotated, 0 previous")
    assert ask(database, KEYS) == ROTATED


def test_one_object_for_programs(tegata: Run) -> None:
    told = json.loads(tegata("keys", "rotate", "--schedule", "--json", "-t", "tenant-2", **HOURLY).stdout)
    assert [(key["tenant"], key["outcome"]) for key in told["keys"]] == [("tenant-2", "rotated")] * 2
    assert (told["rotated"], told["dropped"], told["unchanged"]) == (2, 0, 0)
    assert told["next_due_at"].endswith("Z")


def test_two_processes_at_once_rotate_each_key_once(
    tegata: Run, settings: dict[str, str], database: MigratedDatabase
) -> None:
    with ThreadPoolExecutor(2) as threads:
        words = ("keys", "rotate", "--schedule", "--json")
        runs = list(threads.map(lambda _: process(settings, *words, **HOURLY), range(2)))
    assert [run.returncode for run in runs] == [0] * 2, [run.stderr for run in runs]
    assert sum(json.loads(run.stdout)["rotated"] for run in runs) == 4
    assert ask(database, KEYS) == ROTATED


def test_the_worker_does_it_if_it_has_the_master_key(
    tegata: Run, settings: dict[str, str], database: MigratedDatabase
) -> None:
    without = process(settings, "worker", "--once", TEGATA_MASTER_KEY="", **HOURLY)
    assert without.returncode == 0, without.stderr
    assert "signing_keys" not in without.stdout
    done = process(settings, "worker", "--once", **HOURLY)
    assert done.returncode == 0, done.stderr
    (told,) = (line for line in map(json.loads, done.stdout.splitlines()) if line.get("job") == "signing_keys")
    assert (told["event"], told["rotated"], told["dropped"]) == ("job_done", 4, 0)
    assert ask(database, KEYS) == ROTATED


def test_settings_that_would_make_verifiers_refuse_are_refused(tegata: Run, database: MigratedDatabase) -> None:
    refused = tegata("keys", "rotate", "--schedule", TEGATA_SIGNING_KEY_PUBLISHED_SECONDS="10", **HOURLY)
    assert isinstance(refused.exception, CommandFailure)
    assert refused.exception.exit_code == 2
    assert "TEGATA_JWKS_MAX_AGE_SECONDS" in str(refused.exception)


def test_an_unknown_tenant_and_words_that_do_not_go_together_are_wrong_usage(tegata: Run) -> None:
    assert isinstance(tegata("keys", "rotate", "--schedule", "-t", "nobody").exception, NoSuchTenant)
    assert tegata("keys", "rotate").exit_code == 2
    assert tegata("keys", "rotate", "-t", "tenant-1", "--json").exit_code == 2
    assert tegata("keys", "rotate", "--schedule", "--algorithm", "ES256").exit_code == 2


def test_a_person_is_asked_for_with_status_1_and_told_what_is_still_true(
    tegata: Run, database: MigratedDatabase
) -> None:
    for _ in range(3):
        assert tegata("keys", "rotate", "-t", "tenant-1").exit_code == 0
    grow_old(database)
    full = tegata("keys", "rotate", "--schedule", **HOURLY)
    assert full.exit_code == 1
    assert "tenant-1 ES256: due, but 10 keys are published and all are needed until " in full.stdout
    assert "tenant-2 ES256: now signing with" in full.stdout
    by_hand = tegata("keys", "rotate", "-t", "tenant-1", "--algorithm", "ES256")
    assert by_hand.exit_code == 0
    assert "warning: tenant-1 publishes 11 keys" in by_hand.stderr


def test_keys_of_which_there_is_nothing_to_tell_are_counted() -> None:
    keys = tuple(ScheduledKey(f"tenant-{number}", "ES256", "not_due", "kid", 90.0 + number) for number in range(3))
    told = report_as_document(ScheduleReport(keys, 0))
    assert (told["keys"], told["unchanged"], told["next_due_at"]) == ([], 3, "1970-01-01T00:01:30Z")
