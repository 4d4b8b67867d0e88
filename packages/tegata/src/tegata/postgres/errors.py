"""What errors of the database, of its driver and of the login mean to the flows."""

from __future__ import annotations

import asyncpg

from tegata.postgres.advice import advice_on_closed_port, advice_on_state
from tegata.postgres.server_words import told
from tegata.storage.errors import Conflict, StorageError, Unavailable
from tegata_credentials.errors import CredentialError


class TenantMissing(StorageError):
    """A statement ran without a tenant context (SQLSTATE TG001): a fault of ours, never an answer."""


# Classes and codes of SQLSTATE that mean "not now": connection trouble, resources, shutdown, cancelled by a timeout,
# deadlock, lock not available, a primary that became a standby, logins refused while credentials rotate, a database
# that lets nobody in (55000, ALLOW_CONNECTIONS), and a transaction that this process left idle for too long (25P03).
_NOT_NOW_CLASSES = ("08", "53", "57", "58", "40")
_NOT_NOW = frozenset({"55000", "55P03", "25006", "25P03", "28000", "28P01", "3D000"})
_TAKEN = frozenset({"23505", "23503", "23P01"})
# Ends of a session that the server announces: by an administrator, by a crash, before it could begin.
_ENDED = ("08", "57P01", "57P02", "57P03")
# Everything that a statement on an open session can raise because of the server or the network.
DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


def as_storage_error(error: BaseException) -> StorageError | None:
    """Return what a driver's error means to callers; None if it is a fault of ours."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        if state in _TAKEN:
            return Conflict(error.table_name or "row")
        if state == "TG001":
            return TenantMissing("a statement ran without a tenant")
        if state in _NOT_NOW or state.startswith(_NOT_NOW_CLASSES):
            return Unavailable(_answer(error, state))
        return None
    if isinstance(error, CredentialError):
        return Unavailable(str(error))  # never holds a credential, and names the cure
    if isinstance(error, asyncpg.InterfaceError | OSError | TimeoutError) or is_unsent(error):
        # Notes are what a login says of certificates.
        advice = [*getattr(error, "__notes__", ())]
        if isinstance(error, ConnectionRefusedError):
            advice.append(f"({advice_on_closed_port()})")
        return Unavailable(" ".join(["the database cannot be reached:", type(error).__name__, *advice]))
    return None


def _answer(error: asyncpg.PostgresError, state: str) -> str:
    advice = advice_on_state(state)
    if advice is None:
        return f"the database answered SQLSTATE {state}"
    # These come before a session begins: the server's words name user, host or database, and never a row.
    words = told(str(error.args[0])) if error.args else "it refused the login"
    return f"{words} (SQLSTATE {state}); {advice}"


def is_unsent(error: BaseException) -> bool:
    """Whether asyncpg refused to send: the session has ended, and trying again on another one repeats nothing.

    It has read the server's last words and waits for the end of the connection ("cannot switch to state"), or knows
    of that end already.
    """
    if isinstance(error, asyncpg.InternalClientError):
        return str(error).startswith("cannot switch to state")
    return isinstance(error, asyncpg.InterfaceError) and "connection is closed" in str(error)


def is_lost_connection(error: BaseException) -> bool:
    """Whether the session is gone. What it was doing may have been done all the same."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(_ENDED)
    if isinstance(error, TimeoutError):
        return False
    return isinstance(error, asyncpg.InterfaceError | OSError) or is_unsent(error)
