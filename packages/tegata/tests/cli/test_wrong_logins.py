"""What a person is told who logs in as the wrong role, or where the server takes no login: one line with the cure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from tegata.cli.databases import operator_storage
from tegata.cli.failures import explain
from tegata.postgres.errors import as_storage_error
from tegata.postgres.jobs import open_jobs
from tegata.postgres.logins import open_psycopg
from tegata.postgres.storage import PostgresStorage
from tegata.postgres.target import ConnectionTarget
from tegata.storage.errors import Unavailable
from tegata.testing.clusters import Cluster, MigratedDatabase
from tegata.testing.patience import PATIENT

pytestmark = pytest.mark.anyio


@pytest.fixture
def database(clusters: dict[str, Cluster]) -> Iterator[MigratedDatabase]:
    with clusters["18"].migrated_database() as found:
        yield found


def run(target: ConnectionTarget, statement: str) -> None:
    with psycopg.connect(target.psycopg_conninfo(), autocommit=True) as connection:
        connection.execute(statement.encode())


@asynccontextmanager
async def served(target: ConnectionTarget) -> AsyncIterator[PostgresStorage]:
    storage = PostgresStorage(target, PATIENT)
    try:
        yield storage
    finally:
        await storage.close()


async def test_work_across_tenants_is_refused_to_the_application_role(database: MigratedDatabase) -> None:
    with pytest.raises(Unavailable, match=r"entered as tegata_app, .* enter it as the maintenance role"):
        async with operator_storage(database.app):
            pass


async def test_a_superuser_and_the_owner_may_work_across_tenants(database: MigratedDatabase) -> None:
    for target in (database.admin, database.maintenance, database.owner):
        async with operator_storage(target):
            pass


async def test_the_server_tells_the_migrator_that_it_is_the_wrong_login(database: MigratedDatabase) -> None:
    async with served(database.admin.entering_as("tegata_migrator")) as storage:
        with pytest.raises(Unavailable, match="a member of the owner: enter it as the application role"):
            await storage.check()


async def test_a_login_without_any_right_is_not_told_to_migrate(database: MigratedDatabase) -> None:
    run(database.admin, "create role visitor_of_nothing login")
    try:
        async with served(database.admin.entering_as("visitor_of_nothing")) as storage:
            with pytest.raises(Unavailable, match="may not look into schema tegata: enter it as the application role"):
                await storage.check()
    finally:
        run(database.admin, "drop role visitor_of_nothing")


async def test_a_database_without_the_schema_is_to_be_migrated(database: MigratedDatabase) -> None:
    run(database.admin, "drop schema tegata cascade")
    async with served(database.app) as storage:
        with pytest.raises(Unavailable, match="run `tegata migrate`"):
            await storage.check()


async def test_a_worker_without_its_schema_is_told_who_makes_it(database: MigratedDatabase) -> None:
    run(database.admin, "drop schema tegata_jobs cascade")
    with pytest.raises(Unavailable, match="`tegata db bootstrap`, then `tegata migrate`"):
        async with open_jobs(database.maintenance, [], finish_seconds=1.0):
            pass


async def test_a_database_that_is_not_there_is_told_by_both_drivers(database: MigratedDatabase) -> None:
    nowhere = database.app.in_database("nowhere")
    async with served(nowhere) as storage:
        with pytest.raises(Unavailable) as asked:
            await storage.check()
    with pytest.raises(psycopg.OperationalError) as logged_in:
        open_psycopg(nowhere)
    for error in (asked.value, logged_in.value):
        told = str(explain(error))
        assert '"nowhere" does not exist' in told
        assert "--create-database" in told
        assert "\n" not in told


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ('connection failed: FATAL:  password authentication failed for user "a"', "a password is given"),
        ("connection failed: fe_sendauth: no password supplied", "PGPASSWORD"),
        ("connection failed: Connection refused\n\tIs the server running on that host?", "check host and port"),
        ('connection failed: FATAL:  no pg_hba.conf entry for host "192.0.2.1"', "pg_hba.conf"),
    ],
)
async def test_a_refused_login_is_told_with_the_cure_in_one_line(said: str, cure: str) -> None:
    told = str(explain(psycopg.OperationalError(said)))
    assert cure in told
    assert "\n" not in told


async def test_a_closed_port_is_told_with_the_cure_by_asyncpg() -> None:
    found = as_storage_error(ConnectionRefusedError(111, "Connect call failed"))
    assert "check host and port" in str(found)


async def test_an_error_of_a_statement_is_told_without_the_statement(database: MigratedDatabase) -> None:
    with open_psycopg(database.admin) as connection, pytest.raises(psycopg.Error) as raised:
        connection.execute("do $$ begin raise exception 'no such thing' using hint = 'make one'; end $$")
    assert str(explain(raised.value)) == "the database cannot be used: no such thing; make one"
