"""The marked reads: on the reader behind a fence, else on the writer. Nothing else of this server knows the reader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import asyncpg

from tegata.identifiers import TenantId
from tegata.identity.account import Role
from tegata.postgres.accounts import fetch_roles, fetch_users
from tegata.postgres.audit_log import fetch_events
from tegata.postgres.engine import Database
from tegata.postgres.fence import Fence, take_fence
from tegata.postgres.reader import Read, Reader
from tegata.postgres.tenancy import tenant_readonly
from tegata.postgres.tenants import fetch_clients
from tegata.protocol.client import Client
from tegata.storage.marked_reads import EventSearch, TenantReads
from tegata.storage.records import AuditEvent, PasswordRecord

_T = TypeVar("_T")


class PostgresMarkedReads:
    """Implements `storage.marked_reads.MarkedReads`."""

    _database: Database
    _reader: Reader | None

    async def tenant_readonly(self, tenant_id: TenantId) -> TenantReads:
        return _PostgresTenantReads(tenant_id, self._database, self._reader, await self._fence())

    async def _fence(self) -> Fence | None:
        if self._reader is None:
            return None
        try:
            return await take_fence(self._database)
        except asyncpg.PostgresError:  # a server that has no such position to tell, as Aurora
            return None


class _PostgresTenantReads:
    """Implements `storage.marked_reads.TenantReads`."""

    def __init__(self, tenant_id: TenantId, writer: Database, reader: Reader | None, fence: Fence | None) -> None:
        self._tenant_id = tenant_id
        self._writer = writer
        self._reader = reader
        self._fence = fence

    async def search_events(
        self, search: EventSearch, *, limit: int, before: AuditEvent | None = None
    ) -> Sequence[AuditEvent]:
        return await self._read(lambda on: fetch_events(on, self._tenant_id, search, limit=limit, before=before))

    async def list_clients(self) -> Sequence[Client]:
        return await self._read(lambda on: fetch_clients(on, self._tenant_id))

    async def list_roles(self) -> Sequence[Role]:
        return await self._read(lambda on: fetch_roles(on, self._tenant_id))

    async def list_users(self, *, after: str | None = None, limit: int = 100) -> Sequence[PasswordRecord]:
        return await self._read(lambda on: fetch_users(on, self._tenant_id, after=after, limit=limit))

    async def _read(self, read: Read[_T]) -> _T:
        if self._reader is not None:
            if self._fence is None:
                self._reader.fell_back("no_fence")
            elif (answer := await self._reader.attempt(self._fence, self._tenant_id, read)) is not None:
                return answer.value
        async with tenant_readonly(self._writer, self._tenant_id) as connection:
            return await read(connection)
