"""Deleting what has expired, of all tenants, as the maintenance role and in batches that hold locks briefly.

Rows that somebody else holds are skipped, so neither requests nor a second purge wait or are waited for. Each batch is
a transaction: whatever ends a run in the middle, what is done stays done and the next run goes on.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass

import structlog

from tegata.postgres.engine import Database
from tegata.postgres.partitions import LogBusy, add_partitions, drop_partitions, partitions
from tegata.postgres.tenancy import across_tenants
from tegata.storage.records import AUDIT_RETENTION_DAYS

_DAY = 24 * 3600
_log = structlog.get_logger("tegata.purge")


@dataclass(frozen=True, slots=True)
class _Kind:
    """A table, the column that has to lie in the past, by how many seconds, and what else must be so.

    walked: the column changes, so it has no index, and the table is read through once in a run.
    """

    table: str
    column: str
    kept_seconds: int = 0
    also: str = ""
    walked: bool = False


# A grant goes after what hangs on it, so that its cascade has nothing to delete beyond the batch.
_CHILDLESS = " and ".join(
    f"not exists (select from tegata.{child} c where c.tenant_id = t.tenant_id and c.grant_id = t.grant_id)"
    for child in ("authorization_code", "refresh_token", "opaque_token")
)
# Codes stay for a day, so that a replay can be told from garbage; grants stay for thirty days after the last end that
# storage knows of, because access tokens issued as JWT leave no row here and are looked up by their grant.
_KINDS = (
    _Kind("session", "expires_at"),
    _Kind("authorization_code", "expires_at", _DAY),
    _Kind("refresh_token", "expires_at"),
    _Kind("opaque_token", "expires_at"),
    _Kind("revoked_token", "expires_at"),
    _Kind("interaction", "expires_at"),
    _Kind("assertion", "expires_at"),
    _Kind("throttle", "last_failure_at", _DAY, walked=True),
    _Kind("grant_record", "expires_at", 30 * _DAY, f" and {_CHILDLESS}", walked=True),
)
_BATCH = """
    delete from tegata.{table} where ctid = any (array(
      select t.ctid from tegata.{table} t
       where t.{column} <= to_timestamp($1::double precision){also}
       limit $2 for update of t skip locked))
"""
_WALKED = " and t.ctid >= $3::text::tid and t.ctid < $4::text::tid"
_PAGES = "select pg_relation_size('tegata.{table}') / current_setting('block_size')::bigint"
_PAGES_AT_ONCE = 500
# A plan for any value would expect a third of the table to have ended, and read all of it where nothing has.
_PLAN = "set local plan_cache_mode = force_custom_plan"


class PostgresPurge:
    """Implements `storage.retention.Retention`."""

    _database: Database

    async def store_time(self) -> float:
        return float(await self._database.value("select extract(epoch from clock_timestamp())::double precision"))

    async def prepare_audit(self, *, now: float) -> Mapping[str, int]:
        made = await add_partitions(self._database, now=now)
        state = await partitions(self._database, now=now)
        return {"made": len(made), "days_ahead": state.days_ahead, "without_month": state.without_month}

    async def purge_expired(
        self,
        *,
        now: float,
        batch: int = 1000,
        audit_retention_days: int = AUDIT_RETENTION_DAYS,
        budget_seconds: float = 300.0,
    ) -> Mapping[str, int]:
        works = {kind.table: self._expired(kind, now, batch) for kind in _KINDS}
        works["audit_event"] = self._audit(now, now - audit_retention_days * _DAY, batch)
        totals = dict.fromkeys(works, 0)
        end = time.monotonic() + budget_seconds
        try:
            # One batch of each in turn, so that a flood of one kind leaves time for the others.
            while works:
                for table, work in list(works.items()):
                    try:
                        totals[table] += await anext(work)
                    except StopAsyncIteration:
                        del works[table]
                if time.monotonic() >= end:
                    break
        finally:
            for work in works.values():
                await work.aclose()
        if works:
            _log.warning("purge_unfinished", kinds=sorted(works))
        return totals

    async def _expired(self, kind: _Kind, now: float, batch: int) -> AsyncGenerator[int, None]:
        end = now - kind.kept_seconds
        also = kind.also + (_WALKED if kind.walked else "")
        statement = _BATCH.format(table=kind.table, column=kind.column, also=also)
        async for bounds in self._windows(kind):
            while (count := await self._delete_batch(statement, end, batch, *bounds)) == batch:
                yield count
            yield count

    async def _windows(self, kind: _Kind) -> AsyncIterator[tuple[str, ...]]:
        """Give the ranges of pages to walk through; one without bounds where an index finds the rows."""
        if not kind.walked:
            yield ()
            return
        pages = await self._database.value(_PAGES.format(table=kind.table))
        for first in range(0, pages, _PAGES_AT_ONCE):
            yield f"({first},0)", f"({first + _PAGES_AT_ONCE},0)"

    async def _delete_batch(self, statement: str, *arguments: object) -> int:
        async with across_tenants(self._database) as connection:
            await connection.execute(_PLAN)
            deleted = await connection.execute(statement, *arguments)
        return int(deleted.rpartition(" ")[2])

    async def _audit(self, now: float, before: float, batch: int) -> AsyncGenerator[int, None]:
        """Make the months to come and drop those that are over; when the log is too busy, the next run does."""
        try:
            await add_partitions(self._database, now=now)
            async for count in drop_partitions(self._database, before=before, batch=batch):
                yield count
        except LogBusy:
            _log.warning("audit_partitions_busy")
