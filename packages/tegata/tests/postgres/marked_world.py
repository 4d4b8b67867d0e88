"""A storage with a reader, and what tests do to the two servers behind it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psycopg

from tegata.postgres.engine import PoolLimits
from tegata.postgres.fence import Fence, take_fence
from tegata.postgres.reader import Reader
from tegata.postgres.reader_breaker import Breaker
from tegata.postgres.storage import PostgresOperatorStorage
from tegata.postgres.target import ConnectionTarget
from tegata.storage.marked_reads import EventSearch, TenantReads
from tegata.testing.clusters import MigratedDatabase
from tegata.testing.patience import PATIENCE_SECONDS, PATIENT
from tegata.testing.records import Inhabited, event, inhabit

EVERYTHING = EventSearch()


class World:
    """The operator's storage with a reader, two tenants, and what the test does to the reader."""

    def __init__(self, storage: PostgresOperatorStorage, reader: Reader) -> None:
        self.storage = storage
        self.reader = reader
        self.here: Inhabited
        self.there: Inhabited

    async def write(self, type_: str) -> None:
        await self.storage.write_events([(self.here.tenant_id, event(type_))])

    async def types(self) -> set[str]:
        """The types of events, by a marked read."""
        reads = await self.storage.tenant_readonly(self.here.tenant_id)
        return {found.type for found in await reads.search_events(EVERYTHING, limit=1000)}

    def went_to_the_writer(self) -> dict[str, int]:
        return {reason: count for reason, count in self.reader.use.fallbacks.items() if count}

    async def until_the_reader_answers(self) -> TenantReads:
        """Wait for a reader that is where the writer is now, and return reads that it goes on answering.

        Reads that begin later have a later fence: the server writes into its log whenever it likes, and the reader
        may be behind that for a moment.
        """
        before = self.reader.use.reads
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            reads = await self.storage.tenant_readonly(self.here.tenant_id)
            await reads.list_roles()
            if self.reader.use.reads > before:
                return reads
            assert time.monotonic() < deadline, self.went_to_the_writer()
            await asyncio.sleep(0.02)

    async def passed_fence(self) -> Fence:
        """A fence that the reader has passed."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            fence = await take_fence(self.storage.database)
            assert fence is not None
            if await self.reader.attempt(fence, self.here.tenant_id, lambda on: on.fetchval("select 1")) is not None:
                return fence
            assert time.monotonic() < deadline, self.went_to_the_writer()
            await asyncio.sleep(0.02)


@asynccontextmanager
async def world_of(
    writer: MigratedDatabase,
    target: ConnectionTarget,
    *,
    limits: PoolLimits = PATIENT,
    breaker: Breaker | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> AsyncIterator[World]:
    """Without a breaker of the test's own the reader is asked again at once, whatever has become of asking it."""
    reader = Reader(
        target,
        limits,
        breaker=breaker or Breaker(first_pause_seconds=0.0, longest_pause_seconds=0.0),
        patience_seconds=patience_seconds,
        connect_seconds=PATIENCE_SECONDS,
    )
    world = World(PostgresOperatorStorage(writer.maintenance, PATIENT, reader=reader), reader)
    try:
        world.here, world.there = await inhabit(world.storage), await inhabit(world.storage)
        yield world
    finally:
        await world.storage.close()


def execute(target: ConnectionTarget, *statements: str) -> list[tuple[object, ...]]:
    with psycopg.connect(target.psycopg_conninfo(), autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)  # type: ignore[arg-type] - a test's own text
        return cursor.fetchall() if cursor.description else []


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)
