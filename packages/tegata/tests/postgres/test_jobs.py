"""The job queue: whose it is, who does a chore, and what a killed worker leaves behind."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import psycopg
import pytest

from tegata.postgres.jobs import Chore, Jobs, open_jobs
from tegata.postgres.jobs_schema import INSTALLED_DIGEST, JOBS_SCHEMA, library_schema
from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import Cluster, MigratedDatabase
from tegata.testing.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.anyio

Rows = list[tuple[object, ...]]
NEVER = "0 0 29 2 *"


def missed_once() -> str:
    """Every day at a time that has been an hour ago: overdue once, and due no more while a test lasts."""
    return time.strftime("%M %H * * *", time.gmtime(time.time() - 3600))


@pytest.fixture
def database(each_cluster: Cluster) -> Iterator[MigratedDatabase]:
    with each_cluster.migrated_database() as found:
        yield found


def run(target: ConnectionTarget, statement: str, *arguments: object) -> Rows:
    with psycopg.connect(target.psycopg_conninfo(), autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), arguments or None)
        return cursor.fetchall() if cursor.description else []


def jobs_of(database: MigratedDatabase) -> Rows:
    return run(
        database.admin, "select task_name, status::text, attempts from tegata_jobs.procrastinate_jobs order by id"
    )


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_so():
            await asyncio.sleep(0.01)


class Counted:
    """A chore that counts, and may wait or fail."""

    def __init__(self, *, fails: bool = False) -> None:
        self.runs = 0
        self.fails = fails
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def do(self) -> Mapping[str, object]:
        self.runs += 1
        await self.may_end.wait()
        if self.fails:
            raise ValueError("the chore is broken")
        return {"counted": self.runs}


def test_the_installed_library_brings_the_tables_that_a_revision_has_installed(database: MigratedDatabase) -> None:
    """If this fails: write a revision that applies the library's migrations since, then change INSTALLED_DIGEST."""
    assert library_schema().digest == INSTALLED_DIGEST
    comment = run(database.admin, "select obj_description(%s::regnamespace, 'pg_namespace')", JOBS_SCHEMA)
    assert comment == [(library_schema().comment,)]


def test_maintenance_alone_uses_the_queue_and_the_owner_owns_it(database: MigratedDatabase) -> None:
    objects = """
        select 'table', c.oid, c.relname::text, c.relowner, c.relacl, 'r'::"char" from pg_class c
         where c.relnamespace = 'tegata_jobs'::regnamespace and c.relkind in ('r', 'S', 'v')
        union all
        select 'function', p.oid, p.proname::text, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner)), 'f'
          from pg_proc p where p.pronamespace = 'tegata_jobs'::regnamespace
        union all
        select 'schema', n.oid, n.nspname::text, n.nspowner, n.nspacl, 'n'
          from pg_namespace n where n.nspname = 'tegata_jobs'
    """
    rights = f"""select distinct x.grantee::regrole::text from ({objects}) o (kind, oid, name, owner, acl, letter),
                 aclexplode(o.acl) x"""
    assert {row[0] for row in run(database.admin, rights)} == {"tegata_owner", "tegata_maint"}
    owners = f"select distinct owner::regrole::text from ({objects}) o (kind, oid, name, owner, acl, letter)"
    assert run(database.admin, owners) == [("tegata_owner",)]
    for statement in (
        "select * from tegata_jobs.procrastinate_jobs",
        "select tegata_jobs.procrastinate_defer_jobs_v1(null)",
        "delete from tegata_jobs.procrastinate_workers",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            run(database.app, statement)


async def test_a_chore_is_done_by_one_of_many_who_come_at_the_same_moment(database: MigratedDatabase) -> None:
    counted = Counted()
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(opened(database, counted)) for _ in range(4)]
        counted.may_end.clear()
        running = [asyncio.create_task(worker.do_all_once()) for worker in workers]
        await until(lambda: counted.runs > 0)
        counted.may_end.set()
        assert await asyncio.gather(*running) == [True] * 4
    done = jobs_of(database)
    assert counted.runs == len(done)
    assert set(done) == {("chore", "succeeded", 1)}


