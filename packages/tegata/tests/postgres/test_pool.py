"""The pool: bounded in connections, in waiting and in those who wait; what is known to be dead is not handed out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from tegata.identifiers import TenantId
from tegata.postgres.engine import Database, Pool
from tegata.postgres.target import ConnectionTarget
from tegata.postgres.tenancy import across_tenants, tenant
from tegata.storage.errors import Unavailable
from tegata.testing.clusters import MigratedDatabase
from tegata.testing.patience import PATIENCE_SECONDS, PATIENT

pytestmark = pytest.mark.anyio

LIMITS = replace(PATIENT, size=1)
PID = "select pg_backend_pid()"


@pytest.fixture
async def database(each_migrated_database: MigratedDatabase) -> AsyncIterator[Database]:
    """One connection for everybody."""
    database = Database(each_migrated_database.app, LIMITS)
    yield database
    await database.close()


def end_sessions(admin: psycopg.Connection[tuple[object, ...]], *pids: int) -> None:
    """End sessions of the server and wait until they are gone. Blocks: nothing else runs meanwhile."""
    for pid in pids:
        admin.execute("select pg_terminate_backend(%s, 60000)", [pid])


@pytest.fixture
def admin(each_migrated_database: MigratedDatabase) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(each_migrated_database.admin.psycopg_conninfo(), autocommit=True)


async def test_a_session_that_ended_in_silence_costs_nobody_an_error(
    database: Database, admin: psycopg.Connection[tuple[object, ...]]
) -> None:
    """The event loop has not heard of the end yet: nothing must be sent before it has looked."""
    with admin:
        for _ in range(20):
            pid = await database.value(PID)
            end_sessions(admin, pid)
            assert await database.value(PID) != pid
    assert database.pool.open_connections == 1


async def test_a_session_that_ends_before_a_transaction_begins_costs_nobody_an_error(
    each_migrated_database: MigratedDatabase, admin: psycopg.Connection[tuple[object, ...]]
) -> None:
    database = Database(each_migrated_database.app, replace(LIMITS, size=3))
    async with AsyncExitStack() as stack:
        pids = [await (await stack.enter_async_context(across_tenants(database))).fetchval(PID) for _ in range(3)]
    tenant_id = TenantId(uuid4())
    with admin:
        end_sessions(admin, *pids)
    async with tenant(database, tenant_id) as connection:
        assert await connection.fetchval("select current_setting('app.tenant_id')") == str(tenant_id)
        assert await connection.fetchval(PID) not in pids
    await database.close()


async def test_a_connection_that_was_idle_for_long_is_asked_before_it_is_used(
    each_migrated_database: MigratedDatabase,
) -> None:
    """Behind a firewall that has forgotten it, a connection gives no sign; asking is what finds out."""
    asked = Database(each_migrated_database.app, replace(LIMITS, check_after_seconds=0.0))
    first = await asked.value(PID)
    assert await asked.value(PID) == first  # it lives, so it stays
    (connection,) = asked.pool._idle
    connection._protocol.abort()  # what is written from now on goes nowhere
    assert await asked.value(PID) != first
    await asked.close()


class Relay:
    """Passes everything on in both directions, but not that the server has closed its end: its last words alone."""

    def __init__(self, server: ConnectionTarget, directory: Path) -> None:
        self._server = server
        self._path = directory / f".s.PGSQL.{server.port}"
        self.target = replace(server, host=str(directory))

    async def __aenter__(self) -> Relay:
        self._tasks: list[asyncio.Task[None]] = []
        self._from_server: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._listener = await asyncio.start_unix_server(self._accept, self._path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()

    async def until_all_is_said(self, pool: Pool) -> None:
        """Wait until the server has closed its end of every connection and the driver has read what came before."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*self._from_server, return_exceptions=True)
            while any(kept.poll and kept.poll.poll(0) for kept in pool._kept.values()):
                await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = f"{self._server.host}/.s.PGSQL.{self._server.port}"
        upstream, downstream = await asyncio.open_unix_connection(behind)
        self._writers += [writer, downstream]
        self._from_server.append(asyncio.create_task(self._pump(upstream, writer)))
        self._tasks += [asyncio.create_task(self._pump(reader, downstream)), self._from_server[-1]]

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)


