"""The pool: bounded, healing by itself, and without a trace of one request in the next."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from uuid import UUID, uuid4

import asyncpg
import pytest

from tegata.identifiers import TenantId
from tegata.postgres.engine import Database, TenantMissing, as_storage_error
from tegata.postgres.migrate import newest_revision
from tegata.postgres.storage import NEEDED_REVISION, PostgresStorage
from tegata.postgres.tenancy import across_tenants, tenant
from tegata.storage.errors import Conflict, Unavailable
from tegata.testing.clusters import Cluster, MigratedDatabase
from tegata.testing.patience import PATIENCE_SECONDS, PATIENT

pytestmark = pytest.mark.anyio

ONE = replace(PATIENT, size=1)
WHO = "select nullif(current_setting('app.tenant_id', true), '')"


@pytest.fixture
async def small(each_migrated_database: MigratedDatabase) -> AsyncIterator[Database]:
    """One connection for everybody."""
    database = Database(each_migrated_database.app, ONE)
    yield database
    await database.close()


async def answered(database: Database) -> object:
    """What it answers once nothing takes longer than its limits: a busy machine may break small ones at any time."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with suppress(Unavailable):
                return await database.value("select 1")


def new_tenant() -> TenantId:
    return TenantId(uuid4())


async def test_the_tenant_ends_with_the_transaction(small: Database) -> None:
    tenant_id = new_tenant()
    async with tenant(small, tenant_id) as connection:
        assert await connection.fetchval(WHO) == str(tenant_id)
    assert await small.value(WHO) is None
    with pytest.raises(TenantMissing):
        await small.rows("select * from tegata.session")


async def test_a_failed_transaction_leaves_neither_rows_nor_tenant(small: Database) -> None:
    with pytest.raises(RuntimeError, match="ours"):
        async with tenant(small, new_tenant()):
            raise RuntimeError("ours")
    with pytest.raises(Conflict):
        async with tenant(small, tenant_id := new_tenant()) as connection:
            await connection.execute(
                "insert into tegata.revoked_token (tenant_id, token_id, expires_at) values ($1, 'x', now())", tenant_id
            )
    assert await small.value(WHO) is None
    assert small.pool.open_connections == 1
    assert small.pool.busy_connections == 0


async def test_a_tenant_that_is_no_uuid_never_reaches_the_server(small: Database) -> None:
    with pytest.raises(TypeError):
        async with tenant(small, "'; drop table tegata.session; --"):  # type: ignore[arg-type]
            pass


async def test_two_tenants_with_cancellations_on_one_connection_never_mix(
    each_migrated_database: MigratedDatabase,
) -> None:
    database = Database(each_migrated_database.app, ONE)
    tenants = [new_tenant(), new_tenant()]
    seen: list[tuple[str, str]] = []
    chance = random.Random(7)

    async def ask(tenant_id: TenantId) -> None:
        async with tenant(database, tenant_id) as connection:
            answer = await connection.fetchval(WHO)
            await asyncio.sleep(0)
            seen.append((answer, str(tenant_id)))

    for _ in range(40):
        tasks = [asyncio.create_task(ask(tenant_id)) for tenant_id in tenants * 3]
        await asyncio.sleep(chance.random() / 500)
        chance.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await database.close()
    assert len(seen) > 40
    assert all(answer == expected for answer, expected in seen)


async def test_waiting_for_a_connection_is_bounded(each_migrated_database: MigratedDatabase) -> None:
    database = Database(each_migrated_database.app, replace(ONE, wait_seconds=0.1))
    async with across_tenants(database):
        with pytest.raises(Unavailable, match="no free database connection"):
            await database.value("select 1")
    assert await database.value("select 1") == 1
    await database.close()


async def test_whoever_waits_gets_the_connection_that_comes_back(each_migrated_database: MigratedDatabase) -> None:
    database = Database(each_migrated_database.app, replace(PATIENT, size=2))
    results = await asyncio.gather(*(database.value("select $1::int", number) for number in range(200)))
    assert results == list(range(200))
    assert database.pool.open_connections <= 2
    assert database.pool.busy_connections == 0
    await database.close()


async def test_a_waiter_that_gives_up_passes_its_turn_on(small: Database) -> None:
    async with across_tenants(small):
        impatient = asyncio.create_task(small.value("select 1"))
        await asyncio.sleep(0.01)
        impatient.cancel()
        patient = asyncio.create_task(small.value("select 2"))
        await asyncio.sleep(0.01)
    assert await patient == 2
    with pytest.raises(asyncio.CancelledError):
        await impatient


