"""From one table to months: nothing is lost, writers of the release before go on, and an interruption does no harm."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg
import pytest

from tegata.postgres.bootstrap import MIGRATOR, bootstrap
from tegata.postgres.migrate import MigrationError, migrate
from tegata.postgres.stored_functions import wanted_functions
from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import Cluster, MigratedDatabase
from tegata.testing.patience import PATIENCE_SECONDS

Rows = list[tuple[object, ...]]
TENANT = UUID(int=42)
NEW_WORDS = "on conflict do nothing"
OLD_WORDS = "on conflict (tenant_id, event_id) do nothing"


@pytest.fixture
def before(each_cluster: Cluster) -> Iterator[MigratedDatabase]:
    """A database of the release before: its one table, its functions, some events."""
    with each_cluster.empty_database() as admin:
        bootstrap(admin)
        migrate(admin.entering_as(MIGRATOR), to="0001")
        found = MigratedDatabase.of(admin)
        for function in wanted_functions():
            if function.name in ("append_events", "write_events"):
                run(found.owner, function.script.replace(NEW_WORDS, OLD_WORDS))
        run(found.admin, f"insert into tegata.tenant values ('{TENANT}', 'acme', '{{}}', '')")
        yield found


def run(target: ConnectionTarget, statement: str, *arguments: object) -> Rows:
    with psycopg.connect(target.psycopg_conninfo(), autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), arguments or None)
        return cursor.fetchall() if cursor.description else []


def events(database: MigratedDatabase, first: str, rows: int, step: str) -> None:
    run(
        database.admin,
        "insert into tegata.audit_event (tenant_id, event_id, at, type, outcome)"
        f" select '{TENANT}', gen_random_uuid(), %s + n * %s::interval, 'old', 'success'"
        " from generate_series(1, %s) n",
        datetime.fromisoformat(first).replace(tzinfo=UTC),
        step,
        rows,
    )


def places(database: MigratedDatabase) -> dict[str, int]:
    found = run(database.admin, "select tableoid::regclass::text, count(*) from tegata.audit_event group by 1")
    return {str(name).removeprefix("tegata."): int(str(count)) for name, count in found}


@dataclass
class Writer:
    """A server of the release before that never stops: each event is sent twice, as after a lost answer."""

    target: ConnectionTarget
    sent: int = 0
    failures: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with psycopg.connect(self.target.psycopg_conninfo(), autocommit=True) as connection:
            while not self.stop.is_set():
                told = {"event_id": str(uuid4()), "at": time.time(), "type": "now", "outcome": "success"}
                batch = json.dumps([{"tenant": str(TENANT), "events": [told]}])
                for _ in range(2):
                    try:
                        connection.execute("select tegata.write_events(%s)", (batch,))
                    except psycopg.Error as error:
                        self.failures.append(str(error))
                self.sent += 1


def until_each_has_sent_more(writers: list[Writer], threads: list[threading.Thread]) -> None:
    before, deadline = [writer.sent for writer in writers], time.monotonic() + PATIENCE_SECONDS
    while any(writer.sent == sent for writer, sent in zip(writers, before, strict=True)):
        assert all(thread.is_alive() for thread in threads)
        assert time.monotonic() < deadline
        time.sleep(0.005)


def while_writing(database: MigratedDatabase, act: Callable[[], object]) -> int:
    """Do something while two writers write, before it and after it too; return how many events they have written."""
    writers = [Writer(database.app) for _ in range(2)]
    threads = [threading.Thread(target=writer.run) for writer in writers]
    for thread in threads:
        thread.start()
    try:
        until_each_has_sent_more(writers, threads)
        act()
        until_each_has_sent_more(writers, threads)
    finally:
        for writer in writers:
            writer.stop.set()
        for thread in threads:
            thread.join()
    assert [writer.failures for writer in writers] == [[], []]
    return sum(writer.sent for writer in writers)


def test_events_stay_where_they_are_and_writers_never_notice(before: MigratedDatabase) -> None:
    events(before, "2025-01-01", 30_000, "25 minutes")
    file = run(before.admin, "select pg_relation_filenode('tegata.audit_event')")
    written = while_writing(before, lambda: migrate(before.admin.entering_as(MIGRATOR)))
    assert places(before) == {"audit_event_early": 30_000 + written}
    # The rows were not copied: it is the same file.
    assert run(before.admin, "select pg_relation_filenode('tegata.audit_event_early')") == file
    assert run(before.admin, "select count(*) from pg_constraint where not convalidated") == [(0,)]
    keys = (
        "select conrelid::regclass::text from pg_constraint where contype = 'p' and conrelid::regclass::text ~ 'audit'"
    )
    assert len(run(before.admin, keys)) >= 4


def test_events_of_a_clock_far_ahead_are_kept_and_found(before: MigratedDatabase) -> None:
    events(before, "2025-01-01", 10, "1 day")
    events(before, "2190-01-01", 5, "1 day")
    migrate(before.admin.entering_as(MIGRATOR))
    assert places(before) == {"audit_event_early": 10, "audit_event_other": 5}


@pytest.mark.parametrize(
    "busy_with", ["select * from tegata.audit_event limit 1", "lock table tegata.tenant in share mode"]
)
def test_a_busy_table_ends_the_attempt_and_the_next_one_goes_on_from_there(
    before: MigratedDatabase, busy_with: str
) -> None:
    events(before, "2025-01-01", 1000, "1 hour")
    migrator = before.admin.entering_as(MIGRATOR)
    with psycopg.connect(before.admin.psycopg_conninfo()) as busy:
        busy.execute(busy_with.encode())
        with pytest.raises(MigrationError, match="stays locked"):
            migrate(migrator, attempts=2, lock_timeout_seconds=0.2)
    while_writing(before, lambda: None)
    migrate(migrator)
    assert places(before)["audit_event_early"] >= 1000
    assert run(before.admin, "select version_num from tegata.schema_version") != [("0001",)]


def test_a_session_killed_at_any_moment_leaves_something_to_go_on_from(before: MigratedDatabase) -> None:
    """Statement by statement: whichever is the last one that ran, the next attempt ends well."""
    events(before, "2025-01-01", 50, "1 day")
    migrator = before.admin.entering_as(MIGRATOR)
    statements = [
        "create unique index audit_event_by_time on tegata.audit_event (tenant_id, at, event_id)",
        "update pg_index set indisvalid = false where indexrelid = 'tegata.audit_event_by_time'::regclass",
        "alter table tegata.audit_event add constraint audit_event_early_end check (at < '2100-01-01+00') not valid",
        "create table tegata.audit_event_other (like tegata.audit_event including defaults including constraints)",
    ]
    for statement in statements:
        run(before.owner if statement.startswith(("create", "alter")) else before.admin, statement)
    migrate(migrator)
    assert places(before) == {"audit_event_early": 50}
    shown = run(before.owner, "select ends from tegata.audit_partitions() where name = 'audit_event_early'")
    assert shown == [(datetime(2100, 1, 1, tzinfo=UTC),)]


def test_a_database_set_up_before_the_jobs_had_a_schema_is_told_what_to_do(before: MigratedDatabase) -> None:
    run(before.admin, "drop schema tegata_jobs")
    migrator = before.admin.entering_as(MIGRATOR)
    with pytest.raises(MigrationError, match=r"schema tegata_jobs.*bootstrap"):
        migrate(migrator)
    bootstrap(before.admin)
    migrate(migrator)