async def test_last_words_without_an_end_cost_nobody_an_error(
    each_migrated_database: MigratedDatabase, admin: psycopg.Connection[tuple[object, ...]], tmp_path: Path
) -> None:
    """The driver has read that the session was ended and waits for the end; what it is asked then is never sent."""
    with admin:
        async with Relay(each_migrated_database.app, tmp_path) as relay:
            database = Database(relay.target, LIMITS)
            pid = await database.value(PID)
            end_sessions(admin, pid)
            await relay.until_all_is_said(database.pool)
            assert await database.value(PID) != pid
            pid = await database.value(PID)
            end_sessions(admin, pid)
            await relay.until_all_is_said(database.pool)
            async with across_tenants(database) as connection:
                assert await connection.fetchval(PID) != pid
            assert database.pool.open_connections == 1
            await database.close()


async def test_what_the_server_says_unasked_does_not_cost_the_connection(
    database: Database, admin: psycopg.Connection[tuple[object, ...]]
) -> None:
    pid = await database.value(PID)
    await database.value("select count(*) from pg_stat_activity")
    async with across_tenants(database) as connection:
        await connection.execute("listen something")
    with admin:
        admin.execute("notify something")
    assert await database.value(PID) == pid


async def test_those_who_wait_are_bounded_in_number(each_migrated_database: MigratedDatabase) -> None:
    database = Database(each_migrated_database.app, replace(LIMITS, waiting=3))
    async with across_tenants(database):
        patient = [asyncio.create_task(database.value("select 1")) for _ in range(3)]
        await asyncio.sleep(0)
        assert database.pool.waiting == 3
        for _ in range(50):
            with pytest.raises(Unavailable, match="too many requests wait"):
                await database.value("select 1")
        assert database.pool.waiting == 3
    assert await asyncio.gather(*patient) == [1, 1, 1]
    assert database.pool.waiting == 0
    await database.close()


async def test_who_gave_up_is_not_kept(each_migrated_database: MigratedDatabase) -> None:
    """Nothing comes back while a table is locked: what is left of earlier requests would fill the memory."""
    database = Database(each_migrated_database.app, replace(LIMITS, wait_seconds=0.01))
    async with across_tenants(database):
        for _ in range(20):
            with pytest.raises(Unavailable, match="no free"):
                await database.value("select 1")
        cancelled = asyncio.create_task(database.value("select 1"))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        assert database.pool.waiting == 0
    await database.close()


async def test_no_slot_is_lost_however_connections_end(
    each_migrated_database: MigratedDatabase, admin: psycopg.Connection[tuple[object, ...]]
) -> None:
    database = Database(each_migrated_database.app, replace(LIMITS, size=4))
    with admin:
        for _ in range(10):
            tasks = [asyncio.create_task(database.value("select pg_sleep(0.02)")) for _ in range(12)]
            await asyncio.sleep(0.01)
            tasks[1].cancel()
            found = admin.execute(
                "select pid from pg_stat_activity"
                " where query like '%pg_sleep(0.02)%' and pid <> pg_backend_pid() limit 2"
            )
            # Whoever is told to end and has not ended yet would still be handed out.
            end_sessions(admin, *(int(str(pid)) for (pid,) in found.fetchall()))
            await asyncio.gather(*tasks, return_exceptions=True)
    assert database.pool.busy_connections == 0
    assert database.pool.open_connections <= 4
    assert await asyncio.gather(*(database.value("select 1") for _ in range(8))) == [1] * 8
    await database.close()