async def test_a_cancelled_statement_costs_one_connection_and_no_more(
    small: Database, each_migrated_database: MigratedDatabase
) -> None:
    sleeping = asyncio.create_task(small.value("select pg_sleep(600)"))
    admin = Database(each_migrated_database.admin, ONE)
    async with asyncio.timeout(PATIENCE_SECONDS):
        sleeps = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
        while not await admin.value(sleeps):
            await asyncio.sleep(0.01)
    await admin.close()
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    assert await small.value("select 1") == 1
    assert small.pool.open_connections == 1


async def test_a_statement_that_takes_too_long_is_unavailable(each_migrated_database: MigratedDatabase) -> None:
    """The server says so; the driver does, a second later, where the server has not got round to it."""
    database = Database(each_migrated_database.app, replace(ONE, statement_seconds=0.5))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with pytest.raises(Unavailable) as told:
                await database.value("select pg_sleep(600)")
            if "57014" in str(told.value):
                break
    assert await answered(database) == 1
    await database.close()


async def test_an_old_connection_is_replaced(each_migrated_database: MigratedDatabase) -> None:
    database = Database(each_migrated_database.app, replace(ONE, age_seconds=0.0))
    first, second = [await database.value("select pg_backend_pid()") for _ in range(2)]
    assert first != second
    await database.close()


async def test_a_restart_of_the_server_heals_by_itself() -> None:
    cluster = Cluster()
    try:
        with cluster.migrated_database() as migrated:
            database = Database(migrated.app, PATIENT)
            await asyncio.gather(*(database.value("select 1") for _ in range(8)))
            await asyncio.to_thread(cluster.restart)
            answers = []
            for _ in range(10):
                try:
                    answers.append(await database.value("select 1"))
                except Unavailable:
                    answers.append(None)
            assert answers[-1] == 1
            assert database.pool.open_connections <= 4
            await database.close()
    finally:
        cluster.stop()


async def test_a_server_that_is_not_there_is_unavailable(each_migrated_database: MigratedDatabase) -> None:
    nowhere = Database(each_migrated_database.app.in_database("nowhere"), ONE)
    for _ in range(3):  # the slot is free again each time
        with pytest.raises(Unavailable):
            await nowhere.value("select 1")
    assert nowhere.pool.open_connections == 0


async def test_a_closed_pool_answers_nobody(each_migrated_database: MigratedDatabase) -> None:
    database = Database(each_migrated_database.app, ONE)
    await database.value("select 1")
    await database.close()
    with pytest.raises(Unavailable, match="closed"):
        await database.value("select 1")


async def test_a_fault_of_ours_stays_one(small: Database) -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        await small.value("select * from tegata.no_such_table")
    assert await small.value("select 1") == 1


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (asyncpg.UniqueViolationError("x"), Conflict),
        (asyncpg.ForeignKeyViolationError("x"), Conflict),
        (asyncpg.TooManyConnectionsError("x"), Unavailable),
        (asyncpg.AdminShutdownError("x"), Unavailable),
        (asyncpg.ReadOnlySQLTransactionError("x"), Unavailable),
        (asyncpg.InvalidPasswordError("x"), Unavailable),
        (asyncpg.DeadlockDetectedError("x"), Unavailable),
        (asyncpg.IdleInTransactionSessionTimeoutError("x"), Unavailable),
        (asyncpg.ConnectionDoesNotExistError("x"), Unavailable),
        (asyncpg.InterfaceError("x"), Unavailable),
        (ConnectionRefusedError(), Unavailable),
        (TimeoutError(), Unavailable),
        (asyncpg.UndefinedColumnError("x"), type(None)),
        (asyncpg.CheckViolationError("x"), type(None)),
        (ValueError(), type(None)),
    ],
)
def test_what_an_error_means(error: Exception, meaning: type) -> None:
    assert type(as_storage_error(error)) is meaning


def test_this_release_needs_a_revision_that_exists() -> None:
    assert newest_revision() >= NEEDED_REVISION


async def test_a_schema_that_is_not_there_is_not_ready(each_cluster: Cluster) -> None:
    with each_cluster.empty_database() as empty:
        storage = PostgresStorage(empty, ONE)
        with pytest.raises(Unavailable, match="migrate"):
            await storage.check()
        await storage.close()


async def test_uuids_come_back_as_uuids(small: Database) -> None:
    value = await small.value("select $1::uuid", UUID(int=5))
    assert isinstance(value, UUID)
