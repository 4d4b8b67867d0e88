"""One rotation after the other: what is due, what is unfinished, and what each came to, in words for an operator.

Nothing is kept here: the labels of the store say what is current since when, and what has been begun. So any number may
run this at any time, and one that was killed is continued by the next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

from tegata.cli.rotation.documents import RotatedSecret
from tegata.cli.rotation.stores import Stores
from tegata_credentials.errors import CredentialError, SecretNotFound, SecretThrottled, SecretUnavailable
from tegata_credentials.rotation.driver import Outcome, RotationDriver
from tegata_credentials.rotation.errors import (
    DatabaseConnectionError,
    NotYet,
    PasswordUpdateError,
    RotationBusy,
    RotationError,
    TestFailed,
)
from tegata_credentials.rotation.plans import AlternatingUsersPlan, GenericTokenPlan, PlanError, SingleUserPlan
from tegata_credentials.rotation.ports import Labels
from tegata_credentials.versions import CURRENT, PREVIOUS

Act = Literal["rotate", "rollback"]
State = Literal["rotated", "returned", "not_due", "waiting", "failed", "misconfigured", "needs_a_person"]
_PASSES = (SecretThrottled, SecretUnavailable)
# What a strategy raises of these after the change says so itself.
_BEFORE_THE_CHANGE = (DatabaseConnectionError, PasswordUpdateError, TestFailed)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one secret. `reason` says why it waits or failed, `still_valid` what works all the same, if that
    is known, and `cure` what else may have to be done first."""

    name: str
    state: State
    version: str | None = None
    resumed: bool = False
    retry_after: float | None = None
    reason: str = ""
    still_valid: str = ""
    cure: str = ""
    act: Act = "rotate"

    @property
    def is_busy(self) -> bool:
        """Whether somebody else is at it at this moment: nobody can say for how long."""
        return self.state == "waiting" and self.retry_after is None


@dataclass(frozen=True, slots=True)
class Due:
    """Since when a value is current (None: nobody knows), when it has to go (None: never by itself), and the token of
    a rotation that is unfinished."""

    since: float | None
    at: float | None
    unfinished: str | None

    def is_due(self, now: float) -> bool:
        """Whether there is something to do."""
        return self.unfinished is not None or (self.at is not None and self.at <= now)


@runtime_checkable
class DatedStore(Protocol):
    """A store that does not know when a label was moved, but when a version was made."""

    def made_at(self, secret: str, version: str) -> float | None:
        """Return that, in seconds since the epoch. Raises `SecretError`."""


class Stopping(RotationError):
    """This process ends; whoever comes next goes on."""


def pause_until(stopping: threading.Event) -> Callable[[float], None]:
    """Return a pause that ends with `Stopping` as soon as the process is to end."""

    def pause(seconds: float) -> None:
        if stopping.wait(seconds):
            raise Stopping("this process ends; the next run goes on")

    return pause


def due(stores: Stores, secret: RotatedSecret) -> Due:
    """Ask the store. Raises `SecretError`, `CommandFailure`."""
    store, name = stores.store_of(secret)
    labels = store.labels(name)
    since = labels.moved_at.get(CURRENT)
    current = labels.holder(CURRENT)
    if since is None and current is not None and isinstance(store, DatedStore):
        since = store.made_at(name, current)
    at = since + secret.plan.every.total_seconds() if since is not None and secret.by_age else None
    return Due(since, at, labels.unfinished)


def rotate_due(
    stores: Stores, secrets: Iterable[RotatedSecret], now: Callable[[], float], stopping: threading.Event
) -> Iterator[Result]:
    """Rotate what is due and finish what was begun, one secret after the other; none holds up another."""
    for secret in secrets:
        if stopping.is_set():
            return
        yield rotate_if_due(stores, secret, now)


def rotate_if_due(stores: Stores, secret: RotatedSecret, now: Callable[[], float]) -> Result:
    """Rotate one secret if it is time."""
    try:
        found = due(stores, secret)
        if not found.is_due(now()):
            return Result(secret.name, "not_due")
    except CredentialError as error:
        return _failed(secret, error, None)
    return attempt(stores, secret, lambda driver, name: _rotate(driver, name, found.unfinished))


