"""Two users take turns: a new password is always that of the one whom nobody uses, so the old login goes on working."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tegata_credentials.rotation.errors import NotYet, RotationRefused, TestFailed
from tegata_credentials.rotation.ports import Versions
from tegata_credentials.rotation.postgres.administrator import Administrator
from tegata_credentials.rotation.postgres.change import change_password
from tegata_credentials.rotation.postgres.pair import LoginPair
from tegata_credentials.rotation.postgres.proof import Proof
from tegata_credentials.rotation.postgres.secret import DatabaseSecret, check_same_place, next_value
from tegata_credentials.rotation.postgres.sessions import LoginRefused, Sessions
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import SecretVersion


def new_password() -> HiddenText:
    """Return 256 random bits in the alphabet of URLs: nothing that a shell, an address or a rule would stumble over."""
    return HiddenText(secrets.token_urlsafe(32))


@dataclass(frozen=True, slots=True)
class AlternatingUsers:
    """The strategy for the logins of an application; the roles are made once, see `setup`.

    The user of AWSCURRENT is never touched. Its login, and that of AWSPREVIOUS until the next rotation, stay valid at
    every moment, whatever breaks off.

    Example:

        >>> from tegata_credentials.rotation.postgres.psycopg_sessions import PsycopgSessions
        >>> from tegata_credentials.testing.version_store import MemoryVersions
        >>> rotator = Administrator(MemoryVersions(), "shop-prod-secret-rotator")
        >>> AlternatingUsers(PsycopgSessions(), LoginPair.of("shop"), rotator).pair.logins
        ('shop_a', 'shop_b')
    """

    sessions: Sessions
    pair: LoginPair
    administrator: Administrator
    proof: Proof = field(default_factory=Proof)
    rest: float = 0.0
    """For so many seconds after a rotation the previous login is left alone: for whoever has kept it in a cache. It
    holds where the store knows since when a version is current (`Labels.moved_at`); plans with a rest are refused for a
    store that does not say that it `DatesLabels`."""
    now: Callable[[], float] = field(default=time.time, repr=False)
    new_password: Callable[[], HiddenText] = field(default=new_password, repr=False)

    def create(self, versions: Versions) -> HiddenText:
        """Return the other user with a new password; all other keys as they are."""
        current = DatabaseSecret.of(versions.current)
        return next_value(versions.current, self.pair.other(current.login.username), self.new_password())

    def apply(self, versions: Versions) -> None:
        """Give the pending user its password, unless it has it already."""
        pending = self._secret(versions.pending)
        current = DatabaseSecret.of(versions.current)
        check_same_place(pending, current)
        if pending.login.username == current.login.username:
            raise RotationRefused("the pending user is the current one, whose password must not be touched")
        if logs_in(self.sessions, pending):
            return
        self._let_rest(versions)
        session = self.administrator.open(self.sessions, current)
        try:
            change_password(session, versions.secret, pending.login, versions.recheck, self.pair)
        finally:
            session.close()

    def test(self, versions: Versions) -> None:
        """Log in as the pending user at the writer and the reader, and work there as the group."""
        self.proof.check(self.sessions, self._secret(versions.pending), self.pair.group)

    def may_return_to(self, versions: Versions) -> None:
        """Do the same with the previous user."""
        if versions.previous is None:
            raise TestFailed("there is no previous version")
        self.proof.check(self.sessions, self._secret(versions.previous), self.pair.group)

    def _let_rest(self, versions: Versions) -> None:
        # Without a rest no clock is asked: that of the store may be another one, and ahead of ours.
        if versions.current_since is None or not self.rest:
            return
        missing = versions.current_since + self.rest - self.now()
        if missing > 0:
            raise NotYet("the previous login is left alone until nobody has it in a cache", min(missing, self.rest))

    def _secret(self, version: SecretVersion | None) -> DatabaseSecret:
        if version is None:
            raise RotationRefused("there is no value to work with")
        found = DatabaseSecret.of(version)
        self.pair.other(found.login.username)
        return found


def logs_in(sessions: Sessions, secret: DatabaseSecret) -> bool:
    """Whether the writer accepts the login. Raises `DatabaseConnectionError` if it cannot be asked."""
    try:
        session = sessions.open(secret.login, secret.writer)
    except LoginRefused:
        return False
    session.close()
    return True
