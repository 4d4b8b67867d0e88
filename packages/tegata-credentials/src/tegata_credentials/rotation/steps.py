"""The four steps of a rotation over a store of versions and one strategy for each secret.

Who may rotate what, in which order the labels allow it, and what a repeated, late or doubled delivery does, is decided
here, once for all strategies. AWS Secrets Manager User Guide, "Rotation by Lambda function".
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tegata_credentials.errors import CredentialError, SecretError, SecretNotFound
from tegata_credentials.observer import CALLS, CountsRequests, NoObserver, Observer
from tegata_credentials.redaction import without_frames
from tegata_credentials.rotation.errors import NotYet, RotationBusy, RotationError, RotationRefused
from tegata_credentials.rotation.event import RotationEvent, Step
from tegata_credentials.rotation.ports import CURRENT, PENDING, PREVIOUS, Labels, Strategy, Versions, VersionStore
from tegata_credentials.versions import SecretVersion

# An ARN is the name, a hyphen and six characters that Secrets Manager adds.
_ARN = re.compile(r"(?P<plain>arn:[^:]+:secretsmanager:[^:]*:[^:]*:secret:(?P<name>.+))-[A-Za-z0-9]{6}", re.ASCII)
_DONE: Mapping[Step, str] = {
    "createSecret": "rotation.created",
    "setSecret": "rotation.applied",
    "testSecret": "rotation.tested",
    "finishSecret": "rotation.promoted",
}


@dataclass(frozen=True, slots=True)
class _Delivery:
    """One step for one token of one secret that may be rotated."""

    step: Step
    secret: str
    token: str
    strategy: Strategy
    labels: Labels


class Rotation:
    """Does the steps of rotations: each may be repeated, delivered twice or stopped anywhere, and nothing is lost.

    `strategies` is also the list of secrets that may be rotated: its keys are ARNs, with or without the six characters
    at the end, or names; an event for any other secret is refused before the store is asked for anything but labels.

    Example:

        >>> from tegata_credentials.testing.version_store import MemoryVersions
        >>> Rotation(MemoryVersions(), {}).handle({"SecretId": "db", "ClientRequestToken": "5f1c", "Step": "setSecret"})
        Traceback (most recent call last):
        tegata_credentials.rotation.errors.RotationRefused: this secret is not one of those that may be rotated here
    """

    def __init__(
        self,
        store: VersionStore,
        strategies: Mapping[str, Strategy],
        *,
        observer: Observer | None = None,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._strategies = dict(strategies)
        self._observer = observer or NoObserver()
        self._ticks = ticks

    def __repr__(self) -> str:
        return f"<Rotation of {len(self._strategies)} secrets>"

    def handle(self, event: Mapping[str, Any]) -> None:
        """Do what one event asks for. Raises `RotationError` or `SecretError`; neither holds a value, nor frames."""
        parsed = RotationEvent.parse(event)
        self._observed(parsed, announced=True)

    def begin(self, secret: str, token: str) -> None:
        """Do createSecret for a token that the store has not seen, where no Secrets Manager has announced it."""
        self._observed(RotationEvent(secret, token, "createSecret"), announced=False)

    def strategy(self, secret: str) -> Strategy:
        """Return how this secret is rotated. Raises `RotationRefused` if it may not be."""
        key = self._key(secret)
        if key is None:
            raise RotationRefused("this secret is not one of those that may be rotated here")
        return self._strategies[key]

    def _observed(self, event: RotationEvent, *, announced: bool) -> None:
        began, failure, happened = self._ticks(), None, False
        try:
            happened = self._do(event, announced=announced)
        except CredentialError as error:
            failure = without_frames(error)
            failure.__context__ = None  # its text is ours, and holds no value; nobody knows what a driver's holds
        except Exception as error:  # noqa: BLE001 - a strategy of somebody else's: its text may hold a value
            failure = RotationError(f"{event.step} failed: {type(error).__name__}")
        milliseconds = (self._ticks() - began) * 1000
        self._observer.metric("RotationStepDuration", milliseconds, "Milliseconds", step=event.step)
        if isinstance(self._store, CountsRequests) and (requests := self._store.take_requests()):
            self._observer.metric(CALLS, requests, step=event.step)
        if failure is not None:
            self._tell_failure(event, failure)
            raise failure from None
        if happened:
            self._observer.audit(_DONE[event.step], secret=event.secret, version=event.token)
        if happened and event.step == "finishSecret":
            self._observer.metric("RotationSucceeded")

    def _tell_failure(self, event: RotationEvent, failure: CredentialError) -> None:
        # To be early or second is a part of normal life: an alarm on RotationFailed must not ring for it.
        name = "RotationPostponed" if isinstance(failure, NotYet | RotationBusy) else "RotationFailed"
        kind = type(failure).__name__
        self._observer.metric(name, step=event.step, error=kind)
        self._observer.audit(
            "rotation.postponed" if name == "RotationPostponed" else "rotation.failed",
            **{"secret": event.secret, "version": event.token, "step": event.step, "error": kind},
        )

    def _do(self, event: RotationEvent, *, announced: bool) -> bool:
        """Do the step; return whether there was anything to do."""
        strategy, key = self.strategy(event.secret), self._key(event.secret) or ""
        # By our own name for it: a secret of the same name in another account or region would have our login shown to
        # the server that stands in it.
        labels = self._store.labels(key)
        if event.secret not in (key, labels.secret) or self._key(labels.secret) is None:
            # The beginning of an ARN can look like another ARN in full.
            raise RotationRefused("the store has found another secret than one of those that may be rotated here")
        stages = labels.versions.get(event.token)
        if stages is not None and CURRENT in stages:
            return False
        if stages is None and announced:
            raise RotationRefused("the secret has no version of this token: it has not been announced, or is given up")
        if stages is not None and PENDING not in stages:
            raise RotationRefused(f"the version of this token is not {PENDING}: this rotation has been given up")
        delivery = _Delivery(event.step, labels.secret, event.token, strategy, labels)
        if event.step == "createSecret":
            return self._create(delivery)
        versions = self._versions(delivery, self._pending(delivery))
        if event.step == "setSecret":
            strategy.apply(versions)
        elif event.step == "testSecret":
            strategy.test(versions)
        else:
            self._finish(delivery, versions)
        return True

    def _create(self, delivery: _Delivery) -> bool:
        if self._find(delivery) is not None:
            return False
        versions = self._versions(delivery, None)
        text = delivery.strategy.create(versions)
        # To make a value takes long enough for a rollback or another token. One made from a version that is current no
        # more may be of no use for ever (the wrong user's turn, a key that nobody knows), and would never be replaced.
        self._recheck(delivery, versions.current.version)
        try:
            self._store.put_pending(delivery.secret, delivery.token, text)
        except (SecretError, RotationRefused) as error:
            failure = without_frames(error)
        else:
            return True
        # The answer may have been lost, or a twin of this invocation was quicker: what counts is that there is a value.
        if self._find(delivery) is None:
            raise failure
        return True

    def _finish(self, delivery: _Delivery, versions: Versions) -> None:
        # Not what an earlier invocation has seen, but what is true now decides.
        delivery.strategy.test(versions)
        try:
            versions.recheck()
            self._store.promote(delivery.secret, delivery.token, replacing=versions.current.version)
        except (SecretError, RotationBusy) as error:
            failure = without_frames(error)
        else:
            return
        # The answer may have been lost, or a twin of this invocation was quicker: what counts is the label.
        if CURRENT not in self._store.labels(delivery.secret).versions.get(delivery.token, frozenset()):
            raise failure

    def _versions(self, delivery: _Delivery, pending: SecretVersion | None) -> Versions:
        secret, labels = delivery.secret, delivery.labels
        current, previous = labels.holder(CURRENT), labels.holder(PREVIOUS)
        if current is None:
            raise RotationRefused("no version of the secret is current: there is nothing to go on from")
        return Versions(
            secret=secret,
            token=delivery.token,
            current=self._store.read(secret, version=current),
            previous=None if previous is None else self._read_if_there(secret, previous),
            pending=pending,
            current_since=labels.moved_at.get(CURRENT),
            recheck=lambda: self._recheck(delivery, current),
        )

    def _recheck(self, delivery: _Delivery, current: str) -> None:
        labels = self._store.labels(delivery.secret)
        stages = labels.versions.get(delivery.token, frozenset())
        if CURRENT in stages:
            raise RotationBusy("another invocation has finished this rotation meanwhile")
        if PENDING not in stages and delivery.token in delivery.labels.versions:
            raise RotationRefused(f"the version of this token is not {PENDING} any more: this rotation is given up")
        if labels.holder(CURRENT) != current:
            raise RotationBusy("another version has become current meanwhile")

    def _pending(self, delivery: _Delivery) -> SecretVersion:
        pending = self._find(delivery)
        if pending is None:
            raise RotationRefused(f"{delivery.step} came before createSecret: the version has no value yet")
        return pending

    def _find(self, delivery: _Delivery) -> SecretVersion | None:
        return self._read_if_there(delivery.secret, delivery.token, PENDING)

    def _read_if_there(self, secret: str, version: str, stage: str | None = None) -> SecretVersion | None:
        try:
            return self._store.read(secret, version=version, stage=stage)
        except SecretNotFound:
            return None

    def _key(self, secret: str) -> str | None:
        found = _ARN.fullmatch(secret)
        names = (secret,) if found is None else (secret, found["plain"], found["name"])
        return next((name for name in names if name in self._strategies), None)
