"""Chores that are done again and again, each time by one of any number of workers: a queue (procrastinate).

Who comes first enters a chore for its minute, and a unique key keeps the others from entering it again; a lock keeps
two runs of one chore apart. No argument of a job says anything about anybody: only the minute is kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import procrastinate
import psycopg
import structlog
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import Status
from procrastinate.worker import Worker

from tegata.postgres.jobs_schema import JOBS_SCHEMA
from tegata.postgres.logins import open_psycopg_pool
from tegata.postgres.target import ConnectionTarget
from tegata.storage.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_QUEUE = "tegata"
# A worker that comes back within a day does what was due meanwhile, once.
_OVERDUE_SECONDS = 26 * 3600
_HEARTBEAT_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 30.0
# What a worker may need to end after its jobs have ended.
_LATE_SECONDS = 10.0
_log = structlog.get_logger("tegata.jobs")


@dataclass(frozen=True, slots=True)
class Chore:
    """What is done whenever `cron` says (UTC), and what to tell about it."""

    name: str
    cron: str
    do: Callable[[], Awaitable[Mapping[str, object]]]


class Jobs:
    """The queue of one worker. Open it with `open_jobs`."""

    def __init__(self, app: procrastinate.App, chores: Sequence[Chore], *, finish_seconds: float) -> None:
        self._app = app
        self._finish_seconds = finish_seconds
        self._failed = 0
        self._chores = chores
        for chore in chores:
            self._register(chore)

    async def do_all_once(self) -> bool:
        """Do every chore now, unless another worker is at it; return whether all went well."""
        for chore in self._chores:
            with suppress(AlreadyEnqueued):
                await self._app.tasks[chore.name].defer_async(timestamp=int(time.time()))
        await self.forget_stalled()
        await self._app.run_worker_async(**self._options(), wait=False)
        return self._failed == 0

    async def work(self, stopping: asyncio.Event) -> None:
        """Do each chore at its times until `stopping`; go on by itself after the database was away."""
        for chore in self._chores:
            self._app.periodic(cron=chore.cron)(self._app.tasks[chore.name])
        pause = 1.0
        while not stopping.is_set():
            began = time.monotonic()
            try:
                await self._work_until(stopping)
            except (ConnectorException, OSError) as error:
                _log.warning("worker_interrupted", error=type(error.__cause__ or error).__name__)
            if time.monotonic() - began > _LONGEST_PAUSE_SECONDS:
                pause = 1.0
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def forget_stalled(self) -> None:
        """End jobs whose worker was killed, so that their locks hold nobody up. The next run does their work."""
        for job in await self._app.job_manager.get_stalled_jobs(queue=_QUEUE):
            # Another worker may have done the same at this moment.
            with suppress(ConnectorException):
                await self._app.job_manager.finish_job(job, Status.FAILED, delete_job=False)
                _log.warning("job_stalled", job=job.task_name, id=job.id)

    async def forget_old(self, hours: int) -> None:
        """Delete jobs that ended so many hours ago."""
        await self._app.job_manager.delete_old_jobs(
            nb_hours=hours, include_failed=True, include_cancelled=True, include_aborted=True
        )

    async def _work_until(self, stopping: asyncio.Event) -> None:
        worker = Worker(self._app, **self._options())
        working = asyncio.create_task(worker.run())  # type: ignore[no-untyped-call] # as the library has it
        others = [asyncio.create_task(self._forget_stalled_often()), asyncio.create_task(stopping.wait())]
        try:
            # The worker returns by itself when one of its parts has lost the database.
            await asyncio.wait([working, *others], return_when=asyncio.FIRST_COMPLETED)
        finally:
            # It is told, not cancelled: that could be lost while it begins, and would not let jobs finish later.
            worker.stop()  # type: ignore[no-untyped-call] # as the library has it
            await _cancel_until_ended(others)
            await asyncio.wait([working], timeout=self._finish_seconds + _LATE_SECONDS)
            await _cancel_until_ended([working])
            results = await asyncio.gather(working, *others, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _forget_stalled_often(self) -> None:
        while True:
            await self.forget_stalled()
            await asyncio.sleep(3 * _HEARTBEAT_SECONDS)

    def _options(self) -> dict[str, Any]:
        return {
            "queues": [_QUEUE],
            "install_signal_handlers": False,
            # Every role of the database may notify on every channel, and procrastinate ends a job because a
            # notification says so. The queue itself is asked every few seconds instead, and only maintenance writes it.
            "listen_notify": False,
            "shutdown_graceful_timeout": self._finish_seconds,
            "update_heartbeat_interval": _HEARTBEAT_SECONDS,
        }

    def _register(self, chore: Chore) -> None:
        async def run(timestamp: int) -> None:
            began = time.monotonic()
            try:
                told = await chore.do()
            except BaseException as error:
                self._failed += 1
                _log.warning("job_failed", job=chore.name, due=timestamp, error=f"{type(error).__name__}: {error}")
                raise
            _log.info("job_done", job=chore.name, due=timestamp, seconds=round(time.monotonic() - began, 3), **told)

        self._app.task(name=chore.name, queue=_QUEUE, lock=chore.name, queueing_lock=chore.name)(run)


async def _cancel_until_ended(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel, and again what has not heard it: a cancellation that comes together with an answer of the database is
    lost (`asyncio.wait_for` before Python 3.12), and what goes on for ever then goes on.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=1.0)


@asynccontextmanager
async def open_jobs(target: ConnectionTarget, chores: Sequence[Chore], *, finish_seconds: float) -> AsyncIterator[Jobs]:
    """Open the queue as the maintenance role. Raises `Unavailable`, or what psycopg raises if the
    role cannot log in."""

    def pool(**options: Any) -> Any:
        return open_psycopg_pool(target, **options)

    connector = procrastinate.PsycopgConnector(
        pool_factory=pool,
        min_size=1,
        max_size=4,
        kwargs={"options": _search_path(target)},
        timeout=10.0,
    )
    app = procrastinate.App(connector=connector, periodic_defaults={"max_delay": _OVERDUE_SECONDS})
    jobs = Jobs(app, chores, finish_seconds=finish_seconds)
    await _open(app, jobs)
    try:
        yield jobs
    finally:
        await app.close_async()


async def _open(app: procrastinate.App, jobs: Jobs) -> None:
    try:
        await app.open_async()
        await jobs.forget_stalled()
    except ConnectorException as error:
        await app.close_async()
        if isinstance(error.__cause__, psycopg.errors.UndefinedTable):
            raise Unavailable(
                f"schema {JOBS_SCHEMA} is missing or not for this login: let an administrator run "
                "`tegata db bootstrap`, then `tegata migrate`, and enter as the maintenance role"
            ) from None
        raise error.__cause__ or error from None


def _search_path(target: ConnectionTarget) -> str:
    """Return the start-up options of the target with the schema of the jobs: the library names no schema."""
    given = dict(target.options).get("options", "")
    role = f"-c role={target.role}" if target.role is not None else ""
    return f"{given} {role} -c search_path={JOBS_SCHEMA}".strip()
