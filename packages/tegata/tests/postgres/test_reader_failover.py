"""The reader when somebody else becomes the writer: a lost history is not believed, a standby that follows is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tegata.postgres.fence import take_fence
from tegata.postgres.reader_breaker import Breaker
from tegata.testing.clusters import Cluster, MigratedDatabase
from tegata.testing.replicas import Replicated, replicated

from .marked_world import execute, until, world_of

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def first(each_cluster: Cluster) -> Iterator[Replicated]:
    """The writer to begin with, of each version. It is never changed: those who take over are replicas of each test."""
    with replicated(each_cluster.bindir) as servers:
        yield servers


async def test_a_reader_that_has_been_promoted_is_not_believed_any_more(first: Replicated) -> None:
    with first.another() as servers:
        reader = servers.reader()
        async with world_of(servers.writer, reader.app, breaker=Breaker(clock=lambda: 0.0)) as world:
            await world.until_the_reader_answers()
            assert execute(reader.admin, "select pg_promote()") == [(True,)]
            # It is ahead of the writer, by what the writer does not know.
            tenant = f"select set_config('app.tenant_id', '{world.here.tenant_id}', false)"
            execute(reader.app, tenant, *["select txid_current()"] * 5)
            await world.write("sign_in.succeeded")
            assert "sign_in.succeeded" in await world.types()
            assert world.went_to_the_writer()["not_a_standby"] == 1


async def test_a_standby_of_the_writer_before_a_failover_is_not_believed_however_far_it_is(
    first: Replicated,
) -> None:
    with failing_over(first) as (before, writer, reader):
        assert execute(writer.admin, "select pg_promote()") == [(True,)]
        # The history that is lost: the reader has replayed more of it than the new writer has written of its own.
        execute(before.admin, "create table public.lost as select n from generate_series(1, 100000) n")
        until(lambda: execute(reader.admin, "select count(*) from pg_class where relname = 'lost'") == [(1,)])
        async with world_of(writer, reader.app) as world:
            await world.write("sign_in.succeeded")
            fence = await take_fence(world.storage.database)
            assert fence is not None
            replayed = execute(reader.admin, "select (pg_last_wal_replay_lsn() - '0/0')::bigint")[0][0]
            assert isinstance(replayed, int)
            assert replayed > fence.position
            assert "sign_in.succeeded" in await world.types()
            assert world.went_to_the_writer() == {"another_timeline": 1}


async def test_a_standby_that_follows_the_new_writer_is_used_again(first: Replicated) -> None:
    with failing_over(first) as (_, writer, reader):
        # The reader's history must not go on where the new writer's does not: its old writer is gone first.
        until(lambda: receives(reader))
        follow(reader, "")
        until(lambda: not execute(reader.admin, "select from pg_stat_wal_receiver"))
        # What it has received it replays, now or later.
        received = execute(reader.admin, "select greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text")
        until(lambda: has_replayed(writer, received[0][0]))
        assert execute(writer.admin, "select pg_promote()") == [(True,)]
        async with world_of(writer, reader.app, breaker=Breaker(clock=lambda: 0.0)) as world:
            await world.types()
            assert world.went_to_the_writer() == {"another_timeline": 1}
        follow(reader, writer.admin.in_database("postgres").psycopg_conninfo())
        async with world_of(writer, reader.app) as world:
            execute(writer.admin, "checkpoint")
            await world.write("sign_in.succeeded")
            # A checkpoint of a standby does something only once it has replayed one of its writer.
            written = execute(writer.admin, "select pg_current_wal_lsn()::text")[0][0]
            until(lambda: has_replayed(reader, written))
            execute(reader.admin, "checkpoint")
            await world.until_the_reader_answers()
            assert "sign_in.succeeded" in await world.types()


def follow(standby: MigratedDatabase, writer: str) -> None:
    """Let the standby receive from the server at `writer`, a connection string; "": from none."""
    execute(standby.admin, f"alter system set primary_conninfo = '{writer}'", "select pg_reload_conf()")


def receives(standby: MigratedDatabase) -> bool:
    """Whether it is connected to the server that it follows."""
    return execute(standby.admin, "select status from pg_stat_wal_receiver") == [("streaming",)]


def has_replayed(standby: MigratedDatabase, position: object) -> bool:
    """Whether it has everything before a position in the log."""
    return execute(standby.admin, f"select pg_last_wal_replay_lsn() >= '{position}'::pg_lsn") == [(True,)]


@contextmanager
def failing_over(first: Replicated) -> Iterator[tuple[MigratedDatabase, MigratedDatabase, MigratedDatabase]]:
    """The writer so far, the standby that takes over, and another standby."""
    with first.another() as taking_over, first.another() as other:
        yield first.writer, taking_over.reader(), other.reader()
