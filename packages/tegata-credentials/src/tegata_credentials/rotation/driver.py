"""Runs a rotation from beginning to end where no Secrets Manager does: from a shell, or as a job.

The same four steps in the same order, with the same promises: a step may be repeated with the same token, an unfinished
rotation is resumed and not begun anew, and AWSCURRENT works at every moment (AWS Secrets Manager User Guide, "Rotation
by Lambda function").
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from tegata_credentials.errors import CredentialError, SecretError, SecretNotFound, SecretThrottled, SecretUnavailable
from tegata_credentials.observer import READ, NoObserver, Observer
from tegata_credentials.redaction import without_frames
from tegata_credentials.rotation.errors import NotYet, RotationBusy, RotationError, RotationRefused, TestFailed
from tegata_credentials.rotation.event import STEPS, Step
from tegata_credentials.rotation.ports import (
    CURRENT,
    PENDING,
    PREVIOUS,
    AnnouncingStore,
    ExclusiveStore,
    Labels,
    Strategy,
    Versions,
    VersionStore,
)
from tegata_credentials.versions import SecretVersion


class Steps(Protocol):
    """What the driver needs of `Rotation`."""

    def handle(self, event: Mapping[str, Any], /) -> object:
        """Do one step for `{"SecretId", "ClientRequestToken", "Step"}`."""

    def begin(self, secret: str, token: str, /) -> object:
        """Do createSecret for a token that the store has not seen: nobody but us has announced it."""

    def strategy(self, secret: str, /) -> Strategy:
        """Return how this secret is rotated. Raises `RotationRefused` if it may not be."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a rotation or a rollback; failures are raised as `RotationError`.

    "rotated": `token` is current. "waiting": a cache or a replica has to catch up; ask again with the same token, or
    with none, in `retry_after` seconds: `step` is where it waits and `reason` says for what. "returned": `token`, which
    was AWSPREVIOUS, is current again.

    Example:

        >>> Outcome("shop-dev-secret-jwt", "0b51", "waiting", step="testSecret", retry_after=60.0).is_finished
        False
    """

    secret: str
    token: str
    state: Literal["rotated", "waiting", "returned"]
    resumed: bool = False
    step: Step | None = None
    retry_after: float | None = None
    reason: str = ""

    @property
    def is_finished(self) -> bool:
        """Say whether nothing is left to do."""
        return self.state != "waiting"


@dataclass(frozen=True, slots=True)
class LabelStatus:
    """One label: where it is, for how long, and whether the value there works. None means that nobody knows.

    Example:

        >>> LabelStatus("AWSCURRENT", "0b51", age_seconds=3600.0, works=True, hint="").works
        True
    """

    label: str
    version: str
    age_seconds: float | None
    works: bool | None
    hint: str


@dataclass(frozen=True, slots=True)
class SecretStatus:
    """How a secret stands: what `tegata secrets status` prints.

    Example:

        >>> SecretStatus("shop-dev-secret-jwt", "shop-dev-secret-jwt", unfinished=None, labels=()).unfinished
    """

    secret: str
    name: str
    unfinished: str | None
    labels: tuple[LabelStatus, ...]


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a step is tried again, and for how long a cache or a replica is waited for; seconds.

    Example:

        >>> Patience(attempts=2, longest_wait=0).attempts
        2
    """

    attempts: int = 4
    first_pause: float = 0.5
    longest_pause: float = 15.0
    longest_wait: float = 0.0
    """How long `rotate` may wait altogether where a strategy says `NotYet`; beyond that the outcome is "waiting"."""