async def test_a_due_chore_is_entered_once_however_many_workers_wait_for_it(database: MigratedDatabase) -> None:
    """Every worker finds that the minute before has passed; one may enter it."""
    counted, stopping = Counted(), asyncio.Event()
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(opened(database, counted, cron=missed_once())) for _ in range(3)]
        running = [asyncio.create_task(worker.work(stopping)) for worker in workers]
        await until(lambda: counted.runs > 0)
        await until(lambda: run(database.admin, "select count(*) from tegata_jobs.procrastinate_workers") == [(3,)])
        stopping.set()
        await asyncio.gather(*running)
    assert counted.runs == 1
    assert jobs_of(database) == [("chore", "succeeded", 1)]
    assert run(database.admin, "select count(*) from tegata_jobs.procrastinate_workers") == [(0,)]


async def test_a_chore_that_fails_is_told_of_and_holds_up_no_other(database: MigratedDatabase) -> None:
    broken = Counted(fails=True)
    async with opened(database, broken) as worker:
        assert not await worker.do_all_once()
        broken.fails = False
    async with opened(database, broken) as worker:
        assert await worker.do_all_once()
    assert jobs_of(database) == [("chore", "failed", 1), ("chore", "succeeded", 1)]


async def test_what_a_killed_worker_has_begun_does_not_hold_the_lock_for_ever(database: MigratedDatabase) -> None:
    counted = Counted()
    run(
        database.admin,
        "insert into tegata_jobs.procrastinate_workers (last_heartbeat) values (now() - interval '1 hour')",
    )
    run(
        database.admin,
        "insert into tegata_jobs.procrastinate_jobs (queue_name, task_name, lock, queueing_lock, status, worker_id)"
        " select 'tegata', 'chore', 'chore', 'chore', 'doing', max(id) from tegata_jobs.procrastinate_workers",
    )
    async with opened(database, counted) as worker:
        assert await worker.do_all_once()
    assert counted.runs == 1
    assert jobs_of(database) == [("chore", "failed", 1), ("chore", "succeeded", 1)]


@pytest.mark.parametrize("channel", ["procrastinate_any_queue_v1", "procrastinate_queue_v1#tegata"])
async def test_no_other_role_of_the_database_stops_a_chore_by_a_notification(
    database: MigratedDatabase, channel: str
) -> None:
    """Any login may NOTIFY on any channel: what comes in that way is believed by nobody."""
    counted, stopping = Counted(), asyncio.Event()
    counted.may_end.clear()
    async with opened(database, counted, cron=missed_once()) as worker:
        running = asyncio.create_task(worker.work(stopping))
        await until(lambda: counted.runs > 0)
        for number in range(1, 9):
            payload = json.dumps({"type": "abort_job_requested", "job_id": number})
            run(database.app, "select pg_notify(%s, %s)", channel, payload)
        for payload in ("no JSON", "[]", "{}"):
            run(database.app, "select pg_notify(%s, %s)", channel, payload)
        await asyncio.sleep(0.5)  # a worker that listened would have heard of it
        counted.may_end.set()
        await until(lambda: ("chore", "doing", 0) not in jobs_of(database))
        stopping.set()
        await running
    assert jobs_of(database) == [("chore", "succeeded", 1)]


async def test_jobs_are_forgotten_when_they_are_old(database: MigratedDatabase) -> None:
    broken = Counted(fails=True)
    async with opened(database, broken) as worker:
        await worker.do_all_once()
        await worker.forget_old(72)
        assert len(jobs_of(database)) == 1
        run(database.admin, "update tegata_jobs.procrastinate_events set at = at - interval '73 hours'")
        await worker.forget_old(72)
    assert jobs_of(database) == []
    assert run(database.admin, "select count(*) from tegata_jobs.procrastinate_events") == [(0,)]


async def test_a_job_says_nothing_about_anybody(database: MigratedDatabase) -> None:
    async with opened(database, Counted()) as worker:
        await worker.do_all_once()
    arguments = run(
        database.admin,
        "select distinct k, jsonb_typeof(v) from tegata_jobs.procrastinate_jobs, jsonb_each(args) a (k, v)",
    )
    assert arguments == [("timestamp", "number")]


def opened(database: MigratedDatabase, counted: Counted, *, cron: str = NEVER) -> AbstractAsyncContextManager[Jobs]:
    return open_jobs(database.maintenance, [Chore("chore", cron, counted.do)], finish_seconds=60)
