"""Rotating signing keys by age, for all tenants: what is due, and only when its successor is known to everybody.

Any number may run at once, at any time: a run that comes late rotates once, one that comes early does nothing, and of
two that find the same key one rotates it. The state is the keys themselves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, get_args

from tegata.flows.admin.key_times import KEPT_SECONDS, MOST_PUBLISHED_KEYS, KeySchedule
from tegata.flows.admin.keys import (
    KeyMaker,
    check_any_opens,
    complete,
    drop_unneeded,
    every_tenant,
    opens_all,
    rotate_one,
    tenant_named,
)
from tegata.protocol.policy import SigningAlgorithm
from tegata.storage.errors import Conflict
from tegata.storage.ports import OperatorStorage
from tegata.storage.records import SigningKeyRecord, TenantRecord

_DAY_SECONDS = 24 * 3600

Outcome = Literal["rotated", "lost", "waiting", "full", "sealed", "not_due", "never"]


@dataclass(frozen=True, slots=True)
class ScheduledKey:
    """What became of one algorithm of one tenant, and when there is something to do next (None: never).

    - `rotated`: `active` signs now
    - `lost`: somebody else rotated at the same moment; nothing was done twice
    - `waiting`: it is due, but its successor has not been published for long enough
    - `full`: it is due, but ten keys are published and the oldest is still needed
    - `sealed`: it is due, but the master key does not open the successor; a person is needed
    - `not_due`, `never`: nothing to do
    """

    tenant: str
    algorithm: SigningAlgorithm
    outcome: Outcome
    active: str
    due_at: float | None

    @property
    def needs_a_person(self) -> bool:
        """Whether it will not come right by itself in time."""
        return self.outcome in {"full", "sealed"}


@dataclass(frozen=True, slots=True)
class ScheduleReport:
    """What one run did."""

    keys: tuple[ScheduledKey, ...]
    dropped: int

    def count(self, outcome: Outcome) -> int:
        """Return how many keys ended so."""
        return sum(key.outcome == outcome for key in self.keys)

    @property
    def next_due_at(self) -> float | None:
        """When there is something to do next."""
        return min((key.due_at for key in self.keys if key.due_at is not None), default=None)


async def rotate_due(
    storage: OperatorStorage, maker: KeyMaker, schedule: KeySchedule, tenant: str | None = None
) -> ScheduleReport:
    """Rotate what is due, and drop previous keys that nothing valid needs. Raises `NoSuchTenant`, `SealBroken`."""
    await check_any_opens(storage, maker.envelope)
    keys: list[ScheduledKey] = []
    dropped = 0
    async for record in _records(storage, tenant):
        dropped += await _drop(storage, maker, record)
        for algorithm in get_args(SigningAlgorithm):
            told = await _Turn(storage, maker, schedule, record, algorithm).take()
            keys += [] if told is None else [told]
    return ScheduleReport(tuple(keys), dropped)


async def _records(storage: OperatorStorage, tenant: str | None) -> AsyncIterator[TenantRecord]:
    if tenant is not None:
        yield await tenant_named(storage, tenant)
        return
    async for record in every_tenant(storage):
        yield record


async def _drop(storage: OperatorStorage, maker: KeyMaker, record: TenantRecord) -> int:
    if all(key.state != "previous" for key in await storage.signing_keys(record.tenant_id)):
        return 0
    return await drop_unneeded(storage, record, now=maker.now())


@dataclass(frozen=True, slots=True)
class _Turn:
    """One algorithm of one tenant."""

    storage: OperatorStorage
    maker: KeyMaker
    schedule: KeySchedule
    record: TenantRecord
    algorithm: SigningAlgorithm

    async def take(self) -> ScheduledKey | None:
        # Somebody else may be at the same at this moment: what counts is what is there afterwards.
        with suppress(Conflict):
            await complete(self.storage, self.maker, self.record.tenant_id, self.algorithm)
        every = await self.storage.signing_keys(self.record.tenant_id)
        own = {key.state: key for key in every if key.algorithm == self.algorithm}
        if not {"active", "next"} <= own.keys():
            return None  # the tenant has just been deleted
        active, following = own["active"], own["next"]
        now, due = self.maker.now(), self._due(active)
        known = following.created_at + self.schedule.published_seconds
        if due is None:
            return self._told("never", active.kid, None)
        if now < due:
            return self._told("not_due", active.kid, max(due, known))
        if now < known:
            return self._told("waiting", active.kid, known)
        if len(every) >= MOST_PUBLISHED_KEYS:
            return self._told("full", active.kid, _room_at(every))
        if not opens_all(self.maker.envelope, self.record.tenant_id, [following]):
            # Its turn would end this tenant's tokens.
            return self._told("sealed", active.kid, None)
        return await self._rotate(active)

    async def _rotate(self, active: SigningKeyRecord) -> ScheduledKey:
        done = await rotate_one(
            self.storage,
            self.maker,
            self.record,
            self.algorithm,
            published_seconds=self.schedule.published_seconds,
            replacing=active.kid,
        )
        longest = max(self.schedule.days * _DAY_SECONDS, self.schedule.published_seconds)
        return self._told(done.outcome, done.active, self.maker.now() + longest)

    def _due(self, active: SigningKeyRecord) -> float | None:
        return None if not self.schedule.days else active.state_changed_at + self.schedule.days * _DAY_SECONDS

    def _told(self, outcome: Outcome, active: str, due_at: float | None) -> ScheduledKey:
        return ScheduledKey(self.record.name, self.algorithm, outcome, active, due_at)


def _room_at(every: Sequence[SigningKeyRecord]) -> float:
    return min(key.state_changed_at for key in every if key.state == "previous") + KEPT_SECONDS
