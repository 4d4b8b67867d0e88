"""The months of the audit log while somebody is in the way for a moment: what gives up on its locks is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import psycopg
import pytest

from tegata.postgres.engine import Database
from tegata.postgres.partitions import add_partitions, drop_partitions
from tegata.testing.clusters import Cluster, MigratedDatabase
from tegata.testing.patience import PATIENT

pytestmark = pytest.mark.anyio

NOW = datetime(2030, 5, 5, tzinfo=UTC).timestamp()
MONTHS = [f"audit_event_2030_0{month}" for month in (6, 7, 8)]


@pytest.fixture
def database(each_cluster: Cluster) -> Iterator[MigratedDatabase]:
    with each_cluster.migrated_database() as found:
        yield found


@pytest.fixture
async def maintenance(database: MigratedDatabase) -> AsyncIterator[Database]:
    opened = Database(database.maintenance, PATIENT)
    yield opened
    await opened.close()


class Reader:
    """Somebody who reads the log until the first pause of whoever waits for it."""

    def __init__(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        self._connection = connection
        self.pauses: list[float] = []
        connection.execute("select count(*) from tegata.audit_event")

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) == 1:
            self._connection.rollback()
        else:  # the machine itself is in the way
            await asyncio.sleep(seconds)


@contextmanager
def reading(database: MigratedDatabase) -> Iterator[Reader]:
    with psycopg.connect(database.admin.psycopg_conninfo()) as connection:
        yield Reader(connection)


async def test_months_are_made_once_a_reader_has_gone(database: MigratedDatabase, maintenance: Database) -> None:
    with reading(database) as reader:
        assert await add_partitions(maintenance, now=NOW, pause=reader.pause) == MONTHS
        assert reader.pauses[0] > 0


async def test_months_are_dropped_once_a_reader_has_gone(database: MigratedDatabase, maintenance: Database) -> None:
    await add_partitions(maintenance, now=NOW)
    with reading(database) as reader:
        after = datetime(2030, 9, 1, tzinfo=UTC).timestamp()
        async for _ in drop_partitions(maintenance, before=after, batch=10, pause=reader.pause):
            pass
        assert reader.pauses[0] > 0
    assert await add_partitions(maintenance, now=NOW) == MONTHS
