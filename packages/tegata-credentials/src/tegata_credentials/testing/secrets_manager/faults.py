"""What the proxy does wrong on demand, to which call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .calls import Call

LONGEST_SILENCE = 60.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Secrets Manager answers with an error of its own and does nothing.

    >>> THROTTLED.status, THROTTLED.code
    (400, 'ThrottlingException')
    """

    name: str
    status: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer for `seconds`, then the connection is cut; `is_applied` says whether the call was done before.

    >>> Silence(30).name
    'silence'
    """

    seconds: float = LONGEST_SILENCE
    is_applied: bool = False
    name: str = "silence"


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection is cut instead of an answer: after the call was done (a lost response), or before.

    >>> LOST_RESPONSE.is_applied, CUT_BEFORE.is_applied
    (True, False)
    """

    name: str
    is_applied: bool


@dataclass(frozen=True, slots=True)
class Delay:
    """The call is done and answered `seconds` later than it could have been.

    >>> Delay(0.05).name
    'delay'
    """

    seconds: float
    name: str = "delay"


@dataclass(frozen=True, slots=True)
class Duplicated:
    """The request arrives twice; the client sees the answer to the second, as after a retry of which it knows nothing.

    >>> DUPLICATED.name
    'duplicated'
    """

    name: str = "duplicated"


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """Something else happens at this very moment: before the call is done, or `is_after` it but before the answer.

    `act` runs in a thread of the proxy. If it raises, the connection is cut. It may itself call the stand-in.

    >>> seen = []
    >>> Meanwhile(seen.append).act(Call("PutSecretValue"))
    >>> seen[0].operation
    'PutSecretValue'
    """

    act: Callable[[Call], object]
    is_after: bool = False
    name: str = "meanwhile"


@dataclass(frozen=True, slots=True)
class PartlyRefused:
    """BatchGetSecretValue answers, with these ids under `Errors` instead of among the values.

    >>> PartlyRefused({"acme-prod-secret-database": ACCESS_DENIED}).name
    'partly_refused'
    """

    entries: Mapping[str, Refusal]
    name: str = "partly_refused"


Fault = Refusal | PartlyRefused | Silence | Cut | Delay | Duplicated | Meanwhile

THROTTLED = Refusal("throttled", 400, "ThrottlingException", "Rate exceeded")
INTERNAL_ERROR = Refusal("internal_error", 500, "InternalServiceError", "An error occurred on the server side.")
UNAVAILABLE = Refusal("unavailable", 503, "ServiceUnavailable", "The service is temporarily unavailable.")
ACCESS_DENIED = Refusal(
    "access_denied", 400, "AccessDeniedException", "User is not authorized to perform this operation on the resource"
)
DECRYPTION_FAILED = Refusal(
    "decryption_failed", 400, "DecryptionFailure", "Secrets Manager can't decrypt the protected secret text."
)
LOST_RESPONSE = Cut("lost_response", is_applied=True)
CUT_BEFORE = Cut("cut_before", is_applied=False)
DUPLICATED = Duplicated()


@dataclass(slots=True)
class _Rule:
    operation: str
    fault: Fault
    secret: str | None
    principal: str | None
    first: int
    times: int | None
    seen: int = field(default=0)

    def concerns(self, call: Call) -> bool:
        return call.concerns(self.operation, self.secret, self.principal)

    def strikes(self) -> bool:
        """Count one more call; say whether it is one of those that are meant."""
        self.seen += 1
        return self.seen >= self.first and (self.times is None or self.seen < self.first + self.times)

    @property
    def is_over(self) -> bool:
        return self.times is not None and self.seen >= self.first + self.times - 1


class FaultPlan:
    """Which calls go wrong, and how. Each method takes `secret` and `principal` to mean only their calls.

    >>> faults = FaultPlan()
    >>> faults.next("GetSecretValue", THROTTLED, times=3)       # the next three
    >>> faults.at("PutSecretValue", 2, LOST_RESPONSE)           # the second from now on
    >>> faults.always("GetSecretValue", ACCESS_DENIED, secret="acme-prod-secret-database")
    >>> put = Call("PutSecretValue", ("s",))
    >>> faults.take(put), faults.take(put).name, faults.take(put)
    (None, 'lost_response', None)
    >>> faults.take(Call("GetSecretValue", ("s",))).name, faults.remaining
    ('throttled', 1)

    `*` as operation means each. Calls are counted as they arrive, so the retries of an SDK count as well. One call has
    one fault: `at` goes before `next`, `next` before `always`, and of one kind the one that was said first.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at: list[_Rule] = []
        self._next: list[_Rule] = []
        self._always: list[_Rule] = []

    def next(
        self, operation: str, fault: Fault, *, times: int = 1, secret: str | None = None, principal: str | None = None
    ) -> None:
        """Let the next `times` calls go wrong; several of these follow one another."""
        with self._lock:
            self._next.append(_Rule(operation, fault, secret, principal, 1, times))

    def at(
        self, operation: str, number: int, fault: Fault, *, secret: str | None = None, principal: str | None = None
    ) -> None:
        """Let the call with this number go wrong, counted from one and from now on."""
        with self._lock:
            self._at.append(_Rule(operation, fault, secret, principal, number, 1))

    def always(self, operation: str, fault: Fault, *, secret: str | None = None, principal: str | None = None) -> None:
        """Let every call go wrong until `clear()`."""
        with self._lock:
            self._always.append(_Rule(operation, fault, secret, principal, 1, None))

    def clear(self) -> None:
        """Be honest again."""
        with self._lock:
            self._at, self._next, self._always = [], [], []

    @property
    def remaining(self) -> int:
        """Return how many rules of `next` and `at` have not struck as often as they were told to."""
        with self._lock:
            return len(self._at) + len(self._next)

    def take(self, call: Call) -> Fault | None:
        """Return what is to be done to this call, and count it."""
        with self._lock:
            struck = [rule.fault for rule in self._at if rule.concerns(call) and rule.strikes()]
            if not struck:
                queued = [rule for rule in self._next if rule.concerns(call)][:1]
                struck = [rule.fault for rule in queued if rule.strikes()]
            if not struck:
                struck = [rule.fault for rule in self._always if rule.concerns(call)]
            self._at = [rule for rule in self._at if not rule.is_over]
            self._next = [rule for rule in self._next if not rule.is_over]
        return struck[0] if struck else None
