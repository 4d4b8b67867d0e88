"""Behind PgBouncer in transaction mode: two processes, three sessions of the server, two tenants, nothing mixed up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace

import pytest

from tegata.cli.databases import open_backend
from tegata.cli.ways_in import serving_target
from tegata.postgres.engine import Database
from tegata.postgres.storage import PostgresOperatorStorage, PostgresStorage
from tegata.postgres.tenancy import tenant
from tegata.protocol.policy import TenantPolicy
from tegata.settings import Settings
from tegata.storage.errors import Unavailable
from tegata.testing.clusters import MigratedDatabase
from tegata.testing.patience import PATIENCE_SECONDS, PATIENT
from tegata.testing.pgbouncer import PgBouncer, find_pgbouncer
from tegata.testing.records import Inhabited, inhabit
from tegata.testing.tenant_acts import Outcome, in_processes, work_of

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(find_pgbouncer() is None, reason="pgbouncer is not installed"),
]

# What a session would be told at its start: without this, PgBouncer refuses whoever says it.
_IGNORED = {"ignore_startup_parameters": "search_path,statement_timeout,idle_in_transaction_session_timeout"}


@pytest.fixture(scope="module")
def bouncer(each_migrated_database: MigratedDatabase) -> Iterator[PgBouncer]:
    with PgBouncer(each_migrated_database.admin, pool_size=3) as running:
        yield running


@pytest.fixture
async def tenants(each_migrated_database: MigratedDatabase) -> AsyncIterator[tuple[Inhabited, Inhabited]]:
    operator = PostgresOperatorStorage(each_migrated_database.maintenance, PATIENT)
    yield await inhabit(operator), await inhabit(operator)
    await operator.close()


def told(outcomes: list[Outcome]) -> dict[str, int]:
    return {
        "acts": sum(one.acts for one in outcomes),
        "wrong": sum(one.wrong for one in outcomes),
        "errors": sum(sum(one.errors.values()) for one in outcomes),
    }


async def test_two_processes_and_two_tenants_are_never_mixed_up(
    each_migrated_database: MigratedDatabase,
    bouncer: PgBouncer,
    tenants: tuple[Inhabited, Inhabited],
    count: Callable[..., None],
) -> None:
    work = work_of(bouncer.through(each_migrated_database.app), tenants)
    outcomes = in_processes([replace(work, seed=seed, count=400) for seed in (1, 2)])
    count("PgBouncer, 2 processes, 3 server connections", **told(outcomes))
    assert [(one.acts, one.wrong, one.errors) for one in outcomes] == [(400, 0, {}), (400, 0, {})]
    (pool,) = [row for row in bouncer.show("databases") if row["name"] == each_migrated_database.app.database]
    assert 1 <= int(str(pool["current_connections"])) <= 3


async def test_prepared_statements_that_are_kept_are_why(
    each_migrated_database: MigratedDatabase, tenants: tuple[Inhabited, Inhabited], count: Callable[..., None]
) -> None:
    """The same work as if there were no pooler: statements that are not there, and somebody else's."""
    with PgBouncer(each_migrated_database.admin, pool_size=3, settings=_IGNORED) as deaf:
        work = replace(work_of(deaf.through(each_migrated_database.app), tenants), transaction_pooler=False)
        outcomes = in_processes([replace(work, seed=seed, count=400) for seed in (1, 2)])
    count("PgBouncer with kept statements, as it must not be", **told(outcomes))
    # Not there, or there already and somebody else's.
    mixed_up = {"InvalidSQLStatementNameError", "DuplicatePreparedStatementError"}
    assert all(mixed_up & one.errors.keys() for one in outcomes)


async def test_without_the_setting_nothing_starts(each_migrated_database: MigratedDatabase, bouncer: PgBouncer) -> None:
    storage = PostgresStorage(bouncer.through(each_migrated_database.app), PATIENT)
    with pytest.raises(Unavailable, match="08P01"):
        await storage.check()
    await storage.close()


async def test_a_transaction_is_bounded_although_the_session_is_told_nothing(
    each_migrated_database: MigratedDatabase, bouncer: PgBouncer, tenants: tuple[Inhabited, Inhabited]
) -> None:
    limits = replace(PATIENT, size=1, statement_seconds=0.5)
    database = Database(bouncer.through(each_migrated_database.app).through_pooler(), limits)
    # The server says so; on a busy machine the driver may be the first, which has a second more.
    async with asyncio.timeout(PATIENCE_SECONDS):
        told = ""
        while "57014" not in told:
            with pytest.raises(Unavailable) as refused:
                async with tenant(database, tenants[0].tenant_id) as connection:
                    await connection.fetch("select pg_sleep(600)")
            told = str(refused.value)
    with pytest.raises(Unavailable):  # of a single statement the client alone knows the bound
        await database.value("select pg_sleep(600)")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await answer_of(database) != 1:
            await asyncio.sleep(0.01)
    await database.close()


async def answer_of(database: Database) -> object:
    try:
        return await database.value("select 1")
    except Unavailable:
        return None


async def test_a_role_cannot_be_taken_behind_a_pooler(each_migrated_database: MigratedDatabase) -> None:
    """It would have to be said at the start of a session, and then hold for whoever gets that session next."""
    with pytest.raises(ValueError, match="log in as the role itself"):
        each_migrated_database.owner.through_pooler()


async def test_the_server_hears_of_changes_past_the_pooler(
    each_migrated_database: MigratedDatabase, bouncer: PgBouncer, tenants: tuple[Inhabited, Inhabited]
) -> None:
    app, here = each_migrated_database.app, tenants[0]
    settings = Settings.from_environment(
        {
            "TEGATA_DATABASE_URL": bouncer.through(app).psycopg_conninfo(),
            "TEGATA_DATABASE_TRANSACTION_POOLER": "true",
            "TEGATA_DATABASE_LISTEN_URL": app.psycopg_conninfo(),
        }
    )
    backend = await open_backend(serving_target(settings), settings)
    heard: asyncio.Queue[str] = asyncio.Queue()
    backend.changes.subscribe(lambda tenant_id, kind, key: heard.put_nowait(kind))
    operator = PostgresOperatorStorage(each_migrated_database.maintenance, PATIENT)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await heard.get() != "tenant":
            await operator.update_tenant(here.tenant_id, TenantPolicy(display_name="new"), events=[])
    found = await backend.storage.find_tenant(here.name)
    assert found is not None
    assert found.policy.display_name == "new"
    await operator.close()
    await backend.close()
