"""Runs a rotation from beginning to end where no Secrets Manager does: from a shell, or as a job.

The same four steps in the same order, with the same promises: a step may be repeated with the same token, an unfinished
rotation is resumed and not begun anew, and AWSCURRENT works at every moment (AWS Secrets Manager User Guide, "Rotation
by Lambda function").
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from tegata_credentials.rotation.ports import (
    ExclusiveStore,
    Strategy,
    VersionStore,
)

Step = Literal["createSecret", "setSecret", "testSecret", "finishSecret"]
STEPS: tuple[Step, ...] = ("createSecret", "setSecret", "testSecret", "finishSecret")


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
    """Rotates secrets without Lambda: `RotationDriver(store, rotation).rotate("shop-prod-secret-jwt")`.

    `exclusive` is entered around each act and raises `RotationBusy` if somebody else is at the same secret; without it
    the store's own lock is used if it has one. Without any, two drivers still break nothing: one wins, the other is
    told so at its next step.
    """

    store: VersionStore
    rotation: Steps
    patience: Patience = Patience()
    exclusive: Callable[[str], AbstractContextManager[None]] | None = None
    pause: Callable[[float], None] = field(default=time.sleep, repr=False)
    now: Callable[[], float] = field(default=time.time, repr=False)
    new_token: Callable[[], str] = field(default=lambda: str(uuid.uuid4()), repr=False)

    def rotate(self, secret: str, token: str | None = None, *, anew: bool = False) -> Outcome:
        """Begin a rotation, or resume the unfinished one, and bring it as far as it goes.

        `token` (32 to 64 characters, e.g. the id of a job) makes it idempotent: a token that is current already is
        "rotated", one that is pending is resumed, and any other while a rotation is unfinished is `RotationBusy`.
        `anew` gives up an unfinished rotation and begins another, for a pending value that can never work (a key that
        the provider has withdrawn); it is refused unless the current value works.

        Raises `RotationError`, whose `still_valid` says what works meanwhile, or `SecretError`.
        """
        with self._alone(secret):
            raise NotImplementedError

    def status(self, secret: str, *, probe: bool = True) -> SecretStatus:
        """Return the labels, their ages as far as the store knows, and with `probe` whether each value works."""
        raise NotImplementedError

    def rollback(self, secret: str) -> Outcome:
        """Make AWSPREVIOUS current again, after the strategy has tried it; the two versions change their labels.

        Refused with `RotationBusy` while a rotation is unfinished: with alternating users the pending value has
        perhaps already replaced the previous one at the database. Finish it first, then go back if you still want to.
        """
        raise NotImplementedError

    def _alone(self, secret: str) -> AbstractContextManager[None]:
        if self.exclusive is not None:
            return self.exclusive(secret)
        return self.store.exclusively(secret) if isinstance(self.store, ExclusiveStore) else nullcontext()
