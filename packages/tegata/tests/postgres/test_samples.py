"""What metrics say of the database: counted where it happens, read without asking the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import asyncpg
import pytest

from tegata.identifiers import TenantId
from tegata.postgres.reader import FALLBACKS, Reader
from tegata.postgres.reader_breaker import Breaker
from tegata.postgres.samples import samples_of
from tegata.postgres.storage import PostgresStorage
from tegata.postgres.tenancy import tenant
from tegata.storage.errors import Unavailable
from tegata.testing.clusters import MigratedDatabase
from tegata.testing.patience import PATIENCE_SECONDS, PATIENT

pytestmark = pytest.mark.anyio
LIMITS = replace(PATIENT, size=1, wait_seconds=0.05)


@pytest.fixture
async def storage(migrated_database: MigratedDatabase) -> AsyncIterator[PostgresStorage]:
    reader = Reader(
        migrated_database.app.in_database("no_such_database"),
        LIMITS,
        breaker=Breaker(clock=lambda: 0.0),
        patience_seconds=PATIENCE_SECONDS,
        connect_seconds=PATIENCE_SECONDS,
    )
    storage = PostgresStorage(migrated_database.app, LIMITS, reader=reader)
    yield storage
    await storage.close()


def values(storage: PostgresStorage) -> dict[tuple[str, ...], float]:
    return {
        (sample.metric.name.removeprefix("tegata_"), *sample.labels): sample.value for sample in samples_of(storage)
    }


async def test_connections_that_are_open_and_in_use(storage: PostgresStorage) -> None:
    assert values(storage)[("database_pool_open", "writer")] == 0
    async with tenant(storage.database, TenantId(uuid4())):
        found = values(storage)
        assert found[("database_pool_size", "writer")] == 1
        assert found[("database_pool_open", "writer")] == found[("database_pool_busy", "writer")] == 1
    assert values(storage)[("database_pool_busy", "writer")] == 0


async def test_requests_that_got_no_connection(storage: PostgresStorage) -> None:
    async with tenant(storage.database, TenantId(uuid4())):
        with pytest.raises(Unavailable):
            await storage.check()
    found = values(storage)
    assert found[("database_pool_refused", "writer")] == 1
    assert found[("database_pool_waiting", "writer")] == 0


async def test_errors_by_class_wherever_they_come_from(storage: PostgresStorage) -> None:
    with pytest.raises(asyncpg.DivisionByZeroError):
        await storage.database.value("select 1 / 0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with tenant(storage.database, TenantId(uuid4())) as connection:
            await connection.execute("select 1 / 0")
    with pytest.raises(Unavailable):
        await storage.database.value("select pg_terminate_backend(pg_backend_pid())")
    found = values(storage)
    assert found[("database_errors", "writer", "22")] == 2
    assert sum(value for key, value in found.items() if key[:2] == ("database_errors", "writer")) == 3


async def test_what_became_of_marked_reads(storage: PostgresStorage) -> None:
    reads = await storage.tenant_readonly(TenantId(uuid4()))
    assert await reads.list_roles() == []
    assert await reads.list_roles() == []
    found = values(storage)
    assert found[("reader_reads",)] == 0
    assert {key[1]: value for key, value in found.items() if key[0] == "reader_fallbacks"} == {
        **dict.fromkeys(FALLBACKS, 0),
        # It is a primary, and has no such database: the first read finds out, the second does not try.
        "unreachable": 1,
        "paused": 1,
    }
    assert found[("database_errors", "reader", "3D")] == 1
