"""The audit log by months: each partition behind its own wall, no event without a place, months that come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
import uuid_utils
from psycopg import sql

from tegata.identifiers import TenantId
from tegata.postgres.doctor import examine
from tegata.postgres.doctor.audit import audit_warnings
from tegata.postgres.engine import Database
from tegata.postgres.migrate import migrate
from tegata.postgres.partitions import LogBusy, add_partitions, drop_partitions, partitions
from tegata.postgres.storage import PostgresOperatorStorage, PostgresStorage
from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import Cluster, MigratedDatabase
from tegata.testing.patience import PATIENCE_SECONDS, PATIENT
from tegata.testing.records import World, event, inhabit

pytestmark = pytest.mark.anyio

Rows = list[tuple[object, ...]]
PARTITIONS = "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'tegata.audit_event'::regclass order by 1"  # noqa: E501 - one question


@pytest.fixture
def database(each_cluster: Cluster) -> Iterator[MigratedDatabase]:
    with each_cluster.migrated_database() as found:
        yield found


@pytest.fixture
async def world(database: MigratedDatabase) -> AsyncIterator[World]:
    storage = PostgresStorage(database.app, PATIENT)
    operator = PostgresOperatorStorage(database.maintenance, PATIENT)
    yield World(storage, operator, await inhabit(operator), await inhabit(operator))
    await storage.close()
    await operator.close()


@pytest.fixture
async def maintenance(database: MigratedDatabase) -> AsyncIterator[Database]:
    opened = Database(database.maintenance, PATIENT)
    yield opened
    await opened.close()


def run(target: ConnectionTarget, statement: str, *arguments: object) -> Rows:
    with psycopg.connect(target.psycopg_conninfo(), autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), arguments or None)
        return cursor.fetchall() if cursor.description else []


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


async def tell(world: World, moment: float, type_: str = "told") -> str:
    told = replace(event(type_, at=moment), event_id=str(uuid_utils.uuid7()))
    await world.storage.write_events([(world.here.tenant_id, told)])
    return told.event_id


def place(database: MigratedDatabase, event_id: str) -> str:
    rows = run(
        database.admin, "select tableoid::regclass::text from tegata.audit_event where event_id = %s", UUID(event_id)
    )
    assert len(rows) == 1
    return str(rows[0][0]).removeprefix("tegata.")


def as_tenant(target: ConnectionTarget, tenant_id: TenantId) -> psycopg.Connection[tuple[object, ...]]:
    connection = psycopg.connect(target.psycopg_conninfo(), autocommit=True)
    connection.execute("select set_config('app.tenant_id', %s, false)", (str(tenant_id),))
    return connection


ATTACKS = (
    "select * from {}",
    "select count(*) from {}",
    "insert into {} select * from tegata.audit_event limit 1",
    "update {} set type = 'changed'",
    "delete from {}",
    "truncate {}",
    "copy {} to stdout",
    "drop table {}",
    "alter table {} disable row level security",
)


async def test_no_partition_can_be_named_by_the_application_or_by_maintenance(
    database: MigratedDatabase, world: World, maintenance: Database
) -> None:
    await tell(world, at("2020-01-01"))
    await tell(world, at("2199-01-01"))
    await add_partitions(maintenance, now=at("2030-05-05"))
    names = [str(row[0]) for row in run(database.admin, PARTITIONS)]
    assert {"audit_event_early", "audit_event_other", "audit_event_2030_06", "audit_event_2030_08"} <= set(names)
    for target in (database.app, database.maintenance):
        with as_tenant(target, world.here.tenant_id) as connection:
            for name in names:
                for attack in ATTACKS:
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        connection.execute(sql.SQL(attack).format(sql.Identifier("tegata", name)))


async def test_a_partition_that_somebody_grants_to_the_application_still_shows_one_tenant_only(
    database: MigratedDatabase, world: World, maintenance: Database
) -> None:
    await add_partitions(maintenance, now=at("2030-05-05"))
    for moment in ("2020-01-01", "2030-06-30", "2199-01-01"):
        await tell(world, at(moment))
    for (name,) in run(database.admin, PARTITIONS):
        run(database.admin, f"grant select, insert, update, delete on tegata.{name} to tegata_app")
        for tenant_id, mine in ((world.here.tenant_id, True), (world.there.tenant_id, False)):
            with as_tenant(database.app, tenant_id) as connection:
                relation = sql.Identifier("tegata", str(name))
                foreign = sql.SQL("select count(*) from {} where tenant_id = %s").format(relation)
                other = world.there.tenant_id if mine else world.here.tenant_id
                assert connection.execute(foreign, (other,)).fetchone() == (0,)
                for change in ("update {} set type = 'x' where tenant_id = %s", "delete from {} where tenant_id = %s"):
                    assert connection.execute(sql.SQL(change).format(relation), (other,)).rowcount == 0
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(
                        sql.SQL("insert into {} values (%s, %s, now(), 'x', 'success')").format(relation),
                        (other, UUID(int=7)),
                    )
        with pytest.raises(psycopg.DatabaseError) as refused:
            run(database.app, f"select * from tegata.{name}")
        assert refused.value.sqlstate == "TG001"


async def test_the_doctor_finds_nothing_in_any_month(
    database: MigratedDatabase, world: World, maintenance: Database
) -> None:
    await add_partitions(maintenance, now=at("2030-05-05"))
    diagnosis = examine(database.owner, application=database.app)
    assert [found for found in diagnosis.findings if "audit" in found.object] == []


async def test_nobody_can_change_or_delete_an_event(database: MigratedDatabase, world: World) -> None:
    """The release before deletes by the place of rows, which are other rows in other partitions: it must be refused."""
    before = """delete from tegata.audit_event where ctid = any (array(
                  select ctid from tegata.audit_event where at <= now() limit 10))"""
    for target in (database.app, database.maintenance):
        with as_tenant(target, world.here.tenant_id) as connection:
            for statement in (before, "update tegata.audit_event set type = 'x'", "truncate tegata.audit_event"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement.encode())


async def test_a_month_begins_and_ends_in_utc_wherever_the_session_thinks_it_is(
    database: MigratedDatabase, world: World
) -> None:
    for zone in ("Pacific/Kiritimati", "America/Los_Angeles"):
        far_away = replace(database.maintenance, options=(("options", f"-c timezone={zone} -c datestyle=SQL,DMY"),))
        run(far_away, "select tegata.add_audit_partition('2030-03-31 23:59:59+00', 3) from generate_series(1, 3)")
    month = at("2030-05-01")
    assert place(database, await tell(world, month - 0.001)) == "audit_event_2030_04"
    assert place(database, await tell(world, month)) == "audit_event_2030_05"
    assert place(database, await tell(world, at("2030-06-01") - 0.001)) == "audit_event_2030_05"
    shown = run(
        database.owner,
        "select name, starts, ends from tegata.audit_partitions() where name ~ '2030_0[456]' order by starts",
    )
    assert shown == [
        (f"audit_event_2030_0{n}", datetime(2030, n, 1, tzinfo=UTC), datetime(2030, n + 1, 1, tzinfo=UTC))
        for n in (4, 5, 6)
    ]


async def test_the_year_ends_like_any_month(database: MigratedDatabase, world: World, maintenance: Database) -> None:
    end = at("2031-12-31T23:59:59")
    made = await add_partitions(maintenance, now=end)
    assert made == [f"audit_event_{month}" for month in ("2032_01", "2032_02", "2032_03")]
    assert await add_partitions(maintenance, now=end + 1) == ["audit_event_2032_04"]
    assert place(database, await tell(world, end + 1)) == "audit_event_2032_01"
    assert place(database, await tell(world, at("2032-02-29T12:00"))) == "audit_event_2032_02"


@pytest.mark.parametrize("moment", [-62_135_596_800.0, -1.5, 0.0, 4_102_444_800.0, 32_503_680_000.0])
async def test_an_event_of_any_time_is_kept_once(database: MigratedDatabase, world: World, moment: float) -> None:
    told = event("odd.clock", at=moment)
    for _ in range(3):
        await world.storage.write_events([(world.here.tenant_id, told)])
    assert place(database, told.event_id).startswith("audit_event_")


async def test_events_that_found_no_month_are_told_of_and_move_to_it_when_it_is_over(
    database: MigratedDatabase, world: World, maintenance: Database
) -> None:
    may, july = await tell(world, at("2030-05-01")), await tell(world, at("2030-07-31"))
    strange = await tell(world, at("2190-01-01"))
    assert place(database, may) == "audit_event_other"
    assert (await partitions(maintenance, now=at("2026-12-01"))).without_month == 3
    # Nobody made months for a while. The one that runs stays where it is, for the sake of those who write.
    made = await add_partitions(maintenance, now=at("2030-07-15"))
    assert made == [f"audit_event_2030_{month}" for month in ("05", "08", "09", "10")]
    assert place(database, may) == "audit_event_2030_05"
    assert place(database, july) == "audit_event_other"
    assert await add_partitions(maintenance, now=at("2030-08-01T23:00")) == ["audit_event_2030_11"]
    assert await add_partitions(maintenance, now=at("2030-08-02T01:00")) == ["audit_event_2030_07"]
    assert place(database, july) == "audit_event_2030_07"
    assert place(database, strange) == "audit_event_other"
    state = await partitions(maintenance, now=at("2030-08-02"))
    assert (state.without_month, state.days_ahead) == (1, 121)


async def test_the_doctor_warns_of_months_that_nobody_makes(
    database: MigratedDatabase, world: World, maintenance: Database
) -> None:
    assert audit_warnings(database.admin) == audit_warnings(database.maintenance) == ()
    assert audit_warnings(database.app) == ()  # it may not ask
    await tell(world, at("2190-01-01"))
    run(database.admin, "delete from tegata.audit_event where type = 'tenant.created'")
    async for _ in drop_partitions(maintenance, before=at("2100-01-01"), batch=10):
        pass
    warnings = audit_warnings(database.owner)
    assert [(found.check, found.object, found.severity) for found in warnings] == [
        ("A01", "tegata.audit_event", "warning"),
        ("A02", "tegata.audit_event_other", "warning"),
    ]


def test_migrating_makes_the_months_to_come(database: MigratedDatabase) -> None:
    last = "select name from tegata.audit_partitions() order by starts desc limit 1"
    (name,) = run(database.owner, last)[0]
    run(database.admin, f"drop table tegata.{name}")
    assert run(database.owner, last) != [(name,)]
    with psycopg.connect(database.admin.psycopg_conninfo()) as dump:
        dump.execute("select count(*) from tegata.audit_event")
        migrate(database.admin)
    assert run(database.owner, last) != [(name,)]
    migrate(database.admin)
    assert run(database.owner, last) == [(name,)]


async def test_many_who_make_months_at_once_make_each_once(database: MigratedDatabase, maintenance: Database) -> None:
    opened = [Database(database.maintenance, PATIENT) for _ in range(8)]
    now = at("2030-05-05")
    try:
        made = await asyncio.gather(*(add_partitions(one, now=now) for one in opened), return_exceptions=True)
    finally:
        for one in opened:
            await one.close()
    wanted = [f"audit_event_2030_0{n}" for n in (6, 7, 8)]
    # On a slow machine one of them may find the others too busy, and leaves the rest to the next run.
    assert [one for one in made if isinstance(one, BaseException) and not isinstance(one, LogBusy)] == []
    told = sorted(name for names in made if not isinstance(names, BaseException) for name in names)
    assert told == (sorted(set(told)) if any(isinstance(one, LogBusy) for one in made) else wanted)
    await add_partitions(maintenance, now=now)
    assert set(wanted) <= {name for (name,) in run(database.admin, PARTITIONS)}


async def test_months_are_dropped_when_they_are_over_and_not_before(
    database: MigratedDatabase, world: World, maintenance: Database
) -> None:
    await add_partitions(maintenance, now=at("2030-04-30"))
    may = [await tell(world, at("2030-05-01") + n) for n in range(3)]
    june = await tell(world, at("2030-06-01"))
    early = await tell(world, at("2020-01-31T23:59:59"))
    dropped = [rows async for rows in drop_partitions(maintenance, before=at("2020-01-31T23:59:59"), batch=10)]
    assert sum(dropped) == 0
    assert place(database, early) == "audit_event_early"
    assert sum([rows async for rows in drop_partitions(maintenance, before=at("2020-02-01"), batch=10)]) == 1
    async for _ in drop_partitions(maintenance, before=at("2030-05-31T23:59:59"), batch=10):
        pass
    assert place(database, may[0]) == "audit_event_2030_05"
    rest = [rows async for rows in drop_partitions(maintenance, before=at("2030-06-01"), batch=10)]
    assert sum(rest) == len(may)
    assert place(database, june) == "audit_event_2030_06"
    names = {row[0] for row in run(database.admin, PARTITIONS)}
    assert not names & {"audit_event_early", "audit_event_2030_05"}
    # What is told of a month that is gone finds a place all the same, and goes with the next run.
    belated = await tell(world, at("2030-05-15"))
    assert place(database, belated) == "audit_event_other"
    assert sum([rows async for rows in drop_partitions(maintenance, before=at("2030-06-01"), batch=10)]) == 1


async def test_rows_without_a_month_of_their_own_are_deleted_in_batches(
    database: MigratedDatabase, world: World, maintenance: Database
) -> None:
    for n in range(25):
        await tell(world, at("2020-01-01") + n)
    steps = [rows async for rows in drop_partitions(maintenance, before=at("2020-02-01"), batch=10)]
    assert steps == [10, 10, 5]


async def test_a_log_that_is_read_for_long_is_left_alone_and_still_written(
    database: MigratedDatabase, world: World, maintenance: Database
) -> None:
    await add_partitions(maintenance, now=at("2030-05-05"))
    with psycopg.connect(database.admin.psycopg_conninfo()) as dump:
        dump.execute("select count(*) from tegata.audit_event")

        async def write() -> None:
            for n in range(50):
                await tell(world, at("2030-06-01") + n)

        writing = asyncio.create_task(write())
        with pytest.raises(LogBusy):
            await anext(drop_partitions(maintenance, before=at("2030-06-01"), batch=10))
        await writing
        with pytest.raises(LogBusy):
            await add_partitions(maintenance, now=at("2030-06-01"))
    assert await add_partitions(maintenance, now=at("2030-06-01")) == ["audit_event_2030_09"]
    assert await anext(drop_partitions(maintenance, before=at("2030-06-01"), batch=10)) >= 0


async def until_not_busy(act: Callable[[], Awaitable[object]]) -> None:
    """Do it as often as it takes: beside writers on a slow machine a run may find no moment for its locks."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with suppress(LogBusy):
                await act()
                return


