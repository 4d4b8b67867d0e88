"""What rotation needs of the world: a store of versions, and a strategy that knows what the secret opens.

Nothing here imports AWS or a driver. The steps and their contract: AWS Secrets Manager User Guide, "Rotation by Lambda
function"; the same contract holds for every store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, PENDING, PREVIOUS, SecretVersion


@dataclass(frozen=True, slots=True)
class Labels:
    """Which versions of a secret there are, and the labels on each. `secret` is the ARN, or the store's full id."""

    secret: str
    name: str
    versions: Mapping[str, frozenset[str]]

    def holder(self, stage: str) -> str | None:
        """Return the version that carries `stage`."""
        return next((version for version, stages in self.versions.items() if stage in stages), None)

    @property
    def unfinished(self) -> str | None:
        """Return the token of a rotation that has begun and not ended: AWSPENDING apart from AWSCURRENT."""
        pending = self.holder(PENDING)
        return None if pending is None or pending == self.holder(CURRENT) else pending


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

        Raises `RotationBusy` if `replacing` is not the current one any more.
        """

    def close(self) -> None:
        """Give back what is held."""


@dataclass(frozen=True, slots=True)
class Versions:
    """What a strategy works with in one step."""

    secret: str
    token: str
    current: SecretVersion
    previous: SecretVersion | None
    pending: SecretVersion | None  # None in `create` only


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


__all__ = ["CURRENT", "PENDING", "PREVIOUS", "Labels", "Strategy", "VersionStore", "Versions"]
