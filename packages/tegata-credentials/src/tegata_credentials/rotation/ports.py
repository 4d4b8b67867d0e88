"""What rotation needs of the world: a store of versions, and a strategy that knows what the secret opens.

Nothing here imports AWS or a driver. The steps and their contract: AWS Secrets Manager User Guide, "Rotation by Lambda
function"; the same contract holds for every store. Three things a store may offer beyond the contract, and nobody
relies on: `Labels.moved_at`, from which whoever makes `Versions` fills `current_since` (always there if the store is
one that `DatesLabels`); `ExclusiveStore`, which lets one rotation at a time run; and `AnnouncingStore`, which remembers
a token before it has a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol, runtime_checkable

from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, PENDING, PREVIOUS, SecretVersion


@dataclass(frozen=True, slots=True)
class Labels:
    """Which versions of a secret there are, and the labels on each. `secret` is the ARN, or the store's full id.

    >>> labels = Labels("shop", "shop", {"v1": frozenset({CURRENT}), "v2": frozenset({PENDING})})
    >>> labels.holder(CURRENT), labels.unfinished
    ('v1', 'v2')
    """

    secret: str
    name: str
    versions: Mapping[str, frozenset[str]]
    moved_at: Mapping[str, float] = field(default_factory=dict)
    """When each label came to the version that carries it, in seconds since the epoch; only what the store knows."""

    def holder(self, stage: str) -> str | None:
        """Return the version that carries `stage`."""
        return next((version for version, stages in self.versions.items() if stage in stages), None)

    @property
    def unfinished(self) -> str | None:
        """Return the token of a rotation that has begun and not ended: AWSPENDING apart from AWSCURRENT.

        A version that is AWSPREVIOUS too has been current: it is left from a rollback, and nothing is to be resumed.
        """
        pending = self.holder(PENDING)
        return None if pending in (None, self.holder(CURRENT), self.holder(PREVIOUS)) else pending


class VersionStore(Protocol):
    """Keeps versions of secrets. Blocking. Raises `SecretError`s."""

    def labels(self, secret: str) -> Labels:
        """Return the versions and their labels, as they are at this moment."""

    def read(self, secret: str, *, stage: str | None = None, version: str | None = None) -> SecretVersion:
        """Return one version, by label or by name or by both (then both must agree). Raises `SecretNotFound`."""

    def put_pending(self, secret: str, token: str, text: HiddenText) -> None:
        """Keep `text` as version `token` with AWSPENDING. The same again changes nothing.

        Raises `RotationRefused` if `token` has another value: a version never changes.
        """

    def promote(self, secret: str, token: str, *, replacing: str) -> None:
        """Move AWSCURRENT from version `replacing` to `token`; AWSPREVIOUS goes to `replacing`.

        AWSPENDING leaves `replacing` before that, for after a rollback it would mean a rotation without an end; on
        `token`, now current, it says nothing and may stay. Raises `RotationBusy` if `replacing` is not the current one
        any more.
        """

    def close(self) -> None:
        """Give back what is held."""


@runtime_checkable
class ExclusiveStore(Protocol):
    """A store that can keep a second rotation of the same secret from running at the same time."""

    def exclusively(self, secret: str) -> AbstractContextManager[None]:
        """Enter as the only one, for as long as the context lasts. Raises `RotationBusy` at once if somebody is in."""


@runtime_checkable
class AnnouncingStore(Protocol):
    """A store that can remember that a rotation has begun before there is a value, as RotateSecret does."""

    def announce(self, secret: str, token: str) -> None:
        """Give AWSPENDING to `token`, which has no value yet. Raises `RotationBusy` while another is unfinished."""


@runtime_checkable
class DatesLabels(Protocol):
    """A store that knows since when each label is where it is, and always says so in `Labels.moved_at`."""

    dates_labels: ClassVar[Literal[True]]


def _unchecked() -> None:
    """Find nothing to object to."""


@dataclass(frozen=True, slots=True)
class Versions:
    """What a strategy works with in one step.

    >>> current = SecretVersion("shop", "v1", HiddenText("one"), frozenset({CURRENT}))
    >>> Versions("shop", "v2", current, previous=None, pending=None).current.version
    'v1'
    """

    secret: str
    token: str
    current: SecretVersion
    previous: SecretVersion | None
    pending: SecretVersion | None  # None in `create` only
    current_since: float | None = None  # when `current` became so, in seconds since the epoch, if the store knows
    recheck: Callable[[], None] = field(default=_unchecked, repr=False)
    """Asks the store again: raises `RotationRefused` if the token is not pending any more, `RotationBusy` if another
    version is current. A strategy that holds a lock calls it under the lock, before what it changes takes effect."""


class Strategy(Protocol):
    """What is particular to a kind of secret. Each method may be called again after a crash at any point in it."""

    def create(self, versions: Versions) -> HiddenText:
        """Return the next value. Called only while the token has none; must not change anything."""

    def apply(self, versions: Versions) -> None:
        """Make the pending value work where it is used, while the current one goes on working. Idempotent."""

    def test(self, versions: Versions) -> None:
        """Raise `TestFailed` unless the pending value works wherever it will be used, `NotYet` if it is too early."""

    def may_return_to(self, versions: Versions) -> None:
        """Raise `TestFailed` unless `versions.previous` still works, so that a rollback may make it current."""


__all__ = [
    "CURRENT",
    "PENDING",
    "PREVIOUS",
    "AnnouncingStore",
    "DatesLabels",
    "ExclusiveStore",
    "Labels",
    "Strategy",
    "VersionStore",
    "Versions",
]
