"""One user changes its own password; the administrator's login helps out when everything else is refused.

Between the database's commit and finishSecret the current value is refused: a client that logs in then has to ask for
AWSPENDING or wait. A retry with the same token ends that. Where this matters, use `AlternatingUsers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from tegata_credentials.rotation.errors import (
    DatabaseConnectionError,
    PasswordUpdateError,
    RotationError,
    RotationRefused,
    TestFailed,
)
from tegata_credentials.rotation.ports import Versions
from tegata_credentials.rotation.postgres.administrator import Administrator
from tegata_credentials.rotation.postgres.alternating_users import logs_in, new_password
from tegata_credentials.rotation.postgres.change import change_password
from tegata_credentials.rotation.postgres.proof import Proof
from tegata_credentials.rotation.postgres.secret import DatabaseSecret, check_same_place, next_value
from tegata_credentials.rotation.postgres.sessions import LoginRefused, Session, Sessions
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import SecretVersion

_GAP = "the pending credential is perhaps the one that is valid: repeat the rotation with the same token"


@dataclass(frozen=True, slots=True)
class SingleUser:
    """The strategy for a role that cannot have a twin: an administrator, a replication user.

    `becomes` is the role that the login works as, if it is not its own. Without `administrator` a password that is
    lost (AWSPENDING taken away after the database had it) stays lost.

    Example:

        >>> from tegata_credentials.rotation.postgres.psycopg_sessions import PsycopgSessions
        >>> SingleUser(PsycopgSessions(), administrator=None).becomes is None
        True
    """

    sessions: Sessions
    administrator: Administrator | None
    becomes: str | None = None
    proof: Proof = field(default_factory=Proof)
    new_password: Callable[[], HiddenText] = field(default=new_password, repr=False)

    def create(self, versions: Versions) -> HiddenText:
        """Return the same user with a new password; all other keys as they are."""
        current = DatabaseSecret.of(versions.current)
        return next_value(versions.current, current.login.username, self.new_password())

    def apply(self, versions: Versions) -> None:
        """Change the password with the first login that works: the current, the previous, the administrator's."""
        pending, current = _secret(versions.pending), DatabaseSecret.of(versions.current)
        check_same_place(pending, current)
        if pending.login.username != current.login.username:
            raise RotationRefused("the pending value is for another user than the current one")
        if logs_in(self.sessions, pending):
            return
        with closing(self._open(versions, current)) as session:
            try:
                change_password(session, versions.secret, pending.login, versions.recheck)
            except DatabaseConnectionError as error:
                error.still_valid = _GAP  # the answer to the commit may be what was lost
                raise

    def test(self, versions: Versions) -> None:
        """Log in with the pending value at the writer and the reader."""
        pending = _secret(versions.pending)
        try:
            self._prove(pending)
        except RotationError as error:
            if pending.login != DatabaseSecret.of(versions.current).login:
                error.still_valid = _GAP
            raise

    def may_return_to(self, versions: Versions) -> None:
        """Log in with the previous value; after a rotation it is refused, so there is no way back."""
        if versions.previous is None:
            raise TestFailed("there is no previous version")
        self._prove(_secret(versions.previous))

    def _prove(self, secret: DatabaseSecret) -> None:
        self.proof.check(self.sessions, secret, self.becomes or secret.login.username)

    def _open(self, versions: Versions, current: DatabaseSecret) -> Session:
        for known in _known(versions, current):
            try:
                return self.sessions.open(known.login, current.writer)
            except LoginRefused:
                continue
        if self.administrator is not None:
            return self.administrator.open(self.sessions, current)
        error = PasswordUpdateError(
            f"no value of the secret logs in as {current.login.username} any more, and no administrator's secret is "
            "named: set the password by hand to that of AWSCURRENT, then rotate"
        )
        error.still_valid = "no known credential of this role is valid"
        raise error


def _known(versions: Versions, current: DatabaseSecret) -> Iterator[DatabaseSecret]:
    yield current
    if versions.previous is not None:
        previous = DatabaseSecret.of(versions.previous)
        if previous.login.username == current.login.username:
            yield previous


def _secret(version: SecretVersion | None) -> DatabaseSecret:
    if version is None:
        raise RotationRefused("there is no value to work with")
    return DatabaseSecret.of(version)
