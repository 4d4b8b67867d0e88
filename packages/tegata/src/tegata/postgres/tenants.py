"""Tenants and their clients and keys: what every process caches, and what an operator writes."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
from pydantic import TypeAdapter

from tegata.identifiers import TenantId
from tegata.postgres.engine import Database, Row
from tegata.postgres.rows import events_json, is_storable
from tegata.postgres.tenancy import across_tenants, tenant
from tegata.protocol.client import Client, ClientMetadata, ClientSecret
from tegata.protocol.policy import TenantPolicy
from tegata.storage.errors import Conflict
from tegata.storage.records import AuditEvent, TenantRecord

# Members that a newer release has written are ignored when read, so that two releases can run side by side.
_POLICY = TypeAdapter(TenantPolicy)
_METADATA = TypeAdapter(ClientMetadata)

_FIND = "select * from tegata.load_tenant($1)"
_FIND_CLIENT = "select * from tegata.find_client($1, $2)"
_APPEND = "select tegata.append_events($1, $2)"
_LIST = """
    select t.tenant_id, t.name, t.policy, t.pairwise_salt
      from tegata.tenant_directory d join tegata.tenant t using (tenant_id)
     where d.name > $1 order by d.name limit $2
"""
_LIST_CLIENTS = """
    select c.client_id, c.metadata,
           array(select s.digest from tegata.client_secret s
                  where s.tenant_id = $1 and s.client_id = c.client_id order by s.digest) as secret_digests,
           array(select extract(epoch from s.expires_at)::double precision from tegata.client_secret s
                  where s.tenant_id = $1 and s.client_id = c.client_id order by s.digest) as secret_ends
      from tegata.client c where c.tenant_id = $1 order by c.client_id
"""
_PUT_CLIENT = """
    insert into tegata.client (tenant_id, client_id, metadata) values ($1, $2, $3)
      on conflict (tenant_id, client_id) do update set metadata = excluded.metadata, updated_at = now()
"""
_PUT_SECRET = """
    insert into tegata.client_secret (tenant_id, client_id, digest, expires_at)
      values ($1, $2, $3, to_timestamp($4::double precision))
"""


class PostgresTenants:
    """Implements the look-ups of tenants and clients of `storage.ports.TenantDirectory`."""

    _database: Database

    async def find_tenant(self, name: str) -> TenantRecord | None:
        row = await self._database.row(_FIND, name) if is_storable(name) else None
        return _tenant_from(row) if row is not None else None

    async def find_client(self, tenant_id: TenantId, client_id: str) -> Client | None:
        row = await self._database.row(_FIND_CLIENT, tenant_id, client_id) if is_storable(client_id) else None
        return _client_from(row) if row is not None else None


class PostgresTenantProvisioning:
    """Implements the part of `storage.ports.Provisioning` that is about tenants and clients."""

    _database: Database

    async def list_tenants(self, *, after: str | None = None, limit: int = 100) -> Sequence[TenantRecord]:
        async with across_tenants(self._database) as connection:
            rows = await connection.fetch(_LIST, after or "", limit)
        return [_tenant_from(row) for row in rows]

    async def create_tenant(self, record: TenantRecord, *, events: Sequence[AuditEvent]) -> None:
        async with tenant(self._database, record.tenant_id) as connection:
            try:
                await connection.execute(
                    "insert into tegata.tenant (tenant_id, name, policy, pairwise_salt) values ($1, $2, $3, $4)",
                    record.tenant_id,
                    record.name,
                    _POLICY.dump_json(record.policy).decode(),
                    record.pairwise_salt,
                )
                await connection.execute(
                    "insert into tegata.tenant_directory (name, tenant_id) values ($1, $2)",
                    record.name,
                    record.tenant_id,
                )
            except asyncpg.UniqueViolationError as error:
                raise Conflict("tenant") from error
            await connection.execute(_APPEND, record.tenant_id, events_json(events))

    async def update_tenant(self, tenant_id: TenantId, policy: TenantPolicy, *, events: Sequence[AuditEvent]) -> None:
        async with tenant(self._database, tenant_id) as connection:
            changed = await connection.execute(
                "update tegata.tenant set policy = $2 where tenant_id = $1",
                tenant_id,
                _POLICY.dump_json(policy).decode(),
            )
            if changed == "UPDATE 0":
                raise Conflict("tenant")
            await connection.execute(_APPEND, tenant_id, events_json(events))

    async def list_clients(self, tenant_id: TenantId) -> Sequence[Client]:
        async with tenant(self._database, tenant_id) as connection:
            return await fetch_clients(connection, tenant_id)

    async def put_client(self, tenant_id: TenantId, client: Client, *, events: Sequence[AuditEvent]) -> None:
        async with tenant(self._database, tenant_id) as connection:
            metadata = _METADATA.dump_json(client.metadata).decode()
            await connection.execute(_PUT_CLIENT, tenant_id, client.client_id, metadata)
            await connection.execute(
                "delete from tegata.client_secret where tenant_id = $1 and client_id = $2", tenant_id, client.client_id
            )
            for secret in client.secrets:
                await connection.execute(_PUT_SECRET, tenant_id, client.client_id, secret.digest, secret.expires_at)
            await connection.execute(_APPEND, tenant_id, events_json(events))

    async def delete_client(self, tenant_id: TenantId, client_id: str, *, events: Sequence[AuditEvent]) -> bool:
        async with tenant(self._database, tenant_id) as connection:
            deleted = await connection.execute(
                "delete from tegata.client where tenant_id = $1 and client_id = $2", tenant_id, client_id
            )
            if deleted == "DELETE 0":
                return False
            await connection.execute(_APPEND, tenant_id, events_json(events))
        return True


async def fetch_clients(connection: asyncpg.Connection, tenant_id: TenantId) -> Sequence[Client]:
    """Return a tenant's clients by their id."""
    return [_client_from(row) for row in await connection.fetch(_LIST_CLIENTS, tenant_id)]


def _tenant_from(row: Row) -> TenantRecord:
    policy = _POLICY.validate_json(row["policy"], extra="ignore")
    return TenantRecord(TenantId(row["tenant_id"]), row["name"], policy, row["pairwise_salt"])


def _client_from(row: Row) -> Client:
    secrets = zip(row["secret_digests"], row["secret_ends"], strict=True)
    return Client(
        row["client_id"],
        _METADATA.validate_json(row["metadata"], extra="ignore"),
        tuple(ClientSecret(digest, end) for digest, end in secrets),
    )
