"""The marked reads in memory, where there is no replica."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from uuid import UUID

from tegata.identifiers import TenantId
from tegata.identity.account import Role, normalize_username
from tegata.protocol.client import Client
from tegata.storage.marked_reads import EventSearch, TenantReads
from tegata.storage.records import AuditEvent, PasswordRecord
from tegata.testing.memory_tables import State


class MemoryMarkedReads:
    """Implements `storage.marked_reads.MarkedReads`."""

    _state: State

    async def tenant_readonly(self, tenant_id: TenantId) -> TenantReads:
        return MemoryTenantReads(self._state, tenant_id)


class MemoryTenantReads:
    """Implements `storage.marked_reads.TenantReads`. An unknown tenant has no rows."""

    def __init__(self, state: State, tenant_id: TenantId) -> None:
        self._tables = state.seen_by(tenant_id)

    async def search_events(
        self, search: EventSearch, *, limit: int, before: AuditEvent | None = None
    ) -> Sequence[AuditEvent]:
        events = self._tables.events.values() if self._tables else ()
        found = [
            event
            for event in events
            if search.since <= event.at < search.until
            and event.type.startswith(search.type_prefix)
            and (before is None or _order(event) < _order(before))
        ]
        return sorted(found, key=_order, reverse=True)[:limit]

    async def list_clients(self) -> Sequence[Client]:
        clients = self._tables.clients if self._tables else {}
        return [clients[name] for name in sorted(clients)]

    async def list_roles(self) -> Sequence[Role]:
        roles = self._tables.roles if self._tables else {}
        return [roles[name] for name in sorted(roles)]

    async def list_users(self, *, after: str | None = None, limit: int = 100) -> Sequence[PasswordRecord]:
        accounts = self._tables.accounts.values() if self._tables else ()
        start = normalize_username(after) if after is not None else ""
        later = (a for a in sorted(accounts, key=lambda a: a.username_norm) if after is None or a.username_norm > start)
        return [PasswordRecord(account.user, account.password_hash) for account in islice(later, limit)]


def _order(event: AuditEvent) -> tuple[float, UUID]:
    return event.at, UUID(event.event_id)
