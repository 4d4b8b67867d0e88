"""The marked reads: the only ones that a replica may answer, behind a type that has nothing else.

A read is marked by being a method of `TenantReads`. Codes, tokens, grants, sessions, assertions, throttles and client
authentication are not here, so nothing of theirs can be asked of a replica (pitfalls P85).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tegata.identifiers import TenantId
from tegata.identity.account import Role
from tegata.protocol.client import Client
from tegata.storage.records import AuditEvent, PasswordRecord


@dataclass(frozen=True, slots=True)
class EventSearch:
    """Which audit events: those of a time (seconds since the epoch, end excluded) whose type begins with a text."""

    since: float = -math.inf
    until: float = math.inf
    type_prefix: str = ""


class TenantReads(Protocol):
    """Reads of one tenant that see everything that anybody had committed when `tenant_readonly` was called."""

    async def search_events(
        self, search: EventSearch, *, limit: int, before: AuditEvent | None = None
    ) -> Sequence[AuditEvent]:
        """Return the newest events first, by time and then id. With `before`: what comes after it in this order."""
        ...

    async def list_clients(self) -> Sequence[Client]:
        """Return the clients by their id."""
        ...

    async def list_roles(self) -> Sequence[Role]:
        """Return the roles by name."""
        ...

    async def list_users(self, *, after: str | None = None, limit: int = 100) -> Sequence[PasswordRecord]:
        """Return accounts by username, keyset-paged."""
        ...


class MarkedReads(Protocol):
    """Where the marked reads of a tenant come from."""

    async def tenant_readonly(self, tenant_id: TenantId) -> TenantReads:
        """Return the tenant's marked reads, from a replica where that is set and has caught up with this moment."""
        ...
