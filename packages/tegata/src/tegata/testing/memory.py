"""Storage in memory: the ports without a database, for tests of flows. Kept honest by the conformance suite."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeVar

from tegata.storage.ports import ChangeCallback
from tegata.storage.records import AUDIT_RETENTION_DAYS
from tegata.testing.memory_marked_reads import MemoryMarkedReads
from tegata.testing.memory_operator import MemoryOperator
from tegata.testing.memory_people import MemoryPeople
from tegata.testing.memory_tables import State, Tables
from tegata.testing.memory_tokens import MemoryTokens

_K = TypeVar("_K")
_V = TypeVar("_V")

# As long as PostgreSQL keeps them (`tegata.postgres.purge`).
_CODES_SECONDS = 24 * 3600
_GRANTS_SECONDS = 30 * 24 * 3600


class MemoryStorage(MemoryTokens, MemoryPeople, MemoryOperator, MemoryMarkedReads):
    """Implements `storage.ports.OperatorStorage` and `Changes`. `clock` stands for the database's own."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._state = State()
        self._callbacks: list[ChangeCallback] = []
        self._clock = clock

    async def purge_expired(
        self,
        *,
        now: float,
        batch: int = 1000,
        audit_retention_days: int = AUDIT_RETENTION_DAYS,
        budget_seconds: float = 300.0,
    ) -> Mapping[str, int]:
        """Delete what PostgreSQL's purge would delete."""
        removed: dict[str, int] = {}
        for tables in self._state.tenants.values():
            for name, count in _purge(tables, now, audit_retention_days).items():
                removed[name] = removed.get(name, 0) + count
        return removed

    async def store_time(self) -> float:
        """Return the time of the clock given."""
        return self._clock()

    async def prepare_audit(self, *, now: float) -> Mapping[str, int]:
        """Do nothing: memory has no months."""
        return {}


def _purge(tables: Tables, now: float, audit_retention_days: int) -> dict[str, int]:
    before = datetime.fromtimestamp(now - audit_retention_days * 24 * 3600, UTC)
    month = before.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
    counts = {
        "session": _drop(tables.sessions, lambda s: s.expires_at <= now),
        "authorization_code": _drop(tables.codes, lambda c: c.record.expires_at <= now - _CODES_SECONDS),
        "refresh_token": _drop(tables.refresh_tokens, lambda t: t.expires_at <= now),
        "opaque_token": _drop(tables.opaque_tokens, lambda t: t.expires_at <= now),
        "revoked_token": _drop(tables.revoked_tokens, lambda end: end <= now),
        "interaction": _drop(tables.interactions, lambda i: i.expires_at <= now),
        "assertion": _drop(tables.assertions, lambda end: end <= now),
        "audit_event": _drop(tables.events, lambda e: e.at < month),
        "throttle": _drop(tables.throttles, lambda f: f.last_failure_at <= now - _CODES_SECONDS),
    }
    counts["grant_record"] = _drop(tables.families, lambda f: f.expires_at <= now - _GRANTS_SECONDS)
    return counts


def _drop(rows: dict[_K, _V], is_over: Callable[[_V], bool]) -> int:
    over = [key for key, row in rows.items() if is_over(row)]
    for key in over:
        del rows[key]
    return len(over)
