"""The audit log: the application may append and read, nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID

from tegata.identifiers import TenantId
from tegata.postgres.engine import Database, Row
from tegata.postgres.rows import event_fields, from_json
from tegata.postgres.tenancy import tenant
from tegata.storage.records import AuditEvent

_WRITE = "select tegata.write_events($1)"
_READ = """
    select event_id, extract(epoch from at)::double precision as at, type, outcome, actor, client_id, reason, address,
           details
      from tegata.audit_event
     where tenant_id = $1 and ($2::uuid is null or event_id < $2) and type ^@ $3
     order by event_id desc limit $4
"""


class PostgresAuditLog:
    """Implements `storage.ports.AuditLog`."""

    _database: Database

    async def write_events(self, events: Sequence[tuple[TenantId, AuditEvent]]) -> None:
        batches: dict[TenantId, list[dict[str, object]]] = {}
        for tenant_id, event in events:
            batches.setdefault(tenant_id, []).append(event_fields(event))
        if batches:
            payload = [{"tenant": str(tenant_id), "events": batch} for tenant_id, batch in batches.items()]
            await self._database.value(_WRITE, json.dumps(payload))

    async def read_events(
        self, tenant_id: TenantId, *, limit: int, before: str | None = None, type_prefix: str | None = None
    ) -> Sequence[AuditEvent]:
        cursor = UUID(before) if before is not None else None
        async with tenant(self._database, tenant_id) as connection:
            rows = await connection.fetch(_READ, tenant_id, cursor, type_prefix or "", limit)
        return [_event_from(row) for row in rows]


def _event_from(row: Row) -> AuditEvent:
    return AuditEvent(
        str(row["event_id"]),
        row["at"],
        row["type"],
        row["outcome"],
        row["actor"],
        row["client_id"],
        row["reason"],
        row["address"],
        from_json(row["details"]),
    )
