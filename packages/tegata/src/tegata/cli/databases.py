"""Opening PostgreSQL for the server and for operators' commands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tegata.app import Backend
from tegata.postgres.changes import ChangeListener
from tegata.postgres.engine import PoolLimits
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
    storage = PostgresStorage(target, limits)
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
    return Backend(storage, changes, close)


@asynccontextmanager
async def operator_storage(target: ConnectionTarget) -> AsyncIterator[OperatorStorage]:
    """Open the store as the maintenance role, for one command. Raises `Unavailable`."""
    storage = PostgresOperatorStorage(target, _OPERATOR_LIMITS)
    try:
        await storage.check()
        yield storage
    finally:
        await storage.close()