@dataclass(frozen=True, slots=True)
class RotationDriver:
    """Rotates secrets without Lambda, from a shell or as a job. Blocking.

    `exclusive`, and the store's own lock if it has one, are entered around each act, and raise `RotationBusy` if
    somebody else is at the same secret. Without any, two drivers still break nothing: one wins, and the other is told
    so at its next step.

    Example:

        >>> import tempfile
        >>> from tegata_credentials.rotation.file_store import FileVersions
        >>> from tegata_credentials.rotation.generic_token import GenericToken
        >>> from tegata_credentials.rotation.steps import Rotation
        >>> from tegata_credentials.token_state import HiddenText
        >>> store = FileVersions(tempfile.mkdtemp())
        >>> first = store.create("shop-dev-secret-mail", HiddenText("key-1"))
        >>> keys = GenericToken(make=lambda request: "key-2", check=lambda key: True)
        >>> driver = RotationDriver(store, Rotation(store, {"shop-dev-secret-mail": keys}))
        >>> driver.rotate("shop-dev-secret-mail").state
        'rotated'
        >>> [(label.label, label.works) for label in driver.status("shop-dev-secret-mail").labels]
        [('AWSCURRENT', True), ('AWSPREVIOUS', True)]
        >>> driver.rollback("shop-dev-secret-mail").token == first
        True
    """

    store: VersionStore
    rotation: Steps
    patience: Patience = Patience()
    exclusive: Callable[[str], AbstractContextManager[None]] | None = None
    observer: Observer = field(default_factory=NoObserver)
    pause: Callable[[float], None] = field(default=time.sleep, repr=False)
    now: Callable[[], float] = field(default=time.time, repr=False)
    new_token: Callable[[], str] = field(default=lambda: str(uuid.uuid4()), repr=False)

    def rotate(self, secret: str, token: str | None = None, *, anew: bool = False) -> Outcome:
        """Begin a rotation, or resume the unfinished one, and bring it as far as it goes.

        `token` (32 to 64 characters, e.g. the id of a job) makes it idempotent: a token that is or was current is
        "rotated", one that is pending is resumed, and any other while a rotation is unfinished is `RotationBusy`.
        `anew` gives up an unfinished rotation and begins another, for a pending value that can never work (a key that
        the provider has withdrawn); it is refused unless the current value works.

        Raises `RotationError`, whose `still_valid` says what works meanwhile, or `SecretError`.
        """
        strategy = self.rotation.strategy(secret)
        with self._alone(secret):
            labels = self.store.labels(secret)
            chosen = self._resumable(labels, token)
            if anew and labels.unfinished is not None:
                self._check_current(labels, strategy)
                chosen = None
            elif chosen is None and labels.unfinished is not None:
                raise RotationBusy(f"the rotation {labels.unfinished} is unfinished: resume that one first")
            if chosen is None and token in labels.versions:
                raise RotationRefused("this token has been used and given up: rotate with another one")
            if chosen is not None and labels.versions[chosen] & {CURRENT, PREVIOUS}:
                return Outcome(secret, chosen, "rotated", resumed=True)
            return self._run(secret, chosen or token or self.new_token(), resumed=chosen is not None)

    def status(self, secret: str, *, probe: bool = True) -> SecretStatus:
        """Return the labels, their ages as far as the store knows, and with `probe` whether each value works.

        Nothing is changed. A pending value that has not been applied yet does not work, and need not.
        """
        labels = self.store.labels(secret)
        shown = [CURRENT, PREVIOUS] if labels.unfinished is None else [CURRENT, PENDING, PREVIOUS]
        versions = _Tried(lambda: self._versions(labels)) if probe else None
        found = [self._standing(labels, label, versions) for label in shown if labels.holder(label) is not None]
        return SecretStatus(labels.secret, labels.name, labels.unfinished, tuple(found))

    def rollback(self, secret: str) -> Outcome:
        """Make AWSPREVIOUS current again, after the strategy has tried it; the two versions change their labels.

        Refused with `RotationBusy` while a rotation is unfinished that has a value: with alternating users that value
        has perhaps already replaced the previous one at the database. Finish it first, then go back if you still want.
        """
        strategy = self.rotation.strategy(secret)
        with self._alone(secret):
            labels = self.store.labels(secret)
            versions = self._versions(labels)
            if versions.pending is not None:
                raise RotationBusy(f"the rotation {labels.unfinished} is unfinished: finish it, then go back")
            if versions.previous is None:
                raise RotationRefused("no version is AWSPREVIOUS: there is nothing to go back to")
            target = versions.previous.version
            self._repeated(lambda: _asked(strategy.may_return_to, versions))
            self._repeated(lambda: self._return(labels.secret, target, versions.current.version))
            self.observer.audit("rotation.returned", secret=labels.secret, version=target)
            return Outcome(secret, target, "returned")

    @contextmanager
    def _alone(self, secret: str) -> Iterator[None]:
        with ExitStack() as entered:
            if self.exclusive is not None:
                entered.enter_context(self.exclusive(secret))
            if isinstance(self.store, ExclusiveStore):
                entered.enter_context(self.store.exclusively(secret))
            yield

    def _resumable(self, labels: Labels, token: str | None) -> str | None:
        """Return the token to go on with: the one that is unfinished, or one that needs nothing more."""
        if token is None or token == labels.unfinished:
            return labels.unfinished
        return token if labels.versions.get(token, frozenset()) & {CURRENT, PREVIOUS} else None

    def _check_current(self, labels: Labels, strategy: Strategy) -> None:
        versions = self._versions(labels)
        self._repeated(lambda: _asked(strategy.test, replace(versions, pending=versions.current)))

    def _run(self, secret: str, token: str, *, resumed: bool) -> Outcome:
        left = self.patience.longest_wait
        for step in STEPS:
            while (early := self._try(secret, token, step)) is not None:
                if early.retry_after > left:
                    return Outcome(secret, token, "waiting", resumed, step, early.retry_after, str(early))
                left -= early.retry_after
                self.pause(early.retry_after)
        return Outcome(secret, token, "rotated", resumed)

    def _try(self, secret: str, token: str, step: Step) -> NotYet | None:
        try:
            self._repeated(lambda: self._do(secret, token, step))
        except NotYet as error:
            return error.with_traceback(None)
        except RotationRefused:
            if self._is_displaced(secret, token, step):
                raise RotationBusy("another rotation of this secret has taken the place of this one") from None
            raise
        return None

    def _do(self, secret: str, token: str, step: Step) -> None:
        if step == "createSecret":
            if isinstance(self.store, AnnouncingStore) and self.store.labels(secret).unfinished is None:
                # Now, so that after a crash in the middle of it the same token is used again.
                self.store.announce(secret, token)
            self.rotation.begin(secret, token)
        else:
            self.rotation.handle({"SecretId": secret, "ClientRequestToken": token, "Step": step})

    def _is_displaced(self, secret: str, token: str, step: Step) -> bool:
        labels = self.store.labels(secret)
        stages = labels.versions.get(token, frozenset())
        begun = step != "createSecret" or token in labels.versions
        return labels.unfinished not in (None, token) or (begun and not stages & {PENDING, CURRENT})

    def _repeated(self, act: Callable[[], None]) -> None:
        for failures in range(self.patience.attempts):
            try:
                return act()
            except CredentialError as error:
                if failures + 1 == self.patience.attempts or not _may_pass(error):
                    raise
            pause = min(self.patience.longest_pause, self.patience.first_pause * 2.0**failures)
            self.pause(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads retries, protects nothing

    def _return(self, secret: str, target: str, replacing: str) -> None:
        try:
            self.store.promote(secret, target, replacing=replacing)
        except (SecretError, RotationBusy):
            # The answer may have been lost: what counts is where the label is.
            if self.store.labels(secret).holder(CURRENT) != target:
                raise

    def _versions(self, labels: Labels) -> Versions:
        current = self._read(labels, CURRENT)
        if current is None:
            raise RotationRefused("no version of the secret is current: there is nothing to go on from")
        pending = None if labels.unfinished is None else self._read(labels, PENDING)
        since = labels.moved_at.get(CURRENT)
        return Versions(
            labels.secret, labels.unfinished or current.version, current, self._read(labels, PREVIOUS), pending, since
        )

    def _read(self, labels: Labels, label: str) -> SecretVersion | None:
        version = labels.holder(label)
        if version is None:
            return None
        try:
            found = self.store.read(labels.secret, version=version)
        except SecretNotFound:
            return None
        self.observer.audit(READ, secret=labels.secret, version=version, stage=label)
        return found

    def _standing(self, labels: Labels, label: str, asked: _Tried | None) -> LabelStatus:
        since = labels.moved_at.get(label)
        works, hint = (None, "") if asked is None else self._probe(labels, label, asked)
        age = None if since is None else max(0.0, self.now() - since)
        return LabelStatus(label, labels.holder(label) or "", age, works, hint)

    def _probe(self, labels: Labels, label: str, asked: _Tried) -> tuple[bool | None, str]:
        try:
            strategy, versions = self.rotation.strategy(labels.secret), asked.versions()
            if label == PREVIOUS:
                _asked(strategy.may_return_to, versions)
            elif label == PENDING and versions.pending is None:
                return None, "it has no value yet"
            else:
                tried = versions.pending if label == PENDING else versions.current
                _asked(strategy.test, replace(versions, pending=tried))
        except TestFailed as error:
            return False, str(error)
        except CredentialError as error:
            return None, str(error)
        return True, ""


class _Tried:
    """What a status tries, read once for all labels: each read is an access that is told."""

    def __init__(self, read: Callable[[], Versions]) -> None:
        self._read = read
        self._found: Versions | None = None

    def versions(self) -> Versions:
        self._found = self._found or self._read()
        return self._found


def _asked(question: Callable[[Versions], None], versions: Versions) -> None:
    failure: CredentialError
    try:
        question(versions)
    except CredentialError as error:
        failure = without_frames(error)  # those of a strategy hold passwords
        failure.__context__ = None
    except Exception as error:  # noqa: BLE001 - a strategy of somebody else's: its text may hold a value
        failure = TestFailed(f"the strategy could not tell whether the value works: {type(error).__name__}")
    else:
        return
    raise failure from None


def _may_pass(error: CredentialError) -> bool:
    if isinstance(error, RotationError):
        return error.is_retryable and not isinstance(error, NotYet | RotationBusy)
    return isinstance(error, SecretThrottled | SecretUnavailable)
