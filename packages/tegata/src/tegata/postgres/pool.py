"""The connections of one process: few, kept warm, waited for with bounds, and looked at before they are used again.

asyncpg's pool sends a reset query at each release and makes a task for each bounded wait. All settings here are local
to a transaction, so there is nothing to reset, and taking a free connection is a list operation.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections import deque
from dataclasses import dataclass

import asyncpg

from tegata.postgres.errors import DRIVER_ERRORS, as_storage_error
from tegata.postgres.logins import open_session
from tegata.postgres.tally import Tally
from tegata.postgres.target import ConnectionTarget
from tegata.storage.errors import Unavailable


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of one process's pool. Processes x `size` must stay below the server's `max_connections`."""

    size: int = 10
    wait_seconds: float = 2.0  # for a free connection
    connect_seconds: float = 5.0
    statement_seconds: float = 5.0
    # A connection is replaced after this long, so that failovers and rotated credentials reach every process.
    age_seconds: float = 1800.0
    waiting: int = 500  # who comes when so many wait already is refused at once
    # A connection that nobody has used for this long is asked whether it lives; None: never.
    check_after_seconds: float | None = 30.0


@dataclass(slots=True)
class _Kept:
    """What the pool knows about one connection."""

    born: float
    used: float
    poll: select.poll | None


_Waiter = asyncio.Future[asyncpg.Connection | None]


class Pool:
    """At most `size` connections; whoever comes first gets the one used last, which is the warmest."""

    def __init__(self, target: ConnectionTarget, limits: PoolLimits) -> None:
        self._target = target
        self._limits = limits
        # A transaction pooler passes no settings of a session on: they are set in each transaction instead.
        self.transaction_settings = "".join(
            f"set local {name} = {value}; " for name, value in self._settings().items() if target.transaction_pooler
        )
        self._idle: list[asyncpg.Connection] = []
        self._kept: dict[asyncpg.Connection, _Kept] = {}
        self._waiting: deque[_Waiter] = deque()
        self._open = 0
        self._closed = False
        self.tally = Tally()

    @property
    def size(self) -> int:
        """How many connections may be open."""
        return self._limits.size

    @property
    def open_connections(self) -> int:
        """How many connections exist or are being made."""
        return self._open

    @property
    def busy_connections(self) -> int:
        """How many of them are in use."""
        return self._open - len(self._idle)

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return len(self._waiting)

    async def take(self) -> asyncpg.Connection:
        """Return a connection for the caller alone. Raises `Unavailable` after the bounded wait."""
        while True:
            connection = await self._take_idle()
            if connection is not None:
                return connection
            if self._closed:
                raise Unavailable("the connection pool is closed")
            if self._open < self._limits.size:
                self._open += 1
                return await self._connect()
            connection = await self._wait()
            if connection is None:
                return await self._connect()
            if not connection.is_closed():
                return connection
            self._forget(connection)  # it ended on its way from hand to hand

    def give_back(self, connection: asyncpg.Connection) -> None:
        """Return a connection. One that is closed, old or inside a transaction is thrown away."""
        kept = self._kept[connection]
        now = time.monotonic()
        if connection.is_closed():
            self._forget(connection)
        elif self._closed or connection.is_in_transaction() or now - kept.born > self._limits.age_seconds:
            self.throw_away(connection)
        else:
            waiter = self._next_waiter()
            if waiter is not None:
                waiter.set_result(connection)
            else:
                kept.used = now
                self._idle.append(connection)

    def throw_away(self, connection: asyncpg.Connection) -> None:
        """End a connection whose state is unknown, e.g. because its user was cancelled in the middle."""
        connection.terminate()
        self._forget(connection)

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

    async def _take_idle(self) -> asyncpg.Connection | None:
        """Return a connection that is free and lives, if there is one."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_closed():
                self._forget(connection)
            elif not self._is_doubtful(self._kept[connection]) or await self._lives(connection):
                return connection
        return None

    def _is_doubtful(self, kept: _Kept) -> bool:
        """Whether something has come in that nobody asked for, or too much time has passed in silence.

        An idle connection has nothing to say: what waits to be read is the end of the session, or a notice. Seen in
        time, the request gets another connection; seen after its statement was sent, nobody knows what became of it.
        """
        if kept.poll is not None and kept.poll.poll(0):
            return True
        limit = self._limits.check_after_seconds
        return limit is not None and time.monotonic() - kept.used > limit

    async def _lives(self, connection: asyncpg.Connection) -> bool:
        """Ask a connection whether it lives; end it if not."""
        try:
            await connection.execute("select 1", timeout=self._limits.connect_seconds)
        except DRIVER_ERRORS:
            self.throw_away(connection)
            return False
        except BaseException:
            self.throw_away(connection)
            raise
        return True

    async def _connect(self) -> asyncpg.Connection:
        """Fill a slot that is already counted."""
        limits = self._limits
        try:
            async with asyncio.timeout(limits.connect_seconds):  # the credential included
                connection = await open_session(
                    self._target,
                    connect_seconds=limits.connect_seconds,
                    # The server's own timeout comes first; this one is for a server that has vanished without a word.
                    command_seconds=limits.statement_seconds + 1.0,
                    server_settings=self._settings(),
                )
        except BaseException as error:
            self._release_slot()
            self.tally.count(error)
            translated = as_storage_error(error) if isinstance(error, Exception) else None
            if translated is None:
                raise
            raise translated from error
        now = time.monotonic()
        self._kept[connection] = _Kept(now, now, _poll_of(connection))
        return connection

    def _settings(self) -> dict[str, str]:
        milliseconds = int(self._limits.statement_seconds * 1000)
        return {
            # Maintenance must not call what somebody with fewer rights has left in `public` (CVE-2018-1058).
            "search_path": "pg_catalog, pg_temp",
            "statement_timeout": str(milliseconds),
            "idle_in_transaction_session_timeout": str(2 * milliseconds),
        }

    async def _wait(self) -> asyncpg.Connection | None:
        """Wait for a connection, or for None: a slot to fill."""
        if len(self._waiting) >= self._limits.waiting:
            self.tally.refused += 1
            raise Unavailable("too many requests wait for a database connection")
        waiter: _Waiter = asyncio.get_running_loop().create_future()
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
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
            if isinstance(error, TimeoutError):
                self.tally.refused += 1
                raise Unavailable("no free database connection") from None
            raise

    def _next_waiter(self) -> _Waiter | None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                return waiter
        return None

    def _forget(self, connection: asyncpg.Connection) -> None:
        del self._kept[connection]
        self._release_slot()

    def _release_slot(self) -> None:
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(None)  # the slot stays counted: it is the waiter's now
        else:
            self._open -= 1


def _poll_of(connection: asyncpg.Connection) -> select.poll | None:
    """Return what tells, without a round trip, whether the server has sent something."""
    transport = getattr(connection, "_transport", None)  # asyncpg has no public name for it
    found = None if transport is None else transport.get_extra_info("socket")
    if found is None or not hasattr(select, "poll"):
        return None
    poll = select.poll()
    poll.register(found.fileno(), select.POLLIN)
    return poll
