"""The port of what is done to rows whose time is over, in all tenants at once. Runs as the maintenance role."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tegata.storage.records import AUDIT_RETENTION_DAYS


class Retention(Protocol):
    """Deleting what has expired, and making room for what will come."""

    async def purge_expired(
        self,
        *,
        now: float,
        batch: int = 1000,
        audit_retention_days: int = AUDIT_RETENTION_DAYS,
        budget_seconds: float = 300.0,
    ) -> Mapping[str, int]:
        """Delete expired rows of every tenant; return rows by table.

        Audit events go by whole months (UTC), when so many days have passed since the month's end. What is left after
        `budget_seconds` waits for the next run; any number of runs at once, and one that is killed, do no harm.
        """
        ...

    async def store_time(self) -> float:
        """Return what time it is where the rows are kept, in seconds since the epoch."""
        ...

    async def prepare_audit(self, *, now: float) -> Mapping[str, int]:
        """Make room for the audit events of the months to come; return how the log stands."""
        ...
