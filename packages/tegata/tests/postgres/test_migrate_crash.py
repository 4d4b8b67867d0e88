"""A migrator that is killed, anywhere, leaves nothing that the next one cannot finish; the same for half an index."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

import psycopg
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from tegata.postgres.bootstrap import APPLICATION, MIGRATOR, Plan, bootstrap
from tegata.postgres.doctor import examine
from tegata.postgres.migrate import migrate, migration_script, newest_revision, pending
from tegata.postgres.migrations.concurrent_index import create_index_concurrently
from tegata.postgres.target import ConnectionTarget
from tegata.testing.forked import PROCESSES
from tegata.testing.patience import PATIENCE_SECONDS

Enter = Callable[[str], ConnectionTarget]

REVISIONS = [f"{number:04}" for number in range(1, int(newest_revision()) + 1)]
ROWS = """
    insert into tegata.tenant (tenant_id, name, policy, pairwise_salt)
      select gen_random_uuid(), 'tenant ' || n, '{}', '' from generate_series(1, 3) n;
    insert into tegata.audit_event (tenant_id, event_id, at, type, outcome)
      select tenant_id, gen_random_uuid(), now() + n * interval '1 day', 'x', 'success'
        from tegata.tenant, generate_series(-100, 100) n;
"""
EVENTS = [(603,)]


def run(target: ConnectionTarget, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(target.psycopg_conninfo(), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def migrator(enter: Enter) -> ConnectionTarget:
    superuser = enter("superuser")
    bootstrap(superuser, Plan())
    return superuser.entering_as(MIGRATOR)


@contextmanager
def a_migrating_process(migrator: ConnectionTarget) -> Iterator[BaseProcess]:
    process = PROCESSES.Process(target=migrate, args=(migrator,), kwargs={"lock_timeout_seconds": 60})
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join(PATIENCE_SECONDS)
        assert not process.is_alive()
        process.close()


def wait_until(superuser: ConnectionTarget, question: str, *, or_else: Callable[[], bool] = lambda: False) -> None:
    """Wait until the question has an answer."""
    with psycopg.connect(superuser.psycopg_conninfo(), autocommit=True) as connection:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not or_else() and not connection.execute(question.encode()).fetchone():
            assert time.monotonic() < deadline, "it never came to that"
            time.sleep(0.01)


THERE = f"select 1 from pg_stat_activity where usename = '{MIGRATOR}'"
WAITING = f"{THERE} and wait_event_type = 'Lock'"


def assert_complete(migrator: ConnectionTarget) -> None:
    migrate(migrator)
    assert not pending(migrator)
    assert examine(migrator, application=migrator.entering_as(APPLICATION)).findings == ()


def test_killed_inside_the_first_revision(enter: Enter, migrator: ConnectionTarget) -> None:
    superuser = enter("superuser")
    with psycopg.connect(superuser.psycopg_conninfo()) as in_the_way, a_migrating_process(migrator) as process:
        in_the_way.execute("create table tegata.audit_event (n integer)")
        wait_until(superuser, WAITING)
        process.kill()
        process.join(PATIENCE_SECONDS)
        in_the_way.rollback()
    assert_complete(migrator)


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_killed_at_the_end_of_the_revision_after(enter: Enter, migrator: ConnectionTarget, revision: str) -> None:
    superuser = enter("superuser")
    migrate(migrator, to=revision)
    run(migrator.taking_role("tegata_owner"), ROWS)
    with psycopg.connect(superuser.psycopg_conninfo()) as in_the_way, a_migrating_process(migrator) as process:
        # Reading the version is let through, writing it is not.
        in_the_way.execute("lock table tegata.schema_version in share mode")
        wait_until(superuser, WAITING)
        process.kill()
        process.join(PATIENCE_SECONDS)
        in_the_way.rollback()
    assert run(superuser, "select version_num from tegata.schema_version") == [(revision,)]
    assert_complete(migrator)
    assert run(superuser, "select count(*) from tegata.audit_event") == EVENTS


def test_killed_at_any_moment(enter: Enter, migrator: ConnectionTarget) -> None:
    superuser = enter("superuser")
    migrate(migrator, to="0001")
    run(migrator.taking_role("tegata_owner"), ROWS)
    for moment in range(6):
        with a_migrating_process(migrator) as process:
            wait_until(superuser, THERE, or_else=lambda process=process: not process.is_alive())
            time.sleep(0.03 * moment)
    assert_complete(migrator)
    assert run(superuser, "select count(*) from tegata.audit_event") == EVENTS


def test_the_session_that_migrates_holds_the_lock_itself(enter: Enter, migrator: ConnectionTarget) -> None:
    """A lock held beside it would be free as soon as that other connection breaks."""
    superuser = enter("superuser")
    with psycopg.connect(superuser.psycopg_conninfo()) as in_the_way, a_migrating_process(migrator):
        in_the_way.execute("create table tegata.audit_event (n integer)")
        wait_until(superuser, WAITING)
        sessions = run(superuser, f"select pid from pg_stat_activity where usename = '{MIGRATOR}'")
        holders = run(superuser, "select pid from pg_locks where locktype = 'advisory' and granted")
        in_the_way.rollback()
    assert len(sessions) == 1
    assert holders == sessions


# --- indexes beside running traffic -----------------------------------------------------------------------------------


def make_index(migrator: ConnectionTarget, *, unique: bool = False) -> None:
    owner = migrator.taking_role("tegata_owner")
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(owner.psycopg_conninfo()), poolclass=NullPool
    )
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"transaction_per_migration": True})
        with context.begin_transaction(_per_migration=True), Operations.context(context):
            create_index_concurrently("account_by_time", "account (tenant_id, created_at)", unique=unique)


def indexes(target: ConnectionTarget) -> list[tuple[object, ...]]:
    return run(
        target,
        "select c.relname::text, i.indisvalid from pg_index i join pg_class c on c.oid = i.indexrelid"
        " where c.relname like 'account_by_time%'",
    )


@pytest.fixture
def peopled(enter: Enter, migrator: ConnectionTarget) -> ConnectionTarget:
    migrate(migrator)
    superuser = enter("superuser")
    run(
        superuser,
        "insert into tegata.tenant select gen_random_uuid(), 'one', '{}', '', now();"
        " insert into tegata.account (tenant_id, user_id, username, username_norm)"
        "   select tenant_id, gen_random_uuid(), n, n from tegata.tenant, generate_series(1, 1000) n",
    )
    return superuser


WRITE = "update tegata.account set updated_at = now() where username_norm = '{}'"


def test_an_index_waits_for_older_transactions_and_stops_nobody(
    peopled: ConnectionTarget, migrator: ConnectionTarget
) -> None:
    failures: list[Exception] = []

    def build() -> None:
        try:
            make_index(migrator)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            failures.append(error)

    with psycopg.connect(peopled.psycopg_conninfo()) as older:
        older.execute(WRITE.format(1).encode())
        thread = threading.Thread(target=build)
        thread.start()
        wait_until(peopled, WAITING)
        for number in range(2, 10):
            run(peopled, WRITE.format(number))
        older.commit()
        thread.join()
    assert failures == []
    assert indexes(peopled) == [("account_by_time", True)]


def test_half_an_index_is_found_and_made_again(peopled: ConnectionTarget, migrator: ConnectionTarget) -> None:
    ended: list[Exception] = []

    def build() -> None:
        try:
            make_index(migrator)
        except Exception as error:  # noqa: BLE001 - the connection is cut, and drivers say so in many ways
            ended.append(error)

    with psycopg.connect(peopled.psycopg_conninfo()) as older:
        older.execute(WRITE.format(1).encode())
        thread = threading.Thread(target=build)
        thread.start()
        wait_until(peopled, WAITING)
        run(peopled, f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{MIGRATOR}'")
        thread.join()
        older.commit()
    assert len(ended) == 1
    assert indexes(peopled) == [("account_by_time", False)]
    make_index(migrator)
    assert indexes(peopled) == [("account_by_time", True)]
    make_index(migrator)
    assert indexes(peopled) == [("account_by_time", True)]


def test_a_unique_index_that_fails_on_its_rows_does_not_pass_for_one(
    peopled: ConnectionTarget, migrator: ConnectionTarget
) -> None:
    run(peopled, "update tegata.account set created_at = now()")
    for _ in range(2):
        with pytest.raises(Exception, match="could not create unique index"):
            make_index(migrator, unique=True)
        assert indexes(peopled) == [("account_by_time", False)]


def test_the_time_limit_for_locks_is_as_before_afterwards(
    peopled: ConnectionTarget, migrator: ConnectionTarget
) -> None:
    script = migration_script(after="0001")
    assert script.count("set lock_timeout = '10min'") == script.count("set lock_timeout = '3s'") - 1
    run(peopled, f"alter role {MIGRATOR} set lock_timeout = '1234ms'")
    owner = migrator.taking_role("tegata_owner")
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(owner.psycopg_conninfo()), poolclass=NullPool
    )
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"transaction_per_migration": True})
        with context.begin_transaction(_per_migration=True), Operations.context(context):
            create_index_concurrently("account_by_time", "account (tenant_id, created_at)")
            assert connection.exec_driver_sql("show lock_timeout").scalar_one() == "1234ms"
