"""The port to a database: how strategies open a session, what they say in it, and how it fails.

Whoever wants to see or disturb each statement wraps `Sessions` and the `Session` it opens; no strategy talks to a
database in another way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from tegata_credentials.rotation.errors import (
    DatabaseConnectionError,
    PasswordUpdateError,
    RotationBusy,
    RotationError,
)
from tegata_credentials.rotation.postgres.secret import Login, Place
from tegata_credentials.token_state import HiddenText


class LoginRefused(DatabaseConnectionError):
    """The server has looked at the password and refused the login (SQLSTATE 28P01 or 28000): it is no network fault.

    >>> issubclass(LoginRefused, DatabaseConnectionError)
    True
    """


class StatementFailed(RotationError):
    """A statement has failed, and with it the whole transaction. The server's own text is left out: it may quote.

    >>> print(StatementFailed("25006", "the password could not be set"))
    the password could not be set (SQLSTATE 25006)
    """

    def __init__(self, sqlstate: str | None, what: str) -> None:
        super().__init__(f"{what} (SQLSTATE {sqlstate or 'unknown'})")
        self.sqlstate = sqlstate


class Session(Protocol):
    """One login. A transaction begins with the first statement and ends with `commit`; `close` alone takes it back."""

    def execute(self, statement: str, *values: object) -> Sequence[tuple[Any, ...]]:
        """Run one statement, `%s` for each value, and return its rows.

        Raises `StatementFailed`, or `DatabaseConnectionError` if the connection is gone.
        """

    def verifier(self, login: Login) -> HiddenText:
        """Return the SCRAM-SHA-256 verifier of a password, made on this side: the server never sees the password."""

    def commit(self) -> None:
        """Make it last. Raises `DatabaseConnectionError`, after which nobody knows whether it does."""

    def close(self) -> None:
        """End the session. Never raises."""


class Sessions(Protocol):
    """Opens sessions. Blocking and thread-safe."""

    def open(self, login: Login, place: Place) -> Session:
        """Log in with the password and nothing else.

        Raises `LoginRefused` if the server refuses the password, `DatabaseConnectionError` in every other case: a
        name that is not found, a timeout, TLS, too many connections, no such database, a server that lets in without
        asking for the password.
        """


# PostgreSQL documentation, "PostgreSQL Error Codes".
_GONE = ("08", "57P0", "53", "58")
_AGAIN = ("40001", "40P01", "55P03", "57014", "XX000")  # XX000: "tuple concurrently updated"
_READ_ONLY = (
    "the server is read-only: it is a replica, or is being switched over; the secret's host has to be the writer"
)
_CURES = {
    "25006": _READ_ONLY,
    "42501": "this login may not set the password: name another administrator's secret",
    "42704": "there is no such role",
}
# Of a pair, which something makes.
_MISSING = {
    "42501": "this login may not set the password",
    "42704": "there is no such role",
    "42883": "the function that sets the password is not there",
    "3F000": "the schema of the function that sets the password is not there",
}


def update_error(failed: StatementFailed, set_up: str | None = None) -> RotationError:
    """Return what the failure of a change means; the transaction is taken back, so the password is what it was.

    `set_up` says how the roles of a pair are made.
    """
    state = failed.sqlstate or ""
    if state.startswith(_GONE):
        return DatabaseConnectionError(f"the database gave up while the password was being set (SQLSTATE {state})")
    if state in _AGAIN:
        return RotationBusy(f"something else is changing the same role (SQLSTATE {state})")
    cure = _CURES.get(state, "look into the server's log")
    if set_up is not None and state in _MISSING:
        cure = f"{_MISSING[state]}: {set_up}"
    return PasswordUpdateError(f"the password could not be set: {cure} (SQLSTATE {state or 'unknown'})")
