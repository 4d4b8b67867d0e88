"""Whose login sets the passwords: a secret that is read at the moment it is needed."""

from __future__ import annotations

from dataclasses import dataclass

from tegata_credentials.rotation.audited import Reader
from tegata_credentials.rotation.errors import DatabaseConnectionError, RotationRefused
from tegata_credentials.rotation.postgres.secret import DatabaseSecret, login_of
from tegata_credentials.rotation.postgres.sessions import LoginRefused, Session, Sessions
from tegata_credentials.versions import CURRENT, SecretVersion


@dataclass(frozen=True, slots=True)
class Administrator:
    """The role that may set passwords: the rotator that `setup` makes, or an administrator of the database.

    `secret` is the id of its secret; None means that of `masterarn` in the secret that is rotated. Only user and
    password are taken from it: they are shown to the server of the secret that is rotated and to no other. If it names
    a host, that has to be the same.

    Example:

        >>> from tegata_credentials.testing.version_store import MemoryVersions
        >>> Administrator(MemoryVersions(), "shop-prod-secret-rotator").secret
        'shop-prod-secret-rotator'
    """

    store: Reader
    secret: str | None = None

    def open(self, sessions: Sessions, rotated: DatabaseSecret) -> Session:
        """Log in at the writer. Raises `DatabaseConnectionError`, `RotationRefused` or a `SecretError`."""
        kept = self._read(rotated)
        _check_server(kept, rotated)
        login = login_of(kept)
        try:
            return sessions.open(login, rotated.writer)
        except LoginRefused:
            pass
        raise DatabaseConnectionError(
            f"the server refuses the password of {login.username}, who is to set the new one: correct the secret "
            f"{self.secret or 'that masterarn names'}"
        )

    def _read(self, rotated: DatabaseSecret) -> SecretVersion:
        name = self.secret or rotated.administrator
        if name is None:
            raise RotationRefused("nobody may set the password: name the administrator's secret, or put masterarn in")
        return self.store.read(name, stage=CURRENT)


def _check_server(kept: SecretVersion, rotated: DatabaseSecret) -> None:
    """Refuse to show the login to another server than that of its own secret, if that names one.

    Who may write the rotated secret chooses where the rotation logs in, and with masterarn as whom.
    """
    host = kept.document().get("host")
    if host is None or str(host).lower() == rotated.writer.host.lower():
        return
    raise RotationRefused(
        "the administrator's secret is for another host than the secret that is rotated: if both are the same server, "
        "write the same name into both, or take host out of the administrator's"
    )