def _rotate(driver: RotationDriver, name: str, unfinished: str | None) -> Outcome:
    """Finish what was found unfinished, or begin. Whoever else is at the same secret meanwhile is no failure.

    With its token: what somebody has finished since then is finished, and no reason to begin another rotation.
    """
    try:
        return driver.rotate(name, unfinished)
    except RotationBusy as busy:
        return Outcome(name, unfinished or "", "waiting", reason=str(busy))


def roll_back(stores: Stores, secret: RotatedSecret) -> Result:
    """Make the previous value current again. Raises `CommandFailure`."""
    result = attempt(stores, secret, lambda driver, name: driver.rollback(name), "rollback")
    return replace(result, state="failed") if result.state == "waiting" else result


def attempt(
    stores: Stores, secret: RotatedSecret, do: Callable[[RotationDriver, str], Outcome], act: Act = "rotate"
) -> Result:
    """Do something with the driver of a secret, and tell what came of it. Raises `CommandFailure`."""
    before: Labels | None = None
    try:
        store, name = stores.store_of(secret)
        before = store.labels(name)
        outcome = do(stores.driver_of(secret)[0], name)
    except CredentialError as error:
        return _failed(secret, error, before, act)
    return Result(
        secret.name,
        outcome.state,
        outcome.token,
        outcome.resumed,
        outcome.retry_after,
        outcome.reason,
        _still_valid(secret, None, before) if outcome.state == "waiting" else "",
    )


def is_misconfigured(error: CredentialError) -> bool:
    """Whether only somebody who installs something, or corrects a document, can help."""
    # The kit says so in one form of words, of a store as well, whose errors have only a few classes.
    return isinstance(error, PlanError) or "is not installed: install `" in str(error)


def _failed(secret: RotatedSecret, error: CredentialError, before: Labels | None, act: Act = "rotate") -> Result:
    told = Result(
        secret.name,
        "needs_a_person",
        reason=str(error),
        still_valid=_still_valid(secret, error, before),
        cure=_cure(secret, error, before, act),
        act=act,
    )
    if isinstance(error, NotYet):
        return replace(told, state="waiting", retry_after=error.retry_after)
    if is_misconfigured(error):
        return replace(told, state="misconfigured")
    if isinstance(error, RotationError):
        passes = error.is_retryable and not (act == "rollback" and isinstance(error, TestFailed))
    else:
        passes = isinstance(error, _PASSES)
    return replace(told, state="failed") if passes else told


def _cure(secret: RotatedSecret, error: CredentialError, before: Labels | None, act: Act) -> str:
    """Return what has to be done first, where that is known."""
    if before is None:
        # Of the secret itself nothing was found: later it may be another one that is missing.
        return cure_of_absence(secret) if isinstance(error, SecretNotFound) else ""
    if act == "rollback" and before.unfinished is not None and isinstance(error, RotationBusy):
        return f"`tegata secrets rotate {secret.name}` finishes what is unfinished; then roll back, if you still want."
    return ""


def cure_of_absence(secret: RotatedSecret) -> str:
    """Return how a secret is made that never was."""
    if secret.reference.scheme != "file":
        return "if there never was one, make it with the tools of its store"
    at = " --at ADDRESS-OF-THE-DATABASE" if isinstance(secret.plan, AlternatingUsersPlan) else ""
    typed = " < FILE-WITH-THE-VALUE" if isinstance(secret.plan, GenericTokenPlan | SingleUserPlan) else ""
    return f"if there never was one: `tegata secrets create {secret.name}{at}{typed}` makes it"


def _still_valid(secret: RotatedSecret, error: CredentialError | None, before: Labels | None) -> str:
    """Return what works all the same, as far as it is known; `before` are the labels as they were found."""
    usual = RotationError.still_valid
    if isinstance(error, RotationError) and error.still_valid != usual:
        return error.still_valid
    if before is None or before.holder(CURRENT) is None:
        return ""
    if before.holder(PREVIOUS) is None and isinstance(secret.plan, AlternatingUsersPlan):
        return ""  # the first value is perhaps the one that `create` makes, whose password is nobody's
    # A single user's current value is refused from the change of its password until the rotation has ended.
    is_before_the_change = before.unfinished is None and isinstance(error, _BEFORE_THE_CHANGE)
    return "" if isinstance(secret.plan, SingleUserPlan) and not is_before_the_change else usual
