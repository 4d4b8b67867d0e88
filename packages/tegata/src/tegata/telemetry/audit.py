"""Security events: how they are made, and the queue for those that belong to no transaction.

An event is built from an allow-list of fields, so no secret can slip in (pitfalls P61). Events of an act that writes
are written with it; events of stateless acts (client_credentials with a JWT, refusals) are batched here.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import structlog
import uuid_utils

from tegata.identifiers import TenantId
from tegata.storage.errors import Conflict, Unavailable
from tegata.storage.ports import AuditLog
from tegata.storage.records import AuditEvent
from tegata.telemetry.repeated import Repeated

_log = structlog.get_logger("tegata.audit")

_Waiting = tuple[TenantId, AuditEvent]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from."""

    address: str | None
    request_id: str


def event(
    type_: str,
    *,
    now: float,
    origin: Origin | None,
    outcome: Literal["success", "failure"] = "success",
    actor: str | None = None,
    client_id: str | None = None,
    reason: str | None = None,
    details: Mapping[str, str | int] | None = None,
) -> AuditEvent:
    """Build one event."""
    return AuditEvent(
        event_id=str(uuid_utils.uuid7()),
        at=now,
        type=type_,
        outcome=outcome,
        actor=actor,
        client_id=client_id,
        reason=reason,
        address=origin.address if origin is not None else None,
        details=details or {},
    )


class AuditQueue:
    """Writes batched events in the background; bounded, flushed on shutdown, and it tells what it had to drop.

    A crash loses at most the last `interval_seconds` of these events, and of repeated refusals the count of the
    running minute; that is the price of acts that write nothing.
    """

    def __init__(
        self,
        log: AuditLog,
        *,
        interval_seconds: float = 0.5,
        capacity: int = 50_000,
        batch: int = 500,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log = log
        self._interval = interval_seconds
        self._capacity = capacity
        self._batch = batch
        self._waiting: deque[_Waiting] = deque()
        self._repeated = Repeated(clock)
        self._dropped = 0
        self._flushing = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, tenant_id: TenantId, audit_event: AuditEvent) -> None:
        """Queue an event; never waits. A full queue drops the event and counts it."""
        if len(self._waiting) >= self._capacity:
            self._dropped += 1
            return
        self._waiting.append((tenant_id, audit_event))

    def add_repeatable(self, tenant_id: TenantId, audit_event: AuditEvent) -> None:
        """Queue an event that anybody can cause without a credential: once, then one a minute with a count."""
        self._add_counted()
        first = self._repeated.take(tenant_id, audit_event)
        if first is not None:
            self.add(tenant_id, first)

    def _add_counted(self, *, every: bool = False) -> None:
        for tenant_id, counted in self._repeated.ended(every=every):
            self.add(tenant_id, counted)

    def start(self) -> None:
        """Begin to write in the background of the running event loop."""
        self._stopping.clear()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Write what is left and end.

        A batch that is being written is waited for: were it cancelled, nobody could tell whether it was kept.
        """
        if self._task is not None:
            self._stopping.set()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._add_counted(every=True)
        await self.flush()

    async def flush(self) -> None:
        """Write everything that waits; what cannot be written now stays in the queue."""
        self._add_counted()
        async with self._flushing:
            while self._waiting:
                batch = list(islice(self._waiting, self._batch))
                error = await self._write(batch)
                if error is None:
                    self._forget(len(batch))
                elif isinstance(error, Unavailable) or not await self._write_singly(batch):
                    _log.warning("audit_not_written", waiting=len(self._waiting), error=type(error).__name__)
                    return
            if self._dropped:
                _log.error("audit_events_dropped", count=self._dropped)
                self._dropped = 0

    async def _write(self, events: Sequence[_Waiting]) -> BaseException | None:
        """Write, and return what went wrong: the queue has no caller to tell, and it has to go on."""
        (error,) = await asyncio.gather(self._log.write_events(events), return_exceptions=True)
        return error

    async def _write_singly(self, batch: Sequence[_Waiting]) -> bool:
        """Write a refused batch event by event, so that one bad event holds up no other.

        `Conflict` is about the event: its tenant is gone, or an earlier write of it was kept and only the answer lost.
        Anything else may be the store's own fault: if it meets every event, all of them go on waiting, and False
        is returned.
        """
        refused: list[tuple[AuditEvent, BaseException]] = []
        done = faults = 0
        for waiting in batch:
            error = await self._write([waiting])
            if isinstance(error, Unavailable):
                break
            if error is not None:
                refused.append((waiting[1], error))
                faults += not isinstance(error, Conflict)
            done += 1
        if faults == done:
            return False
        self._forget(done)
        for lost, error in refused:
            _log.error("audit_event_refused", id=lost.event_id, type=lost.type, error=type(error).__name__)
        return True

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self._waiting.popleft()

    async def _run(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._stopping.wait()
            await self.flush()
