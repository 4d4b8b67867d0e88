"""The cache: who fetches, who waits, and what everybody is told. The rules themselves stand in `entry`.

One lock guards the change of an entry and of the flight beside it; nothing is read, waited for or called under it. Who
finds a fresh entry takes no lock. Fetches run in threads of their own (`workers`), so that neither an event loop nor a
cancelled caller holds one up.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress

from tegata_credentials.errors import CredentialError, SecretError, SecretNotFound, SecretThrottled, SecretUnavailable
from tegata_credentials.observer import Observer
from tegata_credentials.secret_service.entry import Entry, Standing
from tegata_credentials.secret_service.flights import Flight, Pause, Steps, Wait
from tegata_credentials.secret_service.policy import CachePolicy
from tegata_credentials.secret_service.reports import Callback, Reports
from tegata_credentials.secret_service.slot import Reading, Slot
from tegata_credentials.secret_service.timing import Timing
from tegata_credentials.secret_service.workers import Workers
from tegata_credentials.sources import SecretSource
from tegata_credentials.telling import tell
from tegata_credentials.versions import CURRENT, PENDING, SecretVersion

ROUNDS = 5
"""How often a reader looks again when what it waited for has been refused by somebody else meanwhile."""


class SecretCache:
    """Keeps the versions of secrets. Read through `SecretService`.

    >>> from tegata_credentials.observer import NoObserver
    >>> from tegata_credentials.secret_service import SecretsInMemory
    >>> from tegata_credentials.secret_service.flights import drive
    >>> cache = SecretCache(SecretsInMemory({"mail": {}}), CachePolicy(), NoObserver(), Timing())
    >>> drive(cache.read(cache.slot("mail")), print).version.version
    'v1'
    >>> cache.doubt(cache.slot("mail"), "v0"), cache.doubt(cache.slot("mail"), "v1")
    (False, True)
    """

    def __init__(self, source: SecretSource, policy: CachePolicy, observer: Observer, timing: Timing) -> None:
        self.policy = policy
        self.timing = timing
        self._source = source
        self._reports = Reports(source, observer)
        self._slots: dict[tuple[str, str], Slot] = {}
        self._callbacks: tuple[Callback, ...] = ()
        self._is_closed = False
        self._start()
        if hasattr(os, "register_at_fork"):
            restart = weakref.WeakMethod(self._restart)
            os.register_at_fork(after_in_child=lambda: (call := restart()) and call())

    def _start(self) -> None:
        policy, ticks = self.policy, self.timing.ticks
        self._lock = threading.Lock()
        self._workers = Workers(policy.threads, slow_after=policy.slow_after, ticks=ticks, name="tegata-secrets")
        self._tellers = Workers(1, slow_after=float("inf"), ticks=ticks, name="tegata-secrets-changed")

    def _restart(self) -> None:
        """Begin anew in a forked process, where the threads are gone and locks may be held by nobody."""
        self._start()
        self._reports.restart()
        now = self.timing.now()
        for slot in self._slots.values():
            slot.flight = None
            slot.entry = slot.entry.inherited(now, self.policy, self.timing.share())

    def slot(self, secret: str, stage: str = CURRENT) -> Slot:
        """Return the place of a secret; it is made when it is first asked for."""
        found = self._slots.get((secret, stage))
        return found or self._slots.setdefault((secret, stage), Slot(secret, stage))

    def read(self, slot: Slot) -> Steps[Reading]:
        """Return a version that may be used now. Raises a `SecretError` of the caller's own."""
        since = self.timing.ticks()
        for _ in range(ROUNDS):
            now, entry = self.timing.now(), slot.entry
            standing = entry.standing(now, self.policy)
            if standing is Standing.AGEING:
                self._depart([slot])
            if standing in (Standing.FRESH, Standing.AGEING) and entry.version is not None:
                next(slot.hits)
                return Reading(entry, entry.version, slot.stage, False)
            self._depart([slot])
            flight = slot.flight
            if flight is not None:
                yield from self._await(flight, standing)
            if (found := self._outcome(slot, flight, since)) is not None:
                return found
        raise SecretUnavailable(slot.secret, "each version was refused before it could be used")

    def _await(self, flight: Flight, standing: Standing) -> Steps[None]:
        patience = self.policy.patience if standing is Standing.STALE else self.policy.fetch_timeout
        unseen = self.policy.fetch_timeout + self.policy.slow_after
        while not flight.is_landed:
            now = self.timing.ticks()
            if (rest := flight.waited_from(now, unseen) + patience - now) <= 0:
                return
            yield Wait(flight, min(rest, self.policy.slow_after))
            with suppress(RuntimeError):
                self._workers.look_after_slow_ones()

    def _outcome(self, slot: Slot, flight: Flight | None, since: float) -> Reading | None:
        """Say what a reader gets who came at `since` and has waited enough, or None if it should look again."""
        now, entry = self.timing.now(), slot.entry
        error = flight.error if flight is not None else entry.refusal(now)
        if entry.version is not None and not entry.is_doubted:
            standing = entry.standing(now, self.policy)
            was_asked_before = flight is not None and flight.is_landed and flight.error is None
            if standing in (Standing.FRESH, Standing.AGEING) or entry.read_at.ticks >= since:
                return Reading(entry, entry.version, slot.stage, False)
            if standing is Standing.STALE and not was_asked_before:
                next(slot.stale)
                return Reading(entry, entry.version, slot.stage, True)
        if flight is not None and not flight.is_landed:
            raise SecretUnavailable(slot.secret, f"no answer within {self.policy.fetch_timeout:g} s")
        if error is not None:
            raise error.again()
        return None

    def read_many(self, slots: Sequence[Slot]) -> Steps[dict[str, Reading | SecretError]]:
        """Return what can be had of each, asking the store once for all that are missing."""
        now = self.timing.now()
        self._depart([s for s in slots if s.entry.standing(now, self.policy) is not Standing.FRESH])
        found: dict[str, Reading | SecretError] = {}
        for slot in slots:
            try:
                found[slot.secret] = yield from self.read(slot)
            except SecretError as error:
                found[slot.secret] = error.again()
        return found

    def seek(self, slot: Slot, refused: set[str], *, budget: float, allow_pending: bool) -> Steps[Reading]:
        """Return a version that is not among those refused, waiting `budget` seconds for one.

        AWSCURRENT is read again at once, then ever more seldom, together with everybody who waits for it; a store that
        is throttled or away is asked again like that too. The last look is at the end of the budget, whatever was known
        before. With `allow_pending` AWSPENDING is the last resort. If there is nothing else, returns the refused
        version that the store says is the current one. Raises a `SecretError` when the store does not say.
        """
        spent, is_last = 0.0, False
        began = waits_since = self.timing.ticks()
        while True:
            for version in refused:
                self.doubt(slot, version)
            if is_last:
                self._insist(slot, waits_since)
            found, failure = yield from self._attempt(slot)
            if found is not None and found.version.version not in refused:
                return found
            rest = budget - max(spent, self.timing.ticks() - began)
            if is_last or rest <= 0:
                break
            pause = max(self._pause_of(slot.entry if found is None else found.entry), self.policy.first_recheck)
            is_last, waits_since = pause > rest, self.timing.ticks()
            yield Pause(min(pause, rest))
            spent += pause
        if found is None:
            assert failure is not None
            raise failure
        if allow_pending:
            waiting = self.slot(slot.secret, PENDING)
            self._insist(waiting, began)
            with suppress(SecretNotFound):
                pending = yield from self.read(waiting)
                if pending.version.version not in refused:
                    return pending
        return found

    def _insist(self, slot: Slot, since: float) -> None:
        """Have a secret read again for somebody who has waited since then, if nobody has looked meanwhile."""
        with self._lock:
            slot.entry = slot.entry.insisted(since, self.timing.now(), self.policy)

    def _attempt(self, slot: Slot) -> Steps[tuple[Reading | None, SecretError | None]]:
        """Read, or return the failure if it is one that may pass while somebody waits."""
        try:
            return (yield from self.read(slot)), None
        except (SecretThrottled, SecretUnavailable) as error:
            return None, error.again()

    def _pause_of(self, entry: Entry) -> float:
        """Return in how many seconds another look can show anything new."""
        now = self.timing.now()
        if entry.refusal(now) is not None:
            return entry.pause - entry.failed_at.age(now)
        return entry.recheck_in(now, self.policy)

    def doubt(self, slot: Slot, refused: str | None) -> bool:
        """Have the secret read again if `refused` is the version at hand (None: whichever it is)."""
        with self._lock:
            before = slot.entry
            slot.entry = before.doubted(refused, self.timing.now(), self.policy)
            return slot.entry is not before

    def accept(self, slot: Slot, version: str) -> None:
        """Note that a login with this version has succeeded."""
        if slot.entry.confirmations:
            with self._lock:
                slot.entry = slot.entry.accepted(version)

    def on_change(self, callback: Callback) -> Callable[[], None]:
        """Have `callback` called with each further version; returns what ends that."""
        with self._lock:
            self._callbacks += (callback,)

        def stop() -> None:
            with self._lock:
                self._callbacks = tuple(kept for kept in self._callbacks if kept is not callback)

        return stop

    def close(self) -> None:
        """Forget everything; reads fail from now on. A fetch under way ends by itself."""
        with self._lock:
            self._is_closed = True
            slots, self._slots = list(self._slots.values()), {}
        for slot in slots:
            self._reports.reads(slot)
            slot.entry = Entry()
        self._source.close()

    def _depart(self, slots: Sequence[Slot]) -> None:
        """Begin to fetch those for which there is no fetch yet and no recent failure."""
        now = self.timing.now()
        boarding: list[tuple[Slot, Flight]] = []
        with self._lock:
            for slot in slots:
                if self._is_closed:
                    raise SecretUnavailable(slot.secret, "the service is closed")
                entry = slot.entry
                is_needless = entry.standing(now, self.policy) is Standing.FRESH or entry.refusal(now) is not None
                if slot.flight is None and not is_needless:
                    slot.flight = Flight(entry.generation, now)
                    slot.entry = entry.departed(now, self.policy)
                    boarding.append((slot, slot.flight))
        if len(boarding) == 1:
            self._board(*boarding[0])
        elif boarding:
            self._submit(lambda: self._fly_together(boarding), boarding)

    def _board(self, slot: Slot, flight: Flight) -> None:
        self._submit(lambda: self._fly(slot, flight), [(slot, flight)])

    def _submit(self, job: Callable[[], None], boarding: list[tuple[Slot, Flight]]) -> None:
        try:
            self._workers.submit(job)
        except RuntimeError:
            for slot, flight in boarding:
                outcome = SecretUnavailable(slot.secret, "no thread could be started")
                self._land(slot, flight, outcome)
                self._reports.fetched(None, [(slot, outcome)])

    def _fly(self, slot: Slot, flight: Flight) -> None:
        began = self.timing.ticks()
        outcome: SecretVersion | SecretError = SecretUnavailable(slot.secret, "the source failed")
        try:
            outcome = self._fetch(slot)
        finally:
            self._land(slot, flight, outcome)
        took = self.timing.ticks() - began
        tell(lambda: self._reports.fetched(took, [(slot, outcome)]))

    def _fetch(self, slot: Slot) -> SecretVersion | SecretError:
        try:
            return self._source.fetch(slot.secret, stage=slot.stage)
        except SecretError as error:
            return error.again()
        except CredentialError as error:  # what was asked for is no secret's name: it may be a value, by mistake
            return SecretNotFound("(not a name)", str(error))
        except Exception as error:  # noqa: BLE001 - of an unknown source; its text may hold anything, also a value
            return SecretUnavailable(slot.secret, type(error).__name__)

    def _fly_together(self, boarding: list[tuple[Slot, Flight]]) -> None:
        began = self.timing.ticks()
        found: dict[str, SecretVersion | SecretError] = {}
        try:
            found = self._fetch_many([slot.secret for slot, _ in boarding])
        finally:
            for slot, flight in boarding:
                if (outcome := found.get(slot.secret)) is None:
                    self._board(slot, flight)  # one by one: the store may not allow the other call
                else:
                    self._land(slot, flight, outcome)
        took = self.timing.ticks() - began
        told = [(slot, found[slot.secret]) for slot, _ in boarding if slot.secret in found]
        tell(lambda: self._reports.fetched(took, told))

    def _fetch_many(self, secrets: list[str]) -> dict[str, SecretVersion | SecretError]:
        try:
            answers = self._source.fetch_many(secrets)
            return {name: a.again() if isinstance(a, SecretError) else a for name, a in answers.items()}
        except (SecretThrottled, SecretUnavailable) as error:
            return {secret: type(error)(secret, error.hint) for secret in secrets}
        except Exception:  # noqa: BLE001 - whatever it is, each is asked for alone and says what is wrong with it
            return {}

    def _land(self, slot: Slot, flight: Flight, outcome: SecretVersion | SecretError) -> None:
        now = self.timing.now()
        with self._lock:
            before = slot.entry
            if slot.flight is not flight or self._is_closed:
                flight.error = SecretUnavailable(slot.secret, "the service is closed")
            elif isinstance(outcome, SecretError):
                flight.error = outcome
                slot.entry = before.failed(outcome, now, self.policy, self.timing.share())
            else:
                slot.entry = before.landed(outcome, flight.generation, flight.started, self.policy, self.timing.share())
                self._tell_change(slot, before, outcome)
            slot.flight = None
        flight.land()

    def _tell_change(self, slot: Slot, before: Entry, version: SecretVersion) -> None:
        if slot.stage != CURRENT or before.last_seen in (None, version.version):
            return
        with suppress(RuntimeError):  # of a program that is ending
            self._tellers.submit(lambda: tell(lambda: self._reports.changed(slot, before, version, self._callbacks)))
