"""Decides when a token is good, when to look for another one, and which failure or rejection to believe.

No waiting and no I/O happens here; the async and the threaded source share these rules. Time is taken from two clocks:
the wall clock only to compare with what the token says of itself at the moment it arrives, both clocks for its age
afterwards. A wall clock that is wrong, or is set right later, therefore does not keep a dead token alive.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NoReturn

from tegata_credentials.errors import IdentityUnavailable


class HiddenText(str):
    """A credential: a text for drivers, a placeholder in every `repr`, and nothing that can be pickled.

    Error reports render the local variables of each frame with `repr`; in the frames of this package, of asyncpg and
    of SQLAlchemy they find this instead of the credential.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a credential is not pickled: it stays in the memory of one process")


class LoginPassword(HiddenText):
    """A password and the user it belongs to: with alternating users both change together.

    >>> password = LoginPassword("correct horse", user="app_a")
    >>> password, password.user, password == "correct horse"
    ('***', 'app_a', True)
    """

    __slots__ = ("user",)
    user: str

    def __new__(cls, password: str, *, user: str) -> LoginPassword:
        """Make one; `user` is the name of the login role."""
        made = super().__new__(cls, password)
        made.user = user
        return made


@dataclass(frozen=True, slots=True)
class Token:
    """A credential as a provider hands it over; `expires_at` is in seconds since the epoch, None if unknown."""

    value: str = field(repr=False)
    expires_at: float | None = None

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token is not pickled: it stays in the memory of one process")


@dataclass(frozen=True, slots=True)
class RefreshPolicy:
    """When a source looks for another token. All figures are seconds, except `margin_share`."""

    margin: float = 300.0
    """A token is renewed this long before its end, or at `margin_share` of its life, whichever is less."""
    margin_share: float = 0.2
    patience: float = 0.5
    """How long callers wait for a renewal while the old token still lives; counted once from its beginning."""
    fetch_timeout: float = 10.0
    """How long one fetch may take altogether."""
    failure_pause: float = 1.0
    """After a failure all callers get the same error for so long, without another fetch."""
    longest_pause: float = 30.0
    """While a token lives, the pause doubles with each failure up to this. It also bounds rejections, see `reject`."""
    unknown_life: float = 300.0
    """A credential that does not say when it ends is read again after so long, but is not held to be dead."""
    doubtful_life: float = 10.0
    """A new token that seems to be dead on arrival is used for so long: this clock may be wrong."""
    shortest_life: float = 1.0


class Standing(Enum):
    """How the token at hand is."""

    FRESH = "fresh"
    AGEING = "ageing"
    ABSENT = "absent"


@dataclass(slots=True)
class _Held:
    value: HiddenText
    refresh_after: float  # seconds of age
    dead_after: float
    wall: float
    ticks: float
    replaces_rejected: bool
    accepted: bool = False
    disappointing: bool = False


