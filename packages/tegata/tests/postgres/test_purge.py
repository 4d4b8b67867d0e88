"""Purging: by index, in batches, beside requests and beside other runs, and harmless wherever it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace

import psycopg
import pytest

from tegata.identifiers import Digest
from tegata.postgres.storage import PostgresOperatorStorage, PostgresStorage
from tegata.postgres.target import ConnectionTarget
from tegata.storage.errors import StorageError, Unavailable
from tegata.storage.records import NewRefreshToken
from tegata.testing.clusters import Cluster, MigratedDatabase
from tegata.testing.patience import PATIENCE_SECONDS, PATIENT
from tegata.testing.records import NOW, World, event, inhabit, new_digest

pytestmark = pytest.mark.anyio

Rows = list[tuple[object, ...]]
LIMITS = replace(PATIENT, size=8)
DAY = 24 * 3600
FAR = NOW + 400 * DAY


@pytest.fixture
def database(each_cluster: Cluster) -> Iterator[MigratedDatabase]:
    with each_cluster.migrated_database() as found:
        yield found


@pytest.fixture
async def world(database: MigratedDatabase) -> AsyncIterator[World]:
    storage = PostgresStorage(database.app, LIMITS)
    operator = PostgresOperatorStorage(database.maintenance, LIMITS)
    yield World(storage, operator, await inhabit(operator), await inhabit(operator))
    await storage.close()
    await operator.close()


def run(target: ConnectionTarget, statement: str, *arguments: object) -> Rows:
    with psycopg.connect(target.psycopg_conninfo(), autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), arguments or None)
        return cursor.fetchall() if cursor.description else []


def count(database: MigratedDatabase, table: str) -> int:
    return int(str(run(database.admin, f"select count(*) from tegata.{table}")[0][0]))


def assertions(database: MigratedDatabase, world: World, rows: int, *, ended: int) -> None:
    """Many ids of assertions, of which so many have ended."""
    run(
        database.admin,
        "insert into tegata.assertion select %s, sha256(n::text::bytea), to_timestamp(%s) + n * interval '1 s'"
        " from generate_series(1, %s) n",
        world.here.tenant_id,
        NOW - ended,
        rows,
    )
    run(database.admin, "analyze tegata.assertion")


INDEXED = (
    "session",
    "authorization_code",
    "refresh_token",
    "opaque_token",
    "revoked_token",
    "interaction",
    "assertion",
)


@pytest.mark.parametrize("table", INDEXED)
def test_there_is_an_index_in_the_order_of_the_end(database: MigratedDatabase, table: str) -> None:
    columns = run(
        database.admin,
        "select am.amname::text from pg_index i join pg_class x on x.oid = i.indexrelid"
        " join pg_am am on am.oid = x.relam join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]"
        " where i.indrelid = %s::regclass and a.attname = 'expires_at' and i.indisvalid",
        f"tegata.{table}",
    )
    assert columns == [("btree",)]


async def test_a_run_reads_what_has_ended_and_not_the_table(database: MigratedDatabase, world: World) -> None:
    """A thousand rows of a hundred thousand have ended, then none: neither run may read the others."""
    assertions(database, world, 100_000, ended=1000)
    reads = """select seq_tup_read, coalesce(idx_tup_fetch, 0) from pg_stat_all_tables
                where relid = 'tegata.assertion'::regclass"""
    before = run(database.admin, reads)[0]
    purger = PostgresOperatorStorage(database.maintenance, LIMITS)
    for expected in (1000, 0, 0, 0, 0, 0, 0, 0):
        assert (await purger.purge_expired(now=NOW, batch=300))["assertion"] == expected
    await purger.close()
    # Its sessions tell what they have read when they end.
    gone = "select count(*) from pg_stat_activity where usename = 'tegata_maint' and datname = current_database()"
    async with asyncio.timeout(PATIENCE_SECONDS):
        while run(database.admin, gone) != [(1,)]:
            await asyncio.sleep(0.01)
    after = run(database.admin, reads)[0]
    assert after[0] == before[0]
    assert 1000 <= int(str(after[1])) - int(str(before[1])) <= 4000


async def test_a_run_goes_through_tables_that_no_index_helps_with_once_and_whole(
    database: MigratedDatabase, world: World
) -> None:
    run(
        database.admin,
        "insert into tegata.throttle select %s, sha256(n::text::bytea), 1, to_timestamp(%s - n %% 2 * 200000)"
        " from generate_series(1, 60000) n",
        world.here.tenant_id,
        NOW,
    )
    assert run(database.admin, "select pg_relation_size('tegata.throttle') / 8192 > 1000") == [(True,)]
    removed = await world.operator.purge_expired(now=NOW, batch=700)
    assert removed["throttle"] == 30_000
    assert count(database, "throttle") == 30_000


async def test_two_runs_at_once_share_the_work(database: MigratedDatabase, world: World) -> None:
    assertions(database, world, 6000, ended=6000)
    for _ in range(20):
        await world.issued()
    runs = await asyncio.gather(*(world.operator.purge_expired(now=FAR, batch=100) for _ in range(4)))
    assert sum(one["assertion"] for one in runs) == 6000
    # What one run has skipped because the other held its children goes with the next.
    last = await world.operator.purge_expired(now=FAR)
    assert sum(one["grant_record"] for one in (*runs, last)) == 20
    assert count(database, "assertion") == count(database, "grant_record") == 0


async def test_a_row_that_somebody_holds_is_left_for_the_next_run(database: MigratedDatabase, world: World) -> None:
    assertions(database, world, 10, ended=10)
    with psycopg.connect(database.admin.psycopg_conninfo()) as holder:
        holder.execute("select * from tegata.assertion limit 1 for key share")
        assert (await world.operator.purge_expired(now=FAR))["assertion"] == 9
    assert (await world.operator.purge_expired(now=FAR))["assertion"] == 1


async def test_no_budget_lets_one_batch_of_each_kind_through(database: MigratedDatabase, world: World) -> None:
    assertions(database, world, 1000, ended=1000)
    sessions = [world.here.session() for _ in range(30)]
    for session in sessions:
        await world.storage.start_session(world.here.tenant_id, new_digest(), session, replaces=None, events=[])
    for left in (20, 10, 0):
        removed = await world.operator.purge_expired(now=FAR, batch=10, budget_seconds=0.0)
        assert (removed["assertion"], removed["session"]) == (10, 10)
        assert count(database, "session") == left
    assert count(database, "assertion") == 970


async def test_a_grant_goes_after_everything_that_hangs_on_it(database: MigratedDatabase, world: World) -> None:
    grant, _ = await world.issued()
    await world.storage.store_tokens(
        world.here.tenant_id,
        grant_id=grant.grant_id,
        refresh=None,
        opaque=replace(world.here.opaque(grant), expires_at=int(FAR) + DAY),
        now=NOW,
        events=[],
    )
    run(database.admin, "update tegata.grant_record set expires_at = to_timestamp(%s)", NOW)
    assert (await world.operator.purge_expired(now=FAR))["grant_record"] == 0
    assert count(database, "opaque_token") == 1
    removed = await world.operator.purge_expired(now=FAR + 2 * DAY)
    assert (removed["opaque_token"], removed["grant_record"]) == (1, 1)


async def test_one_batch_of_grants_deletes_nothing_else(database: MigratedDatabase, world: World) -> None:
    """A cascade would make a batch as large as a family of tokens is."""
    _, refresh = await world.issued(offline=True)
    for _ in range(50):
        successor = NewRefreshToken(new_digest(), NOW + 7 * DAY)
        refresh = await _rotated(world, refresh, successor)
    await world.operator.purge_expired(now=FAR, batch=10, budget_seconds=0.0)
    assert count(database, "refresh_token") == 41
    assert count(database, "grant_record") == 1


async def _rotated(world: World, presented: Digest, successor: NewRefreshToken) -> Digest:
    await world.storage.rotate_refresh_token(
        world.here.tenant_id,
        presented,
        client_id="web",
        successor=successor,
        sealed_successor=b"sealed",
        scopes=None,
        resources=None,
        grace_seconds=20,
        now=NOW,
        issued_event=event("token.issued"),
        reuse_event=event("refresh_token.reused"),
    )
    return successor.digest


async def test_a_run_that_is_killed_leaves_work_for_the_next_and_nothing_else(
    database: MigratedDatabase, world: World
) -> None:
    assertions(database, world, 20_000, ended=20_000)
    running = asyncio.create_task(world.operator.purge_expired(now=FAR, batch=100))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while count(database, "assertion") > 19_000:
            await asyncio.sleep(0.01)
    run(database.admin, "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'tegata_maint'")
    # Unless it ended between two batches, which nobody notices.
    with suppress(Unavailable):
        await running
    left = count(database, "assertion")
    assert left < 20_000
    assert (await world.operator.purge_expired(now=FAR))["assertion"] == left


async def test_purging_beside_requests_costs_them_no_error_and_the_server_no_deadlock(
    database: MigratedDatabase, world: World
) -> None:
    """Everything that is issued has ended as the purge sees it: both want the same rows all the time."""
    deadlocks = "select deadlocks from pg_stat_database where datname = current_database()"
    before = run(database.admin, deadlocks)
    acts = purged = 0

    async def request() -> None:
        nonlocal acts
        while acts < 250 or purged < 250:
            refresh = await _issued_and_perhaps_purged(world)
            for _ in range(5):
                refresh = await _rotated(world, refresh, NewRefreshToken(new_digest(), NOW + DAY))
                acts += 1
            await world.storage.start_session(
                world.here.tenant_id, new_digest(), world.here.session(), replaces=None, events=[]
            )

    async def purge() -> None:
        nonlocal purged
        while acts < 250 or purged < 250:
            for now in (NOW + 2 * DAY, FAR):
                removed = await world.operator.purge_expired(now=now, batch=50)
                purged += sum(removed.values())

    async with asyncio.timeout(2 * PATIENCE_SECONDS):
        await asyncio.gather(*(request() for _ in range(4)), purge(), purge())
    assert run(database.admin, deadlocks) == before


async def _issued_and_perhaps_purged(world: World) -> Digest:
    grant = world.here.grant(offline=True)
    code, refresh = world.here.code(grant), NewRefreshToken(new_digest(), NOW + DAY)
    tenant_id, storage = world.here.tenant_id, world.storage
    await storage.store_code(tenant_id, code, interaction=None, events=[])
    await storage.take_code(tenant_id, code.digest, client_id="web", now=NOW, replay_event=event("code.replayed"))
    await storage.store_tokens(
        tenant_id, grant_id=grant.grant_id, refresh=refresh, opaque=None, now=NOW, events=[event("token.issued")]
    )
    return refresh.digest


async def test_a_schema_that_is_too_old_is_named_as_the_reason(database: MigratedDatabase, world: World) -> None:
    run(database.admin, "drop function tegata.add_audit_partition(timestamptz, integer)")
    with pytest.raises(Unavailable, match="migrate"):
        await world.operator.purge_expired(now=NOW)


async def test_the_application_cannot_purge(database: MigratedDatabase, world: World) -> None:
    assertions(database, world, 10, ended=10)
    intruder = PostgresOperatorStorage(database.app, LIMITS)
    try:
        with pytest.raises(StorageError):
            await intruder.purge_expired(now=FAR)
    finally:
        await intruder.close()
    assert count(database, "assertion") == 10
