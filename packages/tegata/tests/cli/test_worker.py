"""`tegata worker` as real processes on a real database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import Cluster, MigratedDatabase
from tegata.testing.warm_starts import WarmPopen, run_to_its_end

Rows = list[tuple[object, ...]]
TEGATA = Path(sys.executable).parent / "tegata"
CHORES = {"purge", "partitions", "old_jobs"}


@pytest.fixture
def database(each_cluster: Cluster) -> Iterator[MigratedDatabase]:
    with each_cluster.migrated_database() as found:
        yield found


def run(target: ConnectionTarget, statement: str) -> Rows:
    with psycopg.connect(target.psycopg_conninfo(), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def environment(target: ConnectionTarget, home: Path) -> dict[str, str]:
    url = f"postgresql:///{target.database}?host={target.host}&port={target.port}&user={target.user}"
    return {
        "PATH": os.environ["PATH"],
        "TEGATA_HOME": str(home),
        "TEGATA_MAINTENANCE_DATABASE_URL": url,
        "TEGATA_PURGE_INTERVAL_MINUTES": "1",
    }


@contextmanager
def workers(
    count: int, target: ConnectionTarget, home: Path, **variables: str
) -> Iterator[list[subprocess.Popen[str]]]:
    """Start so many; whoever still runs at the end is killed."""
    started = [
        WarmPopen(
            [str(TEGATA), "worker"],
            env=environment(target, home) | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(count)
    ]
    try:
        yield started
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
            process.communicate()


def stop(process: subprocess.Popen[str]) -> list[dict[str, object]]:
    """End it as a service manager does, and return its log."""
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=90)
    assert process.returncode == 0, said
    return [json.loads(line) for line in said.splitlines()]


def wait_for(database: MigratedDatabase, query: str, wanted: Rows) -> None:
    deadline = time.monotonic() + 90
    while (found := run(database.admin, query)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


WORKING = "select count(*) from tegata_jobs.procrastinate_workers"
UNFINISHED = "select count(*) from tegata_jobs.procrastinate_jobs where status <> 'succeeded'"
KINDS = "select count(distinct task_name) from tegata_jobs.procrastinate_jobs where status = 'succeeded'"


def test_of_two_workers_one_does_what_is_due(database: MigratedDatabase, tmp_path: Path) -> None:
    run(
        database.admin,
        "with t as (insert into tegata.tenant values (gen_random_uuid(), 'acme', '{}', '') returning tenant_id)"
        " insert into tegata.assertion select tenant_id, 'x', now() - interval '1 day' from t",
    )
    with workers(2, database.maintenance, tmp_path) as started:
        wait_for(database, WORKING, [(2,)])
        wait_for(database, KINDS, [(3,)])
        wait_for(database, UNFINISHED, [(0,)])
        told = [line for process in started for line in stop(process)]
    done = [line for line in told if line["event"] == "job_done"]
    assert {line["job"] for line in done} == CHORES
    # Each job was run once, and each minute of a chore was entered once, whoever did it.
    minutes = [(line["job"], line["due"]) for line in done]
    assert len(minutes) == len(set(minutes))
    jobs = run(
        database.admin,
        "select task_name::text, (args ->> 'timestamp')::bigint from tegata_jobs.procrastinate_jobs"
        " where attempts = 1 order by 1, 2",
    )
    assert jobs == sorted(minutes)
    assert [line["deleted"] for line in done if line["job"] == "purge" and line["rows"]] == ["assertion 1"]
    assert [line for line in told if line["level"] != "info"] == []


def test_a_worker_outlives_a_restart_of_the_database_and_the_death_of_another(
    each_cluster: Cluster, database: MigratedDatabase, tmp_path: Path
) -> None:
    with workers(2, database.maintenance, tmp_path) as (staying, killed):
        wait_for(database, WORKING, [(2,)])
        wait_for(database, KINDS, [(3,)])
        killed.kill()
        killed.wait()
        each_cluster.restart()
        run(
            database.admin,
            "set search_path = tegata_jobs; insert into procrastinate_jobs (queue_name, task_name, args)"
            " values ('tegata', 'purge', '{\"timestamp\": 1}')",
        )
        again = "select status::text from tegata_jobs.procrastinate_jobs where args ->> 'timestamp' = '1'"
        wait_for(database, again, [("succeeded",)])
        told = stop(staying)
    assert told[-1]["event"] == "stopped"


def test_a_run_that_does_not_end_holds_up_no_shutdown(database: MigratedDatabase, tmp_path: Path) -> None:
    waiting = "select count(*) from pg_stat_activity where usename = 'tegata_maint' and wait_event_type = 'Lock'"
    with psycopg.connect(database.admin.psycopg_conninfo()) as holder:
        holder.execute("lock table tegata.assertion in access exclusive mode")
        with workers(1, database.maintenance, tmp_path, TEGATA_SHUTDOWN_SECONDS="1") as (process,):
            wait_for(database, waiting, [(1,)])
            told = stop(process)
    assert [line["job"] for line in told if line["event"] == "job_failed"] == ["purge"]
    assert run(database.admin, "select count(*) from tegata_jobs.procrastinate_jobs where status = 'doing'") == [(0,)]
    assert run(database.admin, WORKING) == [(0,)]


def test_once_does_everything_and_ends(database: MigratedDatabase, tmp_path: Path) -> None:
    for _ in range(2):
        ended = run_to_its_end(
            [str(TEGATA), "worker", "--once"],
            env=environment(database.maintenance, tmp_path),
            timeout=90,
        )
        assert ended.returncode == 0, ended.stderr
        done = [json.loads(line) for line in ended.stdout.splitlines()]
        assert {line["job"] for line in done if line["event"] == "job_done"} == CHORES


def test_a_chore_that_failed_is_seen_in_the_exit_status(database: MigratedDatabase, tmp_path: Path) -> None:
    run(database.admin, "drop function tegata.add_audit_partition(timestamptz, integer)")
    ended = run_to_its_end(
        [str(TEGATA), "worker", "--once"],
        env=environment(database.maintenance, tmp_path),
        timeout=90,
    )
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "migrate it" in ended.stdout


def test_a_database_that_is_away_at_the_beginning_is_told_at_once(database: MigratedDatabase, tmp_path: Path) -> None:
    nowhere = database.maintenance.in_database("nowhere")
    with workers(1, nowhere, tmp_path) as (process,):
        assert process.wait(timeout=90) == 3


def test_the_application_role_is_no_worker(database: MigratedDatabase, tmp_path: Path) -> None:
    with workers(1, database.app, tmp_path) as (process,):
        said, _ = process.communicate(timeout=90)
        assert process.returncode == 3, said
        assert "the database cannot be used" in said


def test_the_server_does_not_load_the_queue() -> None:
    code = "import sys; import tegata.cli.serve; print('procrastinate' in sys.modules, 'psycopg_pool' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == ["False", "False"]
