"""Proves that a login works at every place where it will be used, before it becomes current."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

from tegata_credentials.rotation.errors import DatabaseConnectionError, NotYet, TestFailed
from tegata_credentials.rotation.postgres.pair import identifier
from tegata_credentials.rotation.postgres.secret import DatabaseSecret, Login, Place
from tegata_credentials.rotation.postgres.sessions import LoginRefused, Session, Sessions, StatementFailed


@dataclass(frozen=True, slots=True)
class Proof:
    """What has to work: the login at the writer and at the reader, the role it becomes, and a statement.

    A reader that has not heard of the password yet is asked again within `patience` seconds, then it is `NotYet`.

    Example:

        >>> Proof(canary="select count(*) from orders where false").patience
        20.0
    """

    canary: str = "select 1"
    reader: Place | None = None
    patience: float = 20.0
    pause: float = 1.0
    retry_after: float = 30.0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    ticks: Callable[[], float] = field(default=time.monotonic, repr=False)

    def check(self, sessions: Sessions, secret: DatabaseSecret, role: str) -> None:
        """Raise `TestFailed`, `NotYet` or `DatabaseConnectionError` unless all of it works. `role`: to be become."""
        try:
            self._check_at(sessions, secret.login, secret.writer, role, must_write=True)
        except LoginRefused:
            refused = True
        else:
            refused = False
        if refused:
            raise TestFailed(f"the writer refuses the password of {secret.login.username}")
        reader = self.reader or secret.reader
        if reader is not None:
            self._check_reader(sessions, secret.login, reader, role)

    def _check_reader(self, sessions: Sessions, login: Login, reader: Place, role: str) -> None:
        end = self.ticks() + self.patience
        while True:
            try:
                self._check_at(sessions, login, reader, role)
            except LoginRefused:
                pass  # what the writer accepts arrives here later
            else:
                return
            if self.ticks() + self.pause > end:
                break
            self.sleep(self.pause)
        raise NotYet(f"the reader {reader.host} has not heard of the new password yet", self.retry_after)

    def _check_at(self, sessions: Sessions, login: Login, place: Place, role: str, *, must_write: bool = False) -> None:
        with closing(sessions.open(login, place)) as session:
            try:
                if _check_session(session, login, role, self.canary) and must_write:
                    # After a switch-over the address may lead here for a while; a standby accepts old passwords too.
                    raise DatabaseConnectionError(f"{place.host} is a standby: what it accepts proves nothing")
            except StatementFailed as error:
                failed = str(error)
            else:
                return
        raise TestFailed(f"{login.username} logs in at {place.host}, but cannot work there: {failed}")


def _check_session(session: Session, login: Login, role: str, canary: str) -> bool:
    """Return whether the server follows another one. Raises `TestFailed`."""
    ((user, became, follows),) = session.execute(
        "select session_user::text, current_user::text, pg_catalog.pg_is_in_recovery()"
    )
    if user != login.username:
        raise TestFailed(f"the login as {login.username} is one of {user}: something between here and there maps users")
    if became != role:
        raise TestFailed(f"{user} works as {became} and not as {role}: {_cure(user, role)}")
    session.execute(canary)
    return bool(follows)


def _cure(user: str, role: str) -> str:
    """Return what an administrator pastes into psql."""
    login, group = identifier(user), identifier(role)
    if user == role:
        return f"alter role {login} reset role"
    return f"grant {group} to {login}; alter role {login} set role = {group}"
