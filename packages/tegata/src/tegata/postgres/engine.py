"""Statements of the server on its pooled connections, and what their errors mean to the flows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import asyncpg

from tegata.postgres.errors import DRIVER_ERRORS, TenantMissing, as_storage_error, is_lost_connection, is_unsent
from tegata.postgres.pool import Pool, PoolLimits
from tegata.postgres.target import ConnectionTarget
from tegata.storage.errors import Unavailable

__all__ = ["Database", "Pool", "PoolLimits", "Row", "TenantMissing", "as_storage_error"]


class Row(Protocol):
    """A row of a result: asyncpg's Record, whose columns may be named or numbered."""

    def __getitem__(self, column: str | int) -> Any: ...


class Database:
    """Statements on pooled connections, with errors translated. The flows reach it through the ports only."""

    def __init__(self, target: ConnectionTarget, limits: PoolLimits | None = None) -> None:
        self.pool = Pool(target, limits or PoolLimits())
        # Hot acts so far, one round trip each: tests hold the endpoints to a number of them.
        self.hot_acts = 0

    async def row(self, statement: str, *arguments: object) -> Row | None:
        """Run one statement in one round trip, its own transaction, and return its first row."""
        rows: Sequence[Row] = await self.rows(statement, *arguments)
        return rows[0] if rows else None

    async def value(self, statement: str, *arguments: object) -> Any:
        """Run one statement and return the first column of its first row."""
        rows: Sequence[Row] = await self.rows(statement, *arguments)
        return rows[0][0] if rows else None

    async def rows(self, statement: str, *arguments: object) -> Sequence[Row]:
        """Run one statement and return its rows.

        One that was never sent, because its session turned out to have ended, is sent on another one. Whatever may have
        reached the server is not repeated: it may have been done.
        """
        self.hot_acts += 1
        for _ in range(self.pool.size):
            try:
                return await self._rows(statement, arguments)
            except Unavailable as error:
                if error.__cause__ is None or not is_unsent(error.__cause__):
                    raise
        return await self._rows(statement, arguments)

    async def _rows(self, statement: str, arguments: tuple[object, ...]) -> Sequence[Row]:
        pool = self.pool
        connection = await pool.take()
        try:
            rows: Sequence[Row] = await connection.fetch(statement, *arguments)
        except BaseException as error:
            pool.tally.count(error)
            if isinstance(error, asyncpg.PostgresError):
                pool.give_back(connection)
            else:
                pool.throw_away(connection)
            translated = as_storage_error(error)
            if translated is None:
                raise
            raise translated from error
        pool.give_back(connection)
        return rows

    async def begin(self, statement: str) -> asyncpg.Connection:
        """Return a connection on which a transaction has been begun by `statement`.

        A beginning changes nothing, so one that meets the end of its session is tried again on another.
        """
        for _ in range(self.pool.size):
            try:
                return await self._begin(statement)
            except DRIVER_ERRORS as error:
                if not is_lost_connection(error):
                    raise
        return await self._begin(statement)

    async def _begin(self, statement: str) -> asyncpg.Connection:
        connection = await self.pool.take()
        try:
            await connection.execute(statement)
        except BaseException as error:
            self.pool.tally.count(error)
            self.pool.throw_away(connection)
            raise
        return connection

    async def close(self) -> None:
        """Close the pool."""
        await self.pool.close()
