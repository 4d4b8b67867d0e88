"""Opening PostgreSQL for the server and for operators' commands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tegata.app import Backend
from tegata.postgres.changes import ChangeListener
from tegata.postgres.engine import PoolLimits
from tegata.postgres.reader import Reader
from tegata.postgres.samples import samples_of
from tegata.postgres.storage import PostgresOperatorStorage, PostgresStorage
from tegata.postgres.target import ConnectionTarget
from tegata.settings import Settings
from tegata.storage.ports import OperatorStorage

# A command makes one change after the other.
_OPERATOR_LIMITS = PoolLimits(size=2, wait_seconds=10.0, connect_seconds=10.0, statement_seconds=60.0)


async def open_backend(target: ConnectionTarget, settings: Settings) -> Backend:
    """Open the store as the application role. Raises `Unavailable` if it does not work or is not migrated."""
    limits = PoolLimits(
        size=settings.database_pool_size,
        wait_seconds=settings.database_pool_wait_seconds,
        statement_seconds=settings.database_statement_timeout_seconds,
    )
    storage = PostgresStorage(target, limits, reader=_reader(settings, limits))
    changes = ChangeListener(target)

    async def close() -> None:
        await changes.close()
        await storage.close()

    try:
        await storage.check()
        await changes.start()
    except BaseException:
        await close()
        raise
    return Backend(storage, changes, close, samples=lambda: samples_of(storage))


@asynccontextmanager
async def operator_storage(
    target: ConnectionTarget, *, reader: ConnectionTarget | None = None
) -> AsyncIterator[OperatorStorage]:
    """Open the store as the maintenance role, for one command. Raises `Unavailable`.

    `reader`: a replica for a command that only reads. One that writes decides by what the writer says.
    """
    found = None if reader is None else Reader(reader, _OPERATOR_LIMITS)
    storage = PostgresOperatorStorage(target, _OPERATOR_LIMITS, reader=found)
    try:
        await storage.check()
        yield storage
    finally:
        await storage.close()


def _reader(settings: Settings, limits: PoolLimits) -> Reader | None:
    """Return the replica, if there is one. Nothing is asked of it yet: a server starts without it."""
    url = settings.database_reader_url
    return None if url is None else Reader(ConnectionTarget.from_url(url.get_secret_value()), limits)