class TokenState:
    """The token at hand and the memory of failures. Safe to use from several threads."""

    def __init__(self, policy: RefreshPolicy, clock: Callable[[], float], ticks: Callable[[], float]) -> None:
        self._policy = policy
        self._clock = clock
        self._ticks = ticks
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self._generation = 0
        self._must_discard = False
        self._failure: tuple[IdentityUnavailable, float] | None = None
        self._failures = 0
        self._disappointments = 0

    def __repr__(self) -> str:
        return f"<TokenState {self.look()[0].value}>"

    def copy(self) -> TokenState:
        """Return the same state with a lock of its own, for a process forked from this one."""
        twin = TokenState(self._policy, self._clock, self._ticks)
        twin._held = self._held
        twin._must_discard = self._must_discard
        return twin

    def look(self) -> tuple[Standing, HiddenText | None]:
        """Return how the token is, and the token if it lives."""
        with self._lock:
            return self._look()

    def refusal(self) -> IdentityUnavailable | None:
        """Return the recent failure that forbids another fetch for now, if there is one."""
        with self._lock:
            if self._failure is None:
                return None
            error, at = self._failure
            pause = self._pause(1 if self._look()[1] is None else self._failures)
            return error.again() if self._ticks() < at + pause else None

    def begin(self) -> tuple[int, bool]:
        """Begin a fetch: return the generation to hand to `store`, and whether the provider must discard first."""
        with self._lock:
            return self._generation, self._must_discard

    def store(self, token: Token, generation: int) -> float | None:
        """Keep a new token, unless an older one has been rejected meanwhile. Return its life in seconds.

        The end is the earlier of what was announced and what the token itself says (`exp`, RFC 7519 §4.1.4, read
        without verification). Its whole life (`exp` minus `iat`) bounds what is left, which helps when this clock
        is behind; a token that seems dead although it is new is used for `doubtful_life`, which helps when this
        clock is ahead. In both cases the database has the last word.
        """
        with self._lock:
            if generation != self._generation:
                return None
            now, policy = self._clock(), self._policy
            life = remaining_life(token, now)
            if life is None:
                refresh, dead = policy.unknown_life, math.inf
            else:
                life = max(life, policy.shortest_life) if life > 0 else policy.doubtful_life
                refresh, dead = life - min(policy.margin, policy.margin_share * life), life
            replaces = self._must_discard or self._replaces(token.value)
            self._held = _Held(HiddenText(token.value), refresh, dead, now, self._ticks(), replaces)
            self._must_discard = False
            self._failure, self._failures = None, 0
            return life

    def fail(self, error: IdentityUnavailable, generation: int) -> None:
        """Remember that a fetch has failed."""
        with self._lock:
            if generation == self._generation:
                self._failure = error.again(), self._ticks()
                self._failures += 1

    def accept(self, value: str) -> None:
        """Remember that the database has let somebody in with `value`."""
        with self._lock:
            if self._held is not None and self._held.value == value:
                self._held.accepted = True
                self._disappointments = 0

    def reject(self, value: str) -> bool:
        """Drop the token if it is `value`. Return whether it was dropped.

        Of many rejections of one token the first drops it. A replacement that has never been accepted stays for a
        pause that doubles with each such disappointment: if the database refuses every token, the fault is elsewhere,
        and the identity endpoint is not asked at each login.
        """
        with self._lock:
            held = self._held
            if held is None or held.value != value:
                return False
            if held.replaces_rejected and not held.accepted:
                self._disappointments += not held.disappointing
                held.disappointing = True
                if self._age(held) < self._pause(self._disappointments):
                    return False
            self._held = None
            self._generation += 1
            self._must_discard = True
            self._failure, self._failures = None, 0
            return True

    def _pause(self, times: int) -> float:
        return min(self._policy.longest_pause, self._policy.failure_pause * 2.0 ** min(times - 1, 10))

    def _replaces(self, value: str) -> bool:
        # The same credential once more inherits the doubt about it.
        held = self._held
        return held is not None and held.value == value and held.replaces_rejected and not held.accepted

    def _age(self, held: _Held) -> float:
        # The wall clock alone may be set; the other one alone stands still while the machine sleeps.
        return max(self._ticks() - held.ticks, self._clock() - held.wall)

    def _look(self) -> tuple[Standing, HiddenText | None]:
        held = self._held
        if held is None or (age := self._age(held)) >= held.dead_after:
            return Standing.ABSENT, None
        return (Standing.FRESH if age < held.refresh_after else Standing.AGEING), held.value


def remaining_life(token: Token, now: float) -> float | None:
    """Return the seconds that a token just received has left; None if neither side says."""
    claims = unverified_claims(token.value)
    ends = claims.get("exp")
    bounds = [end - now for end in (token.expires_at, ends) if end is not None]
    if ends is not None and (begins := claims.get("iat")) is not None and ends > begins:
        bounds.append(ends - begins)
    return min(bounds) if bounds else None


def unverified_claims(value: str) -> dict[str, float]:
    """Return the times (`exp`, `iat`) that a JWT states, without trusting them; nothing for any other text."""
    parts = value.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims: Any = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return {}
    if not isinstance(claims, dict):
        return {}
    return {name: float(claims[name]) for name in ("exp", "iat") if _is_time(claims.get(name))}


def _is_time(claim: object) -> bool:
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        return False
    return math.isfinite(claim) if isinstance(claim, float) else abs(claim) < 2**53
