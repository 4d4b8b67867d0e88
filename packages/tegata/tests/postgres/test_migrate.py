"""Bootstrap and migrations: idempotent, concurrent, and without any right that the owner does not need."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest

from tegata.postgres.bootstrap import bootstrap
from tegata.postgres.doctor import examine
from tegata.postgres.migrate import MigrationError, Pending, migrate, migration_script, newest_revision, pending
from tegata.postgres.stored_functions import wanted_functions
from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import Cluster

# When each statement began that waits for a lock of this database.
WAITING = """select query_start from pg_stat_activity
              where wait_event_type = 'Lock' and datname = current_database() and pid <> pg_backend_pid()"""


@pytest.fixture
def database(each_cluster: Cluster) -> Iterator[ConnectionTarget]:
    with each_cluster.empty_database() as target:
        yield target


def run(target: ConnectionTarget, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(target.psycopg_conninfo(), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def ordinary_migrator(each_cluster: Cluster, database: ConnectionTarget) -> Iterator[ConnectionTarget]:
    """A login like the migrator of a managed service: no superuser, no BYPASSRLS, a member of the owner."""
    bootstrap(database)
    run(database, "create role ci_migrator login nosuperuser nobypassrls nocreaterole nocreatedb")
    run(database, "grant tegata_owner to ci_migrator")
    yield database.entering_as("ci_migrator")
    run(database, "drop role ci_migrator")


def test_an_ordinary_member_of_the_owner_can_migrate(ordinary_migrator: ConnectionTarget) -> None:
    missing = pending(ordinary_migrator)
    assert missing.revisions[0] == "0001"
    assert missing.revisions[-1] == newest_revision()
    assert missing.functions == tuple(function.name for function in wanted_functions())
    assert migrate(ordinary_migrator) == missing
    assert not pending(ordinary_migrator)
    owners = run(
        ordinary_migrator,
        "select distinct c.relowner::regrole::text from pg_class c where c.relnamespace = 'tegata'::regnamespace",
    )
    assert owners == [("tegata_owner",)]


def test_bootstrap_and_migration_are_idempotent(database: ConnectionTarget) -> None:
    for _ in range(2):
        bootstrap(database)
        migrate(database)
    assert migrate(database) == Pending((), ())
    assert run(database, "select version_num from tegata.schema_version") == [(newest_revision(),)]


def test_an_administrator_without_superuser_can_bootstrap_and_take_the_roles(
    each_cluster: Cluster,
) -> None:
    # Its own cluster: roles are shared between databases and exist in the others already.
    fresh = Cluster(each_cluster._server._bindir)
    try:
        run(fresh.admin, "create role cloud_admin login createrole createdb nosuperuser")
        cloud = fresh.admin.entering_as("cloud_admin")
        run(cloud, "create database mine")
        target = cloud.in_database("mine")
        for _ in range(2):
            bootstrap(target)
            migrate(target)
        for role in ("tegata_app", "tegata_maint", "tegata_owner"):
            assert run(target.taking_role(role), "select current_user::text") == [(role,)]
        diagnosis = examine(target, application=target.entering_as("tegata_app"))
        assert (diagnosis.findings, diagnosis.remarks) == ((), ())
        # A server that logged in as the administrator would have the administrator's rights after RESET ROLE.
        found = examine(target, application=target.taking_role("tegata_app")).findings
        assert {finding.check for finding in found} == {"R08"}
    finally:
        fresh.stop()


def test_two_migrators_at_once_both_succeed(database: ConnectionTarget) -> None:
    bootstrap(database)
    failures: list[Exception] = []

    def one() -> None:
        try:
            migrate(database)
        except (MigrationError, psycopg.Error) as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert not pending(database)


def test_a_changed_function_is_applied_again(database: ConnectionTarget) -> None:
    bootstrap(database)
    migrate(database)
    run(database, "comment on function tegata.take_code is 'sha256:of another text'")
    assert pending(database) == Pending((), ("take_code",))
    assert migrate(database) == Pending((), ("take_code",))
    assert not pending(database)


def test_a_table_in_use_does_not_hold_the_migration_up_for_ever(database: ConnectionTarget) -> None:
    bootstrap(database)
    run(database, "create table tegata.schema_version (version_num varchar(32) primary key)")
    run(database, "alter table tegata.schema_version owner to tegata_owner")
    with psycopg.connect(database.psycopg_conninfo()) as busy:
        busy.execute("lock table tegata.schema_version in share mode")
        with pytest.raises(MigrationError, match="stays locked"):
            migrate(database, attempts=2, lock_timeout_seconds=0.1)
    migrate(database)
    assert not pending(database)


@pytest.mark.parametrize("missing", ["tegata", "tegata_jobs"])
def test_without_a_schema_the_message_says_what_to_do(database: ConnectionTarget, missing: str) -> None:
    bootstrap(database)
    migrate(database, to="0001")
    run(database, f"drop schema {missing} cascade")
    with pytest.raises(MigrationError, match=f"no schema {missing}:.*db bootstrap"):
        migrate(database)
    bootstrap(database)
    migrate(database)
    assert not pending(database)


def test_a_login_that_cannot_become_the_owner_is_told_what_to_do(database: ConnectionTarget) -> None:
    bootstrap(database)
    with pytest.raises(MigrationError, match=r"cannot become tegata_owner:.*db bootstrap"):
        migrate(database.entering_as("tegata_app"))


def test_a_revision_that_nobody_knows_is_no_beginning() -> None:
    with pytest.raises(MigrationError, match="0815"):
        migration_script(after="0815")


def test_a_table_that_becomes_free_in_time_lets_the_migration_through(database: ConnectionTarget) -> None:
    bootstrap(database)
    migrate(database, to="0001")
    outcome: list[Pending] = []
    with psycopg.connect(database.psycopg_conninfo()) as busy, psycopg.connect(database.psycopg_conninfo()) as reader:
        busy.execute("lock table tegata.audit_event in access share mode")
        busy.execute("lock table tegata.schema_version in share mode")
        thread = threading.Thread(
            target=lambda: outcome.append(migrate(database, attempts=200, lock_timeout_seconds=0.3))
        )
        thread.start()
        attempts: set[object] = set()
        while len(attempts) < 3:
            assert thread.is_alive()
            # Whoever comes while the migration waits is held up for no longer than its lock_timeout.
            reader.execute("select count(*) from tegata.audit_event")
            reader.commit()
            attempts |= {began for (began,) in run(database, WAITING)}
        busy.rollback()
        thread.join()
    assert outcome
    assert outcome[0].revisions[-1] == newest_revision()
    assert not pending(database)


def test_public_may_execute_nothing(database: ConnectionTarget) -> None:
    bootstrap(database)
    migrate(database)
    for role in run(
        database,
        "select p.proname::text from pg_proc p where p.pronamespace = 'tegata'::regnamespace"
        " and exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x where x.grantee = 0)",
    ):
        pytest.fail(f"PUBLIC may execute {role}")


def test_nobody_but_its_owner_may_make_temporary_objects_in_the_database(database: ConnectionTarget) -> None:
    """A type in a temporary schema would come before one of the catalogue."""
    bootstrap(database)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run(database.entering_as("tegata_app"), "create temporary table temporary (n integer)")
