"""Whether the database answers, for `/health/db`: `{"status", "database", "auth_method"}` with 200, or 503.

The answer says nothing else. Why the database does not answer goes to the log, as a SQLSTATE or the kind of error: an
exception's text would tell strangers about hosts, roles and versions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from tegata_credentials.errors import CredentialError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

Probe = Callable[[], Awaitable[object]]

log = logging.getLogger("tegata_credentials")


class DatabaseHealth:
    """Asks the database at most once at a time: callers that come meanwhile share the answer.

    So a flood of requests to the health address takes one connection of the pool, not all of them. `probe` makes one
    round trip, such as `lambda: pool.fetchval("select 1")` for an asyncpg pool; `probe_engine(engine)` makes one for
    SQLAlchemy.
    """

    def __init__(self, probe: Probe, *, auth_method: str, timeout_seconds: float = 5.0) -> None:
        self._probe = probe
        self._auth_method = auth_method
        self._timeout = timeout_seconds
        self._asking: asyncio.Task[str | None] | None = None

    async def check(self) -> tuple[int, dict[str, str]]:
        """Return the HTTP status and the body. Never raises, whatever the database does."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        # A caller that gives up must not take the answer away from the others.
        reason = await asyncio.shield(self._asking)
        if reason is None:
            return 200, {"status": "healthy", "database": "connected", "auth_method": self._auth_method}
        return 503, {"status": "unhealthy", "database": "disconnected", "auth_method": self._auth_method}

    async def _ask(self) -> str | None:
        probe = asyncio.create_task(self._run())
        try:
            # Waiting looks at the outcome without raising it.
            done, _ = await asyncio.wait({probe}, timeout=self._timeout)
        finally:
            probe.cancel()
        if not done:
            await asyncio.wait({probe}, timeout=1.0)  # lets the driver close what it was doing
        reason = _reason(probe)
        if reason is not None:
            facts = {"reason": reason, "auth_method": self._auth_method}
            log.warning("database health check failed: %(reason)s", facts, extra=facts)
        return reason

    async def _run(self) -> object:
        return await self._probe()


def probe_engine(engine: AsyncEngine) -> Probe:
    """Make a probe of a SQLAlchemy engine."""
    from sqlalchemy import text

    async def probe() -> object:
        async with engine.connect() as connection:
            return await connection.scalar(text("select 1"))

    return probe


def describe_error(error: BaseException) -> str:
    """Return the SQLSTATE of an error of any of the drivers, below SQLAlchemy too, else its kind; never its text."""
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            break
        sqlstate = getattr(seen, "sqlstate", None)
        if isinstance(sqlstate, str) and sqlstate:
            return sqlstate
        reason = getattr(seen, "reason", None)
        if isinstance(reason, str) and isinstance(seen, CredentialError):
            return reason
        seen = getattr(seen, "orig", None) or seen.__cause__
    return type(error).__name__


def _reason(probe: asyncio.Task[object]) -> str | None:
    """Why the probe did not succeed; None if it did."""
    if not probe.done() or probe.cancelled():
        return "timeout"
    error = probe.exception()
    return None if error is None else describe_error(error)
