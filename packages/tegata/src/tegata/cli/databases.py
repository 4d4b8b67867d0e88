"""Opening PostgreSQL for the server and for operators' commands."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from itertools import chain

import structlog

from tegata.app import Backend
from tegata.cli.ways_in import listening_target, serving_limits, target_of
from tegata.postgres.budget import connection_budget
from tegata.postgres.changes import ChangeListener
from tegata.postgres.engine import Database, PoolLimits
from tegata.postgres.reader import Reader
from tegata.postgres.samples import samples_of
from tegata.postgres.storage import PostgresOperatorStorage, PostgresStorage
from tegata.postgres.target import ConnectionTarget, Passwords
from tegata.settings import Settings
from tegata.storage.ports import OperatorStorage
from tegata.telemetry.metrics import Source
from tegata.telemetry.spans import Tracer

_log = structlog.get_logger("tegata.database")

# A command makes one change after the other.
_OPERATOR_LIMITS = PoolLimits(size=2, wait_seconds=10.0, connect_seconds=10.0, statement_seconds=60.0)


async def open_backend(
    target: ConnectionTarget, settings: Settings, *, more: Source = tuple, tracer: Tracer | None = None
) -> Backend:
    """Open the store as the application role. Raises `Unavailable` if it does not work or is not migrated.

    `more`: what metrics say beside the store's own.
    """
    limits = serving_limits(settings)
    storage = PostgresStorage(target, limits, reader=_reader(settings, limits, target.passwords), tracer=tracer)
    changes = ChangeListener(listening_target(settings, target))

    async def close() -> None:
        await changes.close()
        await storage.close()
        await _close_passwords(target)

    try:
        await storage.check()
        await _tell_budget(storage.database, settings, target, limits)
        await changes.start()
    except BaseException:
        await close()
        raise
    return Backend(storage, changes, close, target.auth_method, samples=lambda: chain(samples_of(storage), more()))


async def _tell_budget(database: Database, settings: Settings, target: ConnectionTarget, limits: PoolLimits) -> None:
    """Say how many connections this instance may open, and warn if the server has not got them."""
    # One more of each process hears of changes. A replica has limits of its own, and is not this server.
    budget = await connection_budget(database, processes=settings.workers, of_each=limits.size + 1)
    numbers = {**asdict(budget), "wanted": budget.wanted}
    if budget.fits or target.transaction_pooler:
        # Behind a pooler it is the pooler's own bound that counts towards the server.
        _log.info("connection_budget", pooler=target.transaction_pooler, **numbers)
    else:
        _log.warning("connection_budget_exceeded", cure="docs/how-to/size-the-connection-pool.md", **numbers)


async def _close_passwords(target: ConnectionTarget) -> None:
    if target.passwords is not None:
        await target.passwords.close()


@asynccontextmanager
async def operator_storage(
    target: ConnectionTarget, *, reader: ConnectionTarget | None = None
) -> AsyncIterator[OperatorStorage]:
    """Open the store as the maintenance role, for one command. Raises `Unavailable`.

    `reader`: a replica for a command that only reads. One that writes decides by what the writer says.
    """
    found = None if reader is None else Reader(reader, _OPERATOR_LIMITS, changed=_say)
    storage = PostgresOperatorStorage(target, _OPERATOR_LIMITS, reader=found)
    try:
        await storage.check()
        yield storage
    finally:
        await storage.close()
        await _close_passwords(target)
        if reader is not None:
            await _close_passwords(reader)


def _say(reason: str | None) -> None:
    """Tell the person at the terminal; standard output belongs to what was asked for."""
    if reason is not None:
        print(f"tegata: the replica is not used ({reason}); the writer is read", file=sys.stderr)


def _reader(settings: Settings, limits: PoolLimits, passwords: Passwords | None) -> Reader | None:
    """Return the replica, if there is one. Nothing is asked of it yet: a server starts without it."""
    if settings.database_reader_url is None:
        return None
    return Reader(target_of(settings, "database_reader_url", passwords), limits)
