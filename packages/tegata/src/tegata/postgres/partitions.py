"""The months of the audit log: making those to come, dropping those that are over, and what lies in neither.

Maintenance owns no table. It calls functions of the owner that do exactly this and give up after 300 ms without their
locks, so that no token request waits longer behind them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog

from tegata.postgres.engine import Database
from tegata.postgres.tenancy import across_tenants
from tegata.storage.errors import Unavailable

MONTHS_AHEAD = 3

_ADD = "select tegata.add_audit_partition(to_timestamp($1::double precision), $2)"
_DROP = "select tegata.drop_audit_partition(to_timestamp($1::double precision))"
_PURGE = "select tegata.purge_audit_rows(to_timestamp($1::double precision), $2)"
_STATE = """
    select (select max(extract(epoch from p.ends) - $1::double precision)::bigint / 86400
              from tegata.audit_partitions() p) as days_ahead,
           tegata.count_audit_events_without_month($2) as without_month
"""
_FEWEST_DAYS = 31
_ATTEMPTS = 5
# Counting further tells nobody anything.
_MOST_COUNTED = 10_000
_log = structlog.get_logger("tegata.partitions")
Pause = Callable[[float], Awaitable[None]]


class LogBusy(Unavailable):
    """Others use the log without a pause, or for long: its partitions could not be changed now."""


@dataclass(frozen=True, slots=True)
class Partitions:
    """How the log stands: days from now to the end of the last month, and events outside of all months.

    The latter are counted up to 10,000.
    """

    days_ahead: int
    without_month: int


async def add_partitions(
    database: Database, *, now: float, months: int = MONTHS_AHEAD, pause: Pause = asyncio.sleep
) -> list[str]:
    """Make the partitions that are missing from this month on, and for events that found none; return their names."""
    made: list[str] = []
    while (name := await _patiently(database, pause, _ADD, now, months)) is not None:
        made.append(str(name))
    return made


async def drop_partitions(
    database: Database, *, before: float, batch: int, pause: Pause = asyncio.sleep
) -> AsyncIterator[int]:
    """Drop months that ended before a time, and delete such rows that share a partition; give rows step by step."""
    while (rows := await _patiently(database, pause, _DROP, before)) is not None:
        yield int(rows)
    while True:
        rows = await _patiently(database, pause, _PURGE, before, batch)
        yield int(rows)
        if rows < batch:
            return


async def partitions(database: Database, *, now: float) -> Partitions:
    """Return how the log stands, and log a warning if the next months or the events are not where they should be."""
    try:
        found = await database.row(_STATE, now, _MOST_COUNTED)
    except asyncpg.UndefinedFunctionError:
        raise _not_migrated() from None
    assert found is not None
    state = Partitions(found["days_ahead"] or 0, found["without_month"])
    if state.days_ahead < _FEWEST_DAYS or state.without_month:
        _log.warning("audit_partitions", days_ahead=state.days_ahead, without_month=state.without_month)
    return state


async def _patiently(database: Database, pause: Pause, statement: str, *arguments: object) -> Any:
    """Run a function that gives up when it does not get its locks at once, a few times. Raises `LogBusy`."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            async with across_tenants(database) as connection:
                return await connection.fetchval(statement, *arguments)
        except asyncpg.UndefinedFunctionError:
            raise _not_migrated() from None
        except Unavailable as busy:
            if not isinstance(busy.__cause__, asyncpg.LockNotAvailableError | asyncpg.DeadlockDetectedError):
                raise
        await pause(0.1 * attempt)
    raise LogBusy("the audit log is busy")


def _not_migrated() -> Unavailable:
    return Unavailable("the schema is older than this release: migrate it")
