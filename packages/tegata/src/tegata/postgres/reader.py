"""One hot standby: asked only behind a fence, not at all for a while after it failed, and counted either way.

The fence is asked for, and the rows are read, in one transaction on one connection: a reader's host name may stand for
several servers. Read committed, so that the rows are seen as of after the answer about the fence, not before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import asyncpg
import structlog

from tegata.identifiers import TenantId
from tegata.postgres.engine import Database, Pool, PoolLimits
from tegata.postgres.fence import Fence, position_of
from tegata.postgres.reader_breaker import Breaker
from tegata.postgres.target import ConnectionTarget
from tegata.postgres.tenancy import tenant_readonly
from tegata.storage.errors import StorageError

_log = structlog.get_logger("tegata.postgres.reader")
_T = TypeVar("_T")
Read = Callable[[asyncpg.Connection], Awaitable[_T]]

# Why a marked read went to the writer although there is a reader.
FALLBACKS = (
    "behind",  # has not replayed what the fence asks for
    "unreachable",  # no connection
    "slow",  # no answer in time to how far it is
    "failed",  # broke off, or refused the read itself (a conflict with recovery, a query that took too long)
    "busy",  # all connections are in use
    "paused",  # not asked, because it has just failed
    "not_a_standby",
    "no_position",
    "another_cluster",
    "another_timeline",
    "unbound_role",
    "no_fence",  # the writer names no position: it is a standby itself, or Aurora
)
# To be connected and to say how far it is. What the read itself may take is the statement timeout's.
_PATIENCE_SECONDS = 3.0
_CONNECT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ReaderUse:
    """What became of marked reads so far: answered by the reader, or by the writer for a reason."""

    reads: int
    fallbacks: dict[str, int]


@dataclass(frozen=True, slots=True)
class Answer(Generic[_T]):
    """What a read on the reader returned, which may be None."""

    value: _T


class Reader:
    """One replica: its connections, whether it is worth asking, and what became of asking.

    Only `attempt` sends anything to it, and only the marked reads call that (`tegata.postgres.reader_reads`).
    """

    def __init__(
        self,
        target: ConnectionTarget,
        limits: PoolLimits,
        *,
        breaker: Breaker | None = None,
        patience_seconds: float = _PATIENCE_SECONDS,
        connect_seconds: float = _CONNECT_SECONDS,
        changed: Callable[[str | None], None] | None = None,
    ) -> None:
        """`changed` is told why the reader is left alone from now on, and None once it answers again."""
        self._limits = replace(limits, connect_seconds=min(limits.connect_seconds, connect_seconds))
        self._database = Database(target, self._limits)
        self.breaker = breaker or Breaker()
        self._patience = patience_seconds
        self._changed = changed or _log_change
        self._reads = 0
        self._fallbacks = dict.fromkeys(FALLBACKS, 0)

    @property
    def pool(self) -> Pool:
        """Its connections, for metrics."""
        return self._database.pool

    @property
    def use(self) -> ReaderUse:
        """What became of marked reads so far."""
        return ReaderUse(self._reads, dict(self._fallbacks))

    def fell_back(self, reason: str) -> None:
        """Count a marked read that goes to the writer."""
        self._fallbacks[reason] += 1

    async def attempt(self, fence: Fence, tenant_id: TenantId, read: Read[_T]) -> Answer[_T] | None:
        """Read on the reader; None, counted, if the writer has to be asked."""
        if self.pool.busy_connections >= self.pool.size:
            outcome: Answer[_T] | str = "busy"
        elif not self.breaker.may_try():
            outcome = "paused"
        else:
            outcome = await self._ask(fence, tenant_id, read)
            self._learn(outcome)
        if isinstance(outcome, Answer):
            self._reads += 1
            return outcome
        self.fell_back(outcome)
        return None

    async def _ask(self, fence: Fence, tenant_id: TenantId, read: Read[_T]) -> Answer[_T] | str:
        phase = "unreachable"
        try:
            async with asyncio.timeout(self._patience) as patience, tenant_readonly(self._database, tenant_id) as found:
                phase = "failed"
                refusal = fence.refusal(await position_of(found))
                if refusal is not None:
                    return refusal
                patience.reschedule(None)
                return Answer(await read(found))
        except TimeoutError:
            return "slow"
        except (StorageError, asyncpg.PostgresError):
            return phase

    def _learn(self, outcome: Answer[_T] | str) -> None:
        """A reader that is merely behind is well, and asked again at once. What begins or ends is told."""
        was_paused = self.breaker.is_open
        if isinstance(outcome, Answer) or outcome == "behind":
            self.breaker.succeeded()
            if was_paused:
                self._changed(None)
        else:
            self.breaker.failed()
            if not was_paused:
                self._changed(outcome)

    async def close(self) -> None:
        """Close its connections."""
        await self._database.close()


def _log_change(reason: str | None) -> None:
    if reason is None:
        _log.info("reader_used_again")
    else:
        _log.warning("reader_not_used", reason=reason)
