"""Tells of each look at a secret that helps with a rotation: the administrator's login is the one most worth it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tegata_credentials.errors import SecretError
from tegata_credentials.observer import READ, READ_FAILED, Observer
from tegata_credentials.versions import CURRENT, SecretVersion


class Reader(Protocol):
    """What is needed of a store of versions."""

    def read(self, secret: str, *, stage: str | None = None, version: str | None = None) -> SecretVersion:
        """Return one version. Raises a `SecretError`."""


@dataclass(frozen=True, slots=True)
class AuditedReads:
    """Reads from a store, with an audit line for each access that names secret and version and no value.

    Example:

        >>> from tegata_credentials.observer import WrittenAudit
        >>> from tegata_credentials.testing.version_store import MemoryVersions
        >>> import io
        >>> said, store = io.StringIO(), MemoryVersions()
        >>> _ = store.add("rotator", {"username": "shop_rotator", "password": "correct-horse"})
        >>> login = AuditedReads(store, WrittenAudit(said)).read("rotator", stage=CURRENT)
        >>> login.document()["username"], said.getvalue().split()[1], "correct-horse" in said.getvalue()
        ('shop_rotator', 'secret.read', False)
    """

    store: Reader
    observer: Observer

    def read(self, secret: str, *, stage: str | None = None, version: str | None = None) -> SecretVersion:
        """Return one version. Raises a `SecretError`."""
        try:
            found = self.store.read(secret, stage=stage, version=version)
        except SecretError as error:
            self.observer.audit(READ_FAILED, secret=secret, reason=error.reason, stage=stage or CURRENT)
            raise
        self.observer.audit(READ, secret=found.secret, version=found.version, stage=stage or CURRENT)
        return found
