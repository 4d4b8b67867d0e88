"""Connections of the server: an own bounded pool on asyncpg, and what its errors mean to the flows.

asyncpg's pool sends a reset query at each release and makes a task for each bounded wait. All settings here are local
to a transaction, so there is nothing to reset, and taking a free connection is a list operation.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import asyncpg

from tegata.postgres.target import ConnectionTarget
from tegata.storage.errors import Conflict, StorageError, Unavailable


class Row(Protocol):
    """A row of a result: asyncpg's Record, whose columns may be named or numbered."""

    def __getitem__(self, column: str | int) -> Any: ...


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of one process's pool. Processes x `size` must stay below the server's `max_connections`."""

    size: int = 10
    wait_seconds: float = 2.0  # for a free connection
    connect_seconds: float = 5.0
    statement_seconds: float = 5.0
    # A connection is replaced after this long, so that failovers and rotated credentials reach every process.
    age_seconds: float = 1800.0


class TenantMissing(StorageError):
    """A statement ran without a tenant context (SQLSTATE TG001): a fault of ours, never an answer."""


# Classes and codes of SQLSTATE that mean "not now": connection trouble, resources, shutdown, cancelled by a timeout,
# deadlock, lock not available, a primary that became a standby, and logins refused while credentials rotate.
_NOT_NOW_CLASSES = ("08", "53", "57", "58", "40")
_NOT_NOW = frozenset({"55P03", "25006", "28000", "28P01", "3D000"})
_TAKEN = frozenset({"23505", "23503", "23P01"})


def as_storage_error(error: BaseException) -> StorageError | None:
    """Return what a driver's error means to callers; None if it is a fault of ours."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        if state in _TAKEN:
            return Conflict(error.table_name or "row")
        if state == "TG001":
            return TenantMissing("a statement ran without a tenant")
        if state in _NOT_NOW or state.startswith(_NOT_NOW_CLASSES):
            return Unavailable(f"the database answered SQLSTATE {state}")
        return None
    if isinstance(error, asyncpg.InterfaceError | OSError | TimeoutError):
        return Unavailable(f"the database cannot be reached: {type(error).__name__}")
    return None


class Pool:
    """At most `size` connections; whoever comes first gets the one used last, which is the warmest."""

    def __init__(self, target: ConnectionTarget, limits: PoolLimits) -> None:
        self._limits = limits
        arguments = target.asyncpg_arguments()
        settings = {
            **_settings(arguments),
            "statement_timeout": str(int(limits.statement_seconds * 1000)),
            "idle_in_transaction_session_timeout": str(int(limits.statement_seconds * 2000)),
        }
        # The server's own timeout comes first; the client's is for a server that has vanished without a word.
        self._arguments: dict[str, Any] = {
            **arguments,
            "server_settings": settings,
            "timeout": limits.connect_seconds,
            "command_timeout": limits.statement_seconds + 1.0,
        }
        self._idle: list[asyncpg.Connection] = []
        self._born: dict[asyncpg.Connection, float] = {}
        self._waiting: deque[asyncio.Future[asyncpg.Connection | None]] = deque()
        self._open = 0
        self._closed = False

    @property
    def open_connections(self) -> int:
        """How many connections exist or are being made."""
        return self._open

    @property
    def busy_connections(self) -> int:
        """How many of them are in use."""
        return self._open - len(self._idle)

    async def take(self) -> asyncpg.Connection:
        """Return a connection for the caller alone. Raises `Unavailable` after the bounded wait."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            self._forget(connection)
        if self._closed:
            raise Unavailable("the connection pool is closed")
        if self._open < self._limits.size:
            self._open += 1
            return await self._connect()
        connection_or_slot = await self._wait()
        return connection_or_slot if connection_or_slot is not None else await self._connect()

    def give_back(self, connection: asyncpg.Connection) -> None:
        """Return a connection. One that is closed, old or inside a transaction is thrown away."""
        if connection.is_closed():
            self._forget(connection, and_wake=True)
        elif (
            self._closed
            or connection.is_in_transaction()
            or time.monotonic() - self._born[connection] > self._limits.age_seconds
        ):
            self.throw_away(connection)
        else:
            waiter = self._next_waiter()
            if waiter is not None:
                waiter.set_result(connection)
            else:
                self._idle.append(connection)

    def throw_away(self, connection: asyncpg.Connection) -> None:
        """End a connection whose state is unknown, e.g. because its user was cancelled in the middle."""
        connection.terminate()
        self._forget(connection, and_wake=True)

    async def close(self) -> None:
        """Close what is idle; what is in use closes when it is given back."""
        self._closed = True
        while waiter := self._next_waiter():
            waiter.set_exception(Unavailable("the connection pool is closed"))
        while self._idle:
            connection = self._idle.pop()
            self._forget(connection)
            try:
                await connection.close(timeout=2.0)
            except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()

    async def _connect(self) -> asyncpg.Connection:
        """Fill a slot that is already counted."""
        try:
            connection = await asyncpg.connect(**self._arguments)
        except BaseException as error:
            self._release_slot()
            translated = as_storage_error(error) if isinstance(error, Exception) else None
            if translated is None:
                raise
            raise translated from error
        self._born[connection] = time.monotonic()
        return connection

    async def _wait(self) -> asyncpg.Connection | None:
        """Wait for a connection, or for None: a slot to fill."""
        waiter: asyncio.Future[asyncpg.Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(self._limits.wait_seconds):
                return await waiter
        except BaseException as error:
            # The result may have arrived together with the cancellation: pass it on.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                arrived = waiter.result()
                if arrived is None:
                    self._release_slot()
                else:
                    self.give_back(arrived)
            if isinstance(error, TimeoutError):
                raise Unavailable("no free database connection") from None
            raise

    def _next_waiter(self) -> asyncio.Future[asyncpg.Connection | None] | None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                return waiter
        return None

    def _forget(self, connection: asyncpg.Connection, *, and_wake: bool = False) -> None:
        del self._born[connection]
        if and_wake:
            self._release_slot()
        else:
            self._open -= 1

    def _release_slot(self) -> None:
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(None)  # the slot stays counted: it is the waiter's now
        else:
            self._open -= 1


def _settings(arguments: dict[str, object]) -> dict[str, str]:
    settings = arguments["server_settings"]
    assert isinstance(settings, dict)
    return settings


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
        """Run one statement and return its rows."""
        pool = self.pool
        self.hot_acts += 1
        connection = await pool.take()
        try:
            rows: Sequence[Row] = await connection.fetch(statement, *arguments)
        except BaseException as error:
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

    async def close(self) -> None:
        """Close the pool."""
        await self.pool.close()
