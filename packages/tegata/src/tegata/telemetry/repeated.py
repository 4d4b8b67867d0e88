"""Events that anybody can cause without a credential: few rows and little memory, however often they happen."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import uuid_utils

from tegata.identifiers import TenantId
from tegata.storage.records import AuditEvent

WINDOW_SECONDS = 60.0

_Key = tuple[TenantId, str, str | None, str | None, str | None]


@dataclass(slots=True)
class _Window:
    since: float
    latest: AuditEvent
    more: int = 0


class Repeated:
    """The first event of a kind passes; those of the next minute become one, with their `count`.

    A kind is tenant, type, reason, client and address. Beyond `max_kinds` of them addresses and clients are no longer
    told apart: who has many addresses fills neither memory nor table.
    """

    def __init__(self, clock: Callable[[], float], *, max_kinds: int = 1000) -> None:
        self._clock = clock
        self._max_kinds = max_kinds
        self._windows: OrderedDict[_Key, _Window] = OrderedDict()  # oldest first

    def take(self, tenant_id: TenantId, event: AuditEvent) -> AuditEvent | None:
        """Return the event if it is the first of its kind, else count it."""
        key: _Key = (tenant_id, event.type, event.reason, event.client_id, event.address)
        if key not in self._windows and len(self._windows) >= self._max_kinds:
            event = replace(event, client_id=None, actor=None, address=None)
            key = (tenant_id, event.type, event.reason, None, None)
        window = self._windows.get(key)
        if window is None:
            self._windows[key] = _Window(self._clock(), event)
            return event
        window.latest = event
        window.more += 1
        return None

    def ended(self, *, every: bool = False) -> Iterator[tuple[TenantId, AuditEvent]]:
        """Yield what was counted in the windows that have ended (`every`: in all)."""
        oldest = self._clock() - WINDOW_SECONDS
        while self._windows:
            key, window = next(iter(self._windows.items()))
            if not every and window.since > oldest:
                return
            del self._windows[key]
            if window.more:
                details = {**window.latest.details, "count": window.more}
                yield key[0], replace(window.latest, event_id=str(uuid_utils.uuid7()), details=details)
