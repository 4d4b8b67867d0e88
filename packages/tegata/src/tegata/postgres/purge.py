"""Deleting what has expired, of all tenants, as the maintenance role and in batches that hold locks briefly."""

from __future__ import annotations

from collections.abc import Mapping

from tegata.postgres.engine import Database
from tegata.postgres.tenancy import across_tenants
from tegata.storage.records import AUDIT_RETENTION_DAYS

_DAY = 24 * 3600

# Table, what has to lie in the past, and by how many seconds. Codes stay for a day, so that a replay can be told from
# garbage; grants stay for thirty days after the last end that storage knows of, because access tokens issued as JWT
# leave no row here and are looked up by their grant.
_TABLES = (
    ("session", "expires_at", 0),
    ("authorization_code", "expires_at", _DAY),
    ("refresh_token", "expires_at", 0),
    ("opaque_token", "expires_at", 0),
    ("revoked_token", "expires_at", 0),
    ("interaction", "expires_at", 0),
    ("assertion", "expires_at", 0),
    ("throttle", "last_failure_at", _DAY),
    ("grant_record", "expires_at", 30 * _DAY),
)
_BATCH = """
    delete from tegata.{table} where ctid = any (array(
      select ctid from tegata.{table} where {column} <= to_timestamp($1::double precision) {also} limit $2))
"""


class PostgresPurge:
    """Implements `storage.ports.Provisioning.purge_expired`."""

    _database: Database

    async def purge_expired(
        self, *, now: float, batch: int = 1000, audit_retention_days: int = AUDIT_RETENTION_DAYS
    ) -> Mapping[str, int]:
        tables = (*_TABLES, ("audit_event", "at", audit_retention_days * _DAY))
        return {table: await self._purge(table, column, now - kept, batch) for table, column, kept in tables}

    async def _purge(self, table: str, column: str, end: float, batch: int) -> int:
        # The block index of grants is over created_at, which lies before expires_at.
        also = "and created_at <= to_timestamp($1::double precision)" if table == "grant_record" else ""
        statement = _BATCH.format(table=table, column=column, also=also)
        total = 0
        while True:
            async with across_tenants(self._database) as connection:
                deleted = await connection.execute(statement, end, batch)
            count = int(deleted.rpartition(" ")[2])
            total += count
            if count < batch:
                return total
