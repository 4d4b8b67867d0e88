"""An operator over storage in memory, with a clock that moves and identifiers that can be told apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from uuid import UUID

import pytest

from tegata.crypto.envelope import Envelope
from tegata.flows.admin.apply import Operator, apply, plan_for
from tegata.flows.admin.current import CurrentTenant, read_current
from tegata.flows.admin.keys import KeyMaker
from tegata.flows.admin.plan import Plan
from tegata.storage.records import AuditEvent
from tegata.testing.memory import MemoryStorage

from .documents_of import desired


@dataclass
class Desk:
    """What a test does as an operator."""

    storage: MemoryStorage = field(default_factory=MemoryStorage)
    envelope: Envelope = field(default_factory=lambda: Envelope([b"k" * 32]))
    time: float = 1_000_000.0
    ids: count[int] = field(default_factory=lambda: count(1))

    def now(self) -> float:
        self.time += 1.0
        return self.time

    @property
    def operator(self) -> Operator:
        return Operator(self.storage, self.envelope, self.now, lambda: UUID(int=next(self.ids)))

    @property
    def maker(self) -> KeyMaker:
        return self.operator.key_maker()

    async def apply(self, *texts: str, prune: bool = False, **secrets: str) -> Plan:
        return await apply(self.operator, desired(*texts, **secrets), prune=prune)

    async def diff(self, *texts: str, prune: bool = False, **secrets: str) -> Plan:
        return await plan_for(self.storage, desired(*texts, **secrets), prune=prune)

    async def tenant(self, name: str = "acme") -> CurrentTenant:
        return (await read_current(self.storage, [name]))[name]

    async def events(self, name: str = "acme") -> list[AuditEvent]:
        """Oldest first."""
        tenant_id = (await self.tenant(name)).record.tenant_id
        return list(reversed(await self.storage.read_events(tenant_id, limit=100)))


@pytest.fixture
def desk() -> Desk:
    """A desk with an empty store."""
    return Desk()
