"""Transactions: of one tenant, or of the maintenance role across tenants.

The tenant is set with `set_config(..., true)`, which ends with the transaction: a setting of the session would be read
by whoever gets the connection next.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg

from tegata.identifiers import TenantId
from tegata.postgres.engine import Database, as_storage_error


@asynccontextmanager
async def tenant(database: Database, tenant_id: TenantId) -> AsyncIterator[asyncpg.Connection]:
    """A transaction in which row-level security shows the rows of one tenant."""
    async with _transaction(database, "begin", _context(tenant_id)) as connection:
        yield connection


@asynccontextmanager
async def tenant_readonly(database: Database, tenant_id: TenantId) -> AsyncIterator[asyncpg.Connection]:
    """The same, for reads alone: a write fails with SQLSTATE 25006, on a primary too.

    Each statement sees what is committed when it begins: one that asks how far a reader is speaks for those after it.
    """
    begin = "begin isolation level read committed read only"
    async with _transaction(database, begin, _context(tenant_id)) as connection:
        yield connection


@asynccontextmanager
async def across_tenants(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A transaction without a tenant. Only the maintenance role sees any row of a tenant in it."""
    async with _transaction(database, "begin") as connection:
        yield connection


def _context(tenant_id: TenantId) -> str:
    # Sent in one message with the beginning. A UUID has no quotes in it; anything else must not get here.
    if not isinstance(tenant_id, UUID):
        raise TypeError("a tenant id is a UUID")
    return f"select pg_catalog.set_config('app.tenant_id', '{tenant_id}', true)"


@asynccontextmanager
async def _transaction(database: Database, begin: str, context: str = "") -> AsyncIterator[asyncpg.Connection]:
    pool = database.pool
    try:
        connection = await database.begin(f"{begin}; {pool.transaction_settings}{context}")
    except Exception as error:
        translated = as_storage_error(error)
        if translated is None:
            raise
        raise translated from error
    try:
        yield connection
        await connection.execute("commit")
    except BaseException as error:
        pool.tally.count(error)
        # Ending the connection rolls back as well and cannot hang; errors of the database keep the connection.
        if isinstance(error, Exception) and _is_in_transaction(connection):
            await _roll_back(connection)
        if _is_in_transaction(connection) or not isinstance(error, Exception):
            pool.throw_away(connection)
        else:
            pool.give_back(connection)
        translated = as_storage_error(error)
        if translated is None:
            raise
        raise translated from error
    pool.give_back(connection)


async def _roll_back(connection: asyncpg.Connection) -> None:
    try:
        await connection.execute("rollback")
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        connection.terminate()


def _is_in_transaction(connection: asyncpg.Connection) -> bool:
    """Ask only a connection that lives: asyncpg has nothing left to ask of one that was terminated."""
    return not connection.is_closed() and bool(connection.is_in_transaction())
