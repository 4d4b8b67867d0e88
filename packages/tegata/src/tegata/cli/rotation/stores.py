"""Where secrets that are rotated are kept, and how each kind is rotated: from plans to the kit's driver."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tegata.cli.failures import USAGE, CommandFailure
from tegata.cli.rotation.documents import RotatedSecret
from tegata_credentials.observer import NoObserver, Observer, Unit
from tegata_credentials.rotation.driver import Patience, RotationDriver
from tegata_credentials.rotation.file_store import FileVersions
from tegata_credentials.rotation.ports import VersionStore
from tegata_credentials.rotation.steps import Rotation
from tegata_credentials.rotation.strategies import strategy_of
from tegata_credentials.sources.references import BadReference, Reference, ReferencedSecrets
from tegata_credentials.versions import CURRENT, SecretVersion


@dataclass(frozen=True, slots=True)
class ReferencedValues:
    """Reads an administrator's login wherever a reference leads; `masterarn`, which is none, leads to AWS."""

    secrets: ReferencedSecrets

    def read(self, secret: str, *, stage: str | None = None, version: str | None = None) -> SecretVersion:
        """Return the current version. Raises a `SecretError`."""
        try:
            reference = str(Reference.parse(secret))
        except BadReference:
            reference = f"awssm:{secret}"
        return self.secrets.fetch(reference, stage=stage or CURRENT)


@dataclass(frozen=True, slots=True)
class _Referenced:
    """Tells an observer of a secret by its reference: what a store calls it may be the last part of a path."""

    observer: Observer
    name: str
    reference: str

    def metric(self, name: str, value: float = 1, unit: Unit = "Count", **dimensions: str) -> None:
        self.observer.metric(name, value, unit, **dimensions)

    def audit(self, action: str, **facts: str) -> None:
        named = self.reference if facts.get("secret") == self.name else facts.get("secret", self.reference)
        self.observer.audit(action, **{**facts, "secret": named})


class Stores:
    """Opens what a rotation works with. One of a process; `close` gives everything back."""

    def __init__(
        self,
        *,
        certificates: Path | None = None,
        observer: Observer | None = None,
        patience: Patience | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._certificates = None if certificates is None else str(certificates)
        self.observer = observer or NoObserver()
        self._patience = patience or Patience()
        self._pause = pause
        self._secrets = ReferencedSecrets()
        self._aws: VersionStore | None = None

    def store_of(self, secret: RotatedSecret) -> tuple[VersionStore, str]:
        """Return the store, and what the secret is called there. Raises `CommandFailure`."""
        return (self._in_aws(), secret.reference.name) if secret.reference.scheme == "awssm" else file_store(secret)

    def driver_of(self, secret: RotatedSecret) -> tuple[RotationDriver, str]:
        """Return what rotates the secret, and what it is called there. Raises `CommandFailure`, `CredentialError`."""
        store, name = self.store_of(secret)
        logins = ReferencedValues(self._secrets)
        observer = _Referenced(self.observer, name, str(secret.reference))
        strategy = strategy_of(secret.plan, logins, sslrootcert=self._certificates, observer=observer)
        rotation = Rotation(store, {name: strategy}, observer=observer)
        return RotationDriver(store, rotation, self._patience, observer=observer, pause=self._pause), name

    def close(self) -> None:
        """Give back what is held."""
        if self._aws is not None:
            self._aws.close()
        self._secrets.close()

    def _in_aws(self) -> VersionStore:
        if self._aws is None:
            # Loaded where it is used: most installations keep no secret there.
            from tegata_credentials.rotation.aws_store import AwsVersions

            self._aws = AwsVersions()
        return self._aws


def file_store(secret: RotatedSecret) -> tuple[FileVersions, str]:
    """Return the directory of a secret that is kept in files, and its name there. Raises `CommandFailure`."""
    path = Path(os.path.normpath(secret.reference.name))
    if path.parent == path:
        raise CommandFailure(f"{secret.reference} names no directory of a secret", USAGE)
    return FileVersions(path.parent), path.name
