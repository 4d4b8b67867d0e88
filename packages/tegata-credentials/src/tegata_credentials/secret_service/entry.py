"""The rules of the cache for one secret: what may be given out, when to ask again, what a refusal changes.

Nothing here waits, reads or takes the time: moments and random shares are arguments. An entry never changes; each rule
returns another one, so that readers need no lock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, NamedTuple

from tegata_credentials.errors import SecretAccessDenied, SecretError, SecretMalformed, SecretNotFound
from tegata_credentials.secret_service.policy import CachePolicy
from tegata_credentials.versions import SecretVersion

FINAL = (SecretNotFound, SecretAccessDenied, SecretMalformed)
"""The store has answered, and the answer is no: what was read before is not given out any more."""


class Moment(NamedTuple):
    """A point in time on two clocks: the one alone may be set, the other alone stands still in a sleeping machine.

    >>> Moment(ticks=10.0, wall=1000.0).age(Moment(ticks=11.0, wall=1060.0))
    60.0
    """

    ticks: float
    wall: float

    def age(self, now: Moment) -> float:
        """Return the seconds since then, by the clock that says more."""
        return max(now.ticks - self.ticks, now.wall - self.wall)

    def after(self, seconds: float) -> Moment:
        """Return the moment so much later."""
        return Moment(self.ticks + seconds, self.wall + seconds)


LONG_AGO = Moment(-math.inf, -math.inf)


class Standing(Enum):
    """What may be done with an entry at a moment.

    >>> Entry().standing(Moment(0.0, 0.0), CachePolicy())
    <Standing.ABSENT: 'absent'>
    """

    FRESH = "fresh"  # give it out
    AGEING = "ageing"  # give it out and read it again in the background
    STALE = "stale"  # read it again, and give it out if that does not work
    ABSENT = "absent"  # there is nothing to give out


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one secret.

    `quiet` is the moment up to which a reader need not think at all: the hot path compares with it and nothing else.
    `models` keeps what was made of this version, by model.

    >>> from tegata_credentials.token_state import HiddenText
    >>> now, policy = Moment(0.0, 0.0), CachePolicy()
    >>> entry = Entry().landed(SecretVersion("mail", "v1", HiddenText("{}")), 0, now, policy, share=0.0)
    >>> [entry.standing(now.after(seconds), policy).value for seconds in (0, 240, 300, 86_400)]
    ['fresh', 'ageing', 'stale', 'absent']
    >>> entry.doubted("v0", now, policy) is entry, entry.doubted("v1", now, policy).standing(now, policy).value
    (True, 'absent')
    """

    version: SecretVersion | None = None
    read_at: Moment = LONG_AGO
    life: float = 0.0
    quiet: Moment = LONG_AGO
    models: dict[type, Any] = field(default_factory=dict, repr=False)  # of models that may show what they hold
    is_doubted: bool = False
    """Somebody has said that the version does not work; it is not given out until the store has confirmed it."""
    generation: int = 0
    """Grows with each doubt: a fetch that began before says nothing about the version doubted since."""
    confirmations: int = 0
    """How often in a row the store has confirmed a doubted version."""
    confirmed_at: Moment = LONG_AGO
    error: SecretError | None = None
    failed_at: Moment = LONG_AGO
    pause: float = 0.0
    failures: int = 0
    last_seen: str | None = None
    """The version that was known last, also when it is not given out any more: a change is told once."""

    def standing(self, now: Moment, policy: CachePolicy) -> Standing:
        """Say what may be done with the version."""
        if self.version is None or self.is_doubted:
            return Standing.ABSENT
        age = self.read_at.age(now)
        if age < self.life * policy.refresh_at:
            return Standing.FRESH
        if age < self.life:
            return Standing.AGEING
        return Standing.STALE if age < max(policy.max_stale, self.life) else Standing.ABSENT

    def refusal(self, now: Moment) -> SecretError | None:
        """Return the recent failure that forbids another fetch for now."""
        if self.error is None or self.failed_at.age(now) >= self.pause:
            return None
        return self.error

    def departed(self, now: Moment, policy: CachePolicy) -> Entry:
        """A fetch has begun: while the value is within its life, nobody needs to think until it should have ended."""
        if self.standing(now, policy) is not Standing.AGEING:
            return self
        rest = self.life - self.read_at.age(now)
        return replace(self, quiet=now.after(min(rest, policy.fetch_timeout)))

    def landed(
        self, version: SecretVersion, generation: int, asked: Moment, policy: CachePolicy, share: float
    ) -> Entry:
        """A fetch has brought a version. `share` in [0, 1) is the part of the jitter that is taken.

        Its age counts from the moment when it was asked for (RFC 9111 §4.2.3 has the same for HTTP): a process may
        stand still for an hour between the answer and this.
        """
        is_same = self.version is not None and self.version.version == version.version
        if is_same and self.is_doubted and generation != self.generation:
            return replace(self, error=None, failures=0)  # it began before the doubt
        life = policy.ttl * (1 - policy.jitter * share)
        confirmed = is_same and self.is_doubted
        return Entry(
            version=version,
            read_at=asked,
            life=life,
            quiet=asked.after(life * policy.refresh_at),
            models=self.models if self.version == version else {},
            generation=self.generation,
            confirmations=self.confirmations + confirmed if is_same else 0,
            confirmed_at=asked if confirmed else self.confirmed_at,
            last_seen=version.version,
        )

    def failed(self, error: SecretError, now: Moment, policy: CachePolicy, share: float) -> Entry:
        """A fetch has failed. What may still be given out then, `FINAL` decides."""
        failures = self.failures + 1
        pause = min(policy.longest_pause, policy.failure_pause(error, failures) * (1 + policy.jitter * share))
        is_final = isinstance(error, FINAL)
        kept = replace(
            self,
            version=None if is_final else self.version,
            models={} if is_final else self.models,
            quiet=LONG_AGO,
            error=error.again(),
            failed_at=now,
            pause=pause,
            failures=failures,
        )
        if kept.standing(now, policy) not in (Standing.FRESH, Standing.AGEING):
            return kept
        return replace(kept, quiet=now.after(min(pause, self.life - self.read_at.age(now))))

    def doubted(self, refused: str | None, now: Moment, policy: CachePolicy) -> Entry:
        """Somebody says that version `refused` does not work, or with None that it should be read again anyway.

        Of many who say it the first is heard. When the store confirms the version, the next doubt has an effect only
        after a pause that doubles: if the fault is elsewhere, the store is not asked at each refused login.
        """
        if self.version is None or self.is_doubted:
            return self
        if refused is not None and (refused != self.version.version or self.recheck_in(now, policy) > 0):
            return self
        return self._in_doubt()

    def insisted(self, since: float, now: Moment, policy: CachePolicy) -> Entry:
        """Somebody who was refused has waited since then (ticks): what was known before is no answer, also no failure.

        What the store has said meanwhile is, or a moment ago: so a crowd that waits asks once.
        """
        looked = max(self.read_at, self.failed_at)
        if looked.ticks > since or looked.age(now) < policy.first_recheck:
            return self
        if self.version is None or self.is_doubted:
            return replace(self, error=None, pause=0.0)
        return self._in_doubt()

    def _in_doubt(self) -> Entry:
        return replace(
            self, is_doubted=True, generation=self.generation + 1, quiet=LONG_AGO, error=None, pause=0.0, failures=0
        )

    def recheck_in(self, now: Moment, policy: CachePolicy) -> float:
        """Return in how many seconds a doubt about a confirmed version is heard again."""
        if not self.confirmations:
            return 0.0
        return max(0.0, policy.recheck_pause(self.confirmations) - self.confirmed_at.age(now))

    def accepted(self, version: str) -> Entry:
        """A login with this version has succeeded: earlier doubts were about something else."""
        if self.confirmations and self.version is not None and self.version.version == version:
            return replace(self, confirmations=0)
        return self

    def inherited(self, now: Moment, policy: CachePolicy, share: float) -> Entry:
        """A process has been forked: its fetches are its own, and it does not ask in step with its siblings."""
        life = self.life * (1 - policy.jitter * share)
        kept = replace(self, life=life, quiet=LONG_AGO)
        if kept.standing(now, policy) is not Standing.FRESH:
            return kept
        return replace(kept, quiet=self.read_at.after(life * policy.refresh_at))