async def drop_all(maintenance: Database, *, before: float) -> None:
    async for _ in drop_partitions(maintenance, before=before, batch=100):
        pass


async def test_months_come_and_go_while_events_are_written(
    database: MigratedDatabase, world: World, maintenance: Database
) -> None:
    stop = asyncio.Event()
    told = dict.fromkeys(("2040-02-01", "2050-05-01"), 0)

    async def write(month: str) -> None:
        while not stop.is_set():
            await tell(world, at(month) + told[month] % 28 * 86_400, "busy")
            told[month] += 1

    # One month that was made, and one that nobody makes.
    await add_partitions(maintenance, now=at("2040-01-15"))
    writers = [asyncio.create_task(write(month)) for month in told for _ in range(2)]
    for n in range(12):
        now = at("2030-01-15") + timedelta(days=31 * n).total_seconds()
        await until_not_busy(lambda now=now: add_partitions(maintenance, now=now))
        await until_not_busy(lambda: drop_all(maintenance, before=at("2035-01-01")))
    stop.set()
    await asyncio.gather(*writers)
    kept = run(database.admin, "select count(*) from tegata.audit_event where type = 'busy'")
    assert kept == [(sum(told.values()),)]
    assert min(told.values()) > 0


@pytest.mark.parametrize(
    "call",
    [
        "audit_partitions()",
        "count_audit_events_without_month(1)",
        "add_audit_partition(now(), 1)",
        "drop_audit_partition(now())",
        "purge_audit_rows(now(), 1)",
    ],
)
def test_the_application_cannot_call_what_maintenance_calls(database: MigratedDatabase, call: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run(database.app, f"select tegata.{call}")
    run(database.maintenance, f"select tegata.{call}")


@pytest.mark.parametrize(
    "call",
    [
        "add_audit_partition(null, 1)",
        "add_audit_partition('infinity', 1)",
        "add_audit_partition(now(), -1)",
        "add_audit_partition(now(), 25)",
        "add_audit_partition(now(), null)",
        "purge_audit_rows(now(), 0)",
        "purge_audit_rows(now(), null)",
    ],
)
def test_nonsense_is_refused(database: MigratedDatabase, call: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        run(database.maintenance, f"select tegata.{call}")
