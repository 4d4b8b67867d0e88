"""Marked reads on a real streaming replica: never older than the writer, whatever state the replica is in."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import psycopg
import pytest

from tegata.postgres.reader_breaker import Breaker
from tegata.postgres.storage import PostgresStorage
from tegata.postgres.target import ConnectionTarget
from tegata.postgres.tenancy import tenant_readonly
from tegata.storage.errors import Unavailable
from tegata.testing.clusters import Cluster, MigratedDatabase
from tegata.testing.patience import PATIENCE_SECONDS, PATIENT
from tegata.testing.replicas import Replicated, replicated

from .marked_world import EVERYTHING, World, execute, until, world_of

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def servers(each_cluster: Cluster) -> Iterator[Replicated]:
    """Of each version. Its shared cluster is not used: it writes no log that could be followed."""
    with replicated(each_cluster.bindir) as servers:
        yield servers


@pytest.fixture(scope="module")
def reader(servers: Replicated) -> MigratedDatabase:
    """The ways into the replica."""
    return servers.reader()


@pytest.fixture
async def world(servers: Replicated, reader: MigratedDatabase) -> AsyncIterator[World]:
    async with world_of(servers.writer, reader.app) as world:
        yield world


@pytest.fixture
def paused(reader: MigratedDatabase) -> Iterator[None]:
    """The replica applies nothing while the test runs."""
    execute(reader.admin, "select pg_wal_replay_pause()")
    try:
        until(lambda: execute(reader.admin, "select pg_get_wal_replay_pause_state()") == [("paused",)])
        yield
    finally:
        execute(reader.admin, "select pg_wal_replay_resume()")


async def test_a_reader_that_has_caught_up_answers(world: World) -> None:
    await world.write("sign_in.succeeded")
    reads = await world.until_the_reader_answers()
    before = world.reader.use
    assert "sign_in.succeeded" in {found.type for found in await reads.search_events(EVERYTHING, limit=10)}
    assert world.reader.use.reads == before.reads + 1
    assert world.reader.use.fallbacks == before.fallbacks


async def test_every_marked_read_is_answered_by_the_reader_as_the_writer_would(world: World) -> None:
    reads = await world.until_the_reader_answers()
    tenant_id, before = world.here.tenant_id, world.reader.use
    assert await reads.list_clients() == await world.storage.list_clients(tenant_id) != []
    assert await reads.list_roles() == await world.storage.list_roles(tenant_id)
    assert await reads.list_users() == await world.storage.list_users(tenant_id) != []
    assert [e.type for e in await reads.search_events(EVERYTHING, limit=10)] == ["tenant.created"]
    assert world.reader.use.reads == before.reads + 4


async def test_a_reader_behind_the_fence_is_passed_over_at_once(world: World, paused: None) -> None:
    await world.write("code.replayed")
    reads = await world.storage.tenant_readonly(world.here.tenant_id)
    assert "code.replayed" in {found.type for found in await reads.search_events(EVERYTHING, limit=10)}
    assert world.went_to_the_writer() == {"behind": 1}
    # It is asked again the next time: a reader that is late is not a broken one.
    await world.types()
    assert world.went_to_the_writer() == {"behind": 2}


async def test_without_the_fence_the_same_reader_would_not_know(
    world: World, reader: MigratedDatabase, paused: None
) -> None:
    await world.write("code.replayed")
    seen = execute(
        reader.app,
        f"select set_config('app.tenant_id', '{world.here.tenant_id}', false)",
        "select count(*) from tegata.audit_event where type = 'code.replayed'",
    )
    assert seen == [(0,)]


async def test_of_many_writes_none_is_missed_while_the_reader_applies_late(servers: Replicated) -> None:
    with servers.another(settings={"recovery_min_apply_delay": "1s"}) as late:
        async with world_of(late.writer, late.reader().app) as world:
            for number in range(20):
                await world.write(f"number.{number}")
                assert f"number.{number}" in await world.types()
            assert world.went_to_the_writer()["behind"] > 0
            await world.until_the_reader_answers()
            assert "number.19" in await world.types()


async def test_a_quiet_writer_is_caught_up_with_where_a_segment_of_the_log_begins(
    world: World, servers: Replicated
) -> None:
    execute(servers.writer.admin, "select pg_switch_wal()")
    await world.until_the_reader_answers()


async def test_row_level_security_holds_on_the_reader(world: World, reader: MigratedDatabase) -> None:
    await world.until_the_reader_answers()
    with pytest.raises(psycopg.Error) as missing:
        execute(reader.app, "select * from tegata.audit_event")
    assert missing.value.sqlstate == "TG001"
    mine = f"select set_config('app.tenant_id', '{world.here.tenant_id}', false)"
    for table in ("audit_event", "account", "client", "role"):
        found = execute(reader.app, mine, f"select distinct tenant_id from tegata.{table}")
        assert {row[0] for row in found} <= {world.here.tenant_id}


@pytest.mark.parametrize(
    "statement",
    [
        "insert into tegata.role (tenant_id, name) select tenant_id, 'admin' from tegata.tenant",
        "update tegata.account set disabled = false",
        "delete from tegata.session",
        "select tegata.clear_attempts((select tenant_id from tegata.tenant), '{}')",
    ],
)
async def test_nothing_can_be_written_on_the_reader(world: World, reader: MigratedDatabase, statement: str) -> None:
    await world.until_the_reader_answers()
    with pytest.raises(psycopg.Error) as refused:
        execute(reader.app, f"select set_config('app.tenant_id', '{world.here.tenant_id}', false)", statement)
    assert refused.value.sqlstate == "25006"


async def test_a_marked_read_cannot_write_on_the_writer_either(world: World) -> None:
    with pytest.raises(Unavailable, match="25006"):
        async with tenant_readonly(world.storage.database, world.here.tenant_id) as connection:
            await connection.execute("delete from tegata.audit_event")


async def test_a_reader_that_is_down_is_left_alone_until_it_is_back(
    servers: Replicated, reader: MigratedDatabase
) -> None:
    now = [0.0]
    async with world_of(servers.writer, reader.app, breaker=Breaker(clock=lambda: now[0])) as world:
        await world.until_the_reader_answers()
        servers.replica.stop()
        try:
            before = world.went_to_the_writer().get("paused", 0)
            for number in range(4):
                await world.write(f"number.{number}")
                assert f"number.{number}" in await world.types()
            # Its broken connection may be noticed first, or that there is no new one.
            assert world.went_to_the_writer()["paused"] - before == 3
            now[0] += 60
            await world.types()
            assert world.went_to_the_writer()["unreachable"] >= 1
        finally:
            servers.reader()
        now[0] += 120
        await world.until_the_reader_answers()
        assert "number.3" in await world.types()


async def test_a_reader_that_says_nothing_costs_one_request_its_patience_and_the_others_nothing(
    servers: Replicated,
) -> None:
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{directory}/.s.PGSQL.5432")
        silent.listen()
        target = ConnectionTarget(directory, "tegata_app", "postgres")
        async with world_of(servers.writer, target, patience_seconds=0.1, breaker=Breaker(clock=lambda: 0.0)) as world:
            for number in range(5):
                await world.write(f"number.{number}")
                assert f"number.{number}" in await world.types()
            assert world.went_to_the_writer() == {"slow": 1, "paused": 4}


async def test_a_read_that_fails_on_the_reader_is_left_to_the_writer(
    servers: Replicated, reader: MigratedDatabase
) -> None:
    async with world_of(servers.writer, reader.app, breaker=Breaker(clock=lambda: 0.0)) as world:
        fence = await world.passed_fence()
        # As a conflict with recovery fails: vacuum on the primary removed what the query still needs.
        failing = "do $$ begin raise exception using errcode = '40001'; end $$"
        outcome = await world.reader.attempt(fence, world.here.tenant_id, lambda on: on.execute(failing))
        assert outcome is None
        assert world.went_to_the_writer()["failed"] == 1
        await world.types()
        assert world.went_to_the_writer()["paused"] == 1


async def test_a_long_read_may_take_longer_than_the_answer_how_far_the_reader_is(
    servers: Replicated, reader: MigratedDatabase
) -> None:
    async with world_of(servers.writer, reader.app, patience_seconds=1.0) as world:
        answer, deadline = None, time.monotonic() + PATIENCE_SECONDS
        # On a busy machine that answer itself may take too long. A read that is bounded too is never answered.
        while answer is None:
            assert time.monotonic() < deadline, world.went_to_the_writer()
            fence = await world.passed_fence()
            answer = await world.reader.attempt(
                fence, world.here.tenant_id, lambda on: on.fetchval("select pg_sleep(1.5)")
            )


async def test_when_all_connections_to_the_reader_are_in_use_nobody_waits_for_one(
    servers: Replicated, reader: MigratedDatabase
) -> None:
    async with world_of(servers.writer, reader.app, limits=replace(PATIENT, size=1)) as world:
        connection = await world.reader.pool.take()
        try:
            assert "tenant.created" in await world.types()
        finally:
            world.reader.pool.give_back(connection)
        assert world.went_to_the_writer() == {"busy": 1}
        await world.until_the_reader_answers()


async def test_a_primary_is_no_reader(servers: Replicated) -> None:
    async with world_of(servers.writer, servers.writer.app) as world:
        assert "tenant.created" in await world.types()
        assert world.went_to_the_writer() == {"not_a_standby": 1}


async def test_a_reader_entered_as_somebody_whom_the_wall_does_not_bind_is_refused(
    servers: Replicated, reader: MigratedDatabase
) -> None:
    for login in (reader.admin, reader.maintenance):
        async with world_of(servers.writer, login) as world:
            assert "tenant.created" in await world.types()
            assert world.went_to_the_writer() == {"unbound_role": 1}


async def test_a_writer_that_is_a_standby_gives_no_fence(servers: Replicated, reader: MigratedDatabase) -> None:
    async with world_of(servers.writer, reader.app) as world:
        await world.until_the_reader_answers()
        mistaken = PostgresStorage(reader.app, PATIENT, reader=world.reader)
        try:
            reads = await mistaken.tenant_readonly(world.here.tenant_id)
            assert await reads.list_clients() != []
            assert world.went_to_the_writer()["no_fence"] == 1
        finally:
            await mistaken.close()


async def test_a_writer_that_tells_no_position_is_read_itself(servers: Replicated, reader: MigratedDatabase) -> None:
    """As Aurora does not: there the functions for it fail."""
    function = "function pg_catalog.pg_current_wal_insert_lsn()"
    async with world_of(servers.writer, reader.app) as world:
        execute(servers.writer.admin, f"revoke execute on {function} from public")
        try:
            assert "tenant.created" in await world.types()
        finally:
            execute(servers.writer.admin, f"grant execute on {function} to public")
        assert world.went_to_the_writer() == {"no_fence": 1}


async def test_a_reader_that_tells_no_position_is_not_read(servers: Replicated, reader: MigratedDatabase) -> None:
    function = "function pg_catalog.pg_last_wal_replay_lsn()"
    async with world_of(servers.writer, reader.app) as world:
        await world.until_the_reader_answers()
        execute(servers.writer.admin, f"revoke execute on {function} from public")
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while "failed" not in world.went_to_the_writer():
                assert "tenant.created" in await world.types()
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)
        finally:
            execute(servers.writer.admin, f"grant execute on {function} to public")
