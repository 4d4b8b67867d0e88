"""Signing keys: one active and one next key for each algorithm of a tenant, and the previous ones."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from tegata.identifiers import TenantId
from tegata.postgres.engine import Database
from tegata.postgres.rows import events_json, from_json, to_json
from tegata.postgres.tenancy import tenant
from tegata.protocol.policy import SigningAlgorithm
from tegata.storage.records import AuditEvent, SigningKeyRecord

_FIND = "select * from tegata.find_signing_keys($1)"
_APPEND = "select tegata.append_events($1, $2)"
_ADD = """
    insert into tegata.signing_key
        (tenant_id, kid, algorithm, state, public_jwk, sealed_private_key, created_at, state_changed_at)
      values ($1, $2, $3, $4, $5, $6, to_timestamp($7), to_timestamp($8))
"""
_LOCK = "select from tegata.signing_key where tenant_id = $1 and algorithm = $2 order by kid for update"
# A rotation since this one began to make its key has won: its fresh key must be published before it is used.
_MAY_ROTATE = """
    select coalesce(bool_or(state = 'next'), false)
           and not coalesce(bool_or(state = 'previous' and state_changed_at >= to_timestamp($3)), false)
           and ($4::text is null or coalesce(bool_or(state = 'active' and kid = $4), false))
      from tegata.signing_key where tenant_id = $1 and algorithm = $2
"""
_CHANGE = """
    update tegata.signing_key set state = $4, state_changed_at = to_timestamp($5)
     where tenant_id = $1 and algorithm = $2 and state = $3
"""
_DROP = (
    "delete from tegata.signing_key where tenant_id = $1 and state = 'previous' and state_changed_at < to_timestamp($2)"
)


class PostgresSigningKeys:
    """Implements `storage.ports.Keys` and the look-up of keys of `storage.ports.TenantDirectory`."""

    _database: Database

    async def signing_keys(self, tenant_id: TenantId) -> Sequence[SigningKeyRecord]:
        rows = await self._database.rows(_FIND, tenant_id)
        return [
            SigningKeyRecord(
                row["kid"],
                row["algorithm"],
                row["state"],
                from_json(row["public_jwk"]),
                row["sealed_private_key"],
                row["created_at"],
                row["state_changed_at"],
            )
            for row in rows
        ]

    async def add_key(self, tenant_id: TenantId, key: SigningKeyRecord, *, events: Sequence[AuditEvent]) -> None:
        async with tenant(self._database, tenant_id) as connection:
            await _add(connection, tenant_id, key, key.state)
            await connection.execute(_APPEND, tenant_id, events_json(events))

    async def rotate_keys(
        self,
        tenant_id: TenantId,
        algorithm: SigningAlgorithm,
        new_next: SigningKeyRecord,
        *,
        now: float,
        event: AuditEvent,
        replacing: str | None = None,
    ) -> bool:
        async with tenant(self._database, tenant_id) as connection:
            await connection.execute(_LOCK, tenant_id, algorithm)
            if not await connection.fetchval(_MAY_ROTATE, tenant_id, algorithm, new_next.created_at, replacing):
                return False
            await connection.execute(_CHANGE, tenant_id, algorithm, "active", "previous", now)
            await connection.execute(_CHANGE, tenant_id, algorithm, "next", "active", now)
            await _add(connection, tenant_id, new_next, "next")
            await connection.execute(_APPEND, tenant_id, events_json([event]))
        return True

    async def drop_previous_keys(self, tenant_id: TenantId, *, older_than: float, event: AuditEvent) -> int:
        async with tenant(self._database, tenant_id) as connection:
            deleted: str = await connection.execute(_DROP, tenant_id, older_than)
            count = int(deleted.rpartition(" ")[2])
            if count:
                await connection.execute(_APPEND, tenant_id, events_json([event]))
        return count


async def _add(connection: asyncpg.Connection, tenant_id: TenantId, key: SigningKeyRecord, state: str) -> None:
    await connection.execute(
        _ADD,
        tenant_id,
        key.kid,
        key.algorithm,
        state,
        to_json(key.public_jwk),
        key.sealed_private_key,
        key.created_at,
        key.state_changed_at,
    )
