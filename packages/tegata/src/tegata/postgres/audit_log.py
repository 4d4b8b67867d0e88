"""The audit log: the application may append and read, nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg

from tegata.identifiers import TenantId
from tegata.postgres.engine import Database, Row
from tegata.postgres.rows import event_fields, from_json
from tegata.postgres.tenancy import tenant
from tegata.storage.marked_reads import EventSearch
from tegata.storage.records import AuditEvent

_WRITE = "select tegata.write_events($1)"
_READ = """
    select event_id, extract(epoch from at)::double precision as at, type, outcome, actor, client_id, reason, address,
           details
      from tegata.audit_event
     where tenant_id = $1 and ($2::uuid is null or event_id < $2) and type ^@ $3
     order by event_id desc limit $4
"""
# The two bounds on `at` are for the planner, which leaves out partitions by them and not by a comparison of rows. And
# the order is by the table's own `at`: the bare name would mean the result's, which no index is in the order of.
_SEARCH = """
    select e.event_id, extract(epoch from e.at)::double precision as at, e.type, e.outcome, e.actor, e.client_id,
           e.reason, e.address, e.details
      from tegata.audit_event e
     where e.tenant_id = $1 and e.type ^@ $2
       and e.at >= to_timestamp($3::double precision) and e.at <= to_timestamp($4::double precision)
       and (e.at, e.event_id) < (to_timestamp($4::double precision), $5::uuid)
     order by e.at desc, e.event_id desc limit $6
"""
# No event has the least of all ids: with it, the pair excludes the end of the time itself.
_LEAST_ID = UUID(int=0)
_MOST_BRACKETS = 300
_MOST_UNREADABLE = 1000


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


async def fetch_events(
    connection: asyncpg.Connection, tenant_id: TenantId, search: EventSearch, *, limit: int, before: AuditEvent | None
) -> Sequence[AuditEvent]:
    """Return the newest events of a search, those that come after `before` in this order."""
    end, least = (search.until, _LEAST_ID) if before is None else (before.at, UUID(before.event_id))
    rows = await connection.fetch(_SEARCH, tenant_id, search.type_prefix, search.since, end, least, limit)
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
        _details_from(row["details"]),
    )


def _details_from(text: str) -> dict[str, Any]:
    """Return what an event says beyond its columns. Ours are objects; whoever can append may write any JSON.

    An event that could not be read would hide all those behind it from whoever looks for what has happened.
    """
    try:
        # Python reads and writes less deep than PostgreSQL, by a limit that the callers' frames use up as well.
        found: object = from_json(text) if text.count("[") + text.count("{") < _MOST_BRACKETS else None
    except ValueError:  # such as a number of more than 4300 digits
        found = None
    if isinstance(found, dict):
        return found
    return {"unreadable": text[:_MOST_UNREADABLE]}
