"""Whose login sets the passwords: a secret that is read at the moment it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tegata_credentials.rotation.errors import DatabaseConnectionError, RotationRefused
from tegata_credentials.rotation.postgres.secret import DatabaseSecret, Login, login_of
from tegata_credentials.rotation.postgres.sessions import LoginRefused, Session, Sessions
from tegata_credentials.versions import CURRENT, SecretVersion


class SecretReader(Protocol):
    """What is needed of a store of versions."""

    def read(self, secret: str, *, stage: str | None = None, version: str | None = None) -> SecretVersion:
        """Return one version. Raises a `SecretError`."""


@dataclass(frozen=True, slots=True)
class Administrator:
    """The role that may set passwords: the rotator that `setup` makes, or an administrator of the database.

    `secret` is the id of its secret; None means that of `masterarn` in the secret that is rotated. Only user and
    password are taken from it: they are shown to the server of the secret that is rotated and to no other.

    Example:

        >>> from tegata_credentials.testing.version_store import MemoryVersions
        >>> Administrator(MemoryVersions(), "shop-prod-secret-rotator").secret
        'shop-prod-secret-rotator'
    """

    store: SecretReader
    secret: str | None = None

    def open(self, sessions: Sessions, rotated: DatabaseSecret) -> Session:
        """Log in at the writer. Raises `DatabaseConnectionError`, `RotationRefused` or a `SecretError`."""
        login = self._login(rotated)
        try:
            return sessions.open(login, rotated.writer)
        except LoginRefused:
            pass
        raise DatabaseConnectionError(
            f"the server refuses the password of {login.username}, who is to set the new one: correct the secret "
            f"{self.secret or 'that masterarn names'}"
        )

    def _login(self, rotated: DatabaseSecret) -> Login:
        name = self.secret or rotated.administrator
        if name is None:
            raise RotationRefused("nobody may set the password: name the administrator's secret, or put masterarn in")
        return login_of(self.store.read(name, stage=CURRENT))
