"""psycopg 3 connections and pools whose password is asked for at each login.

    with pool("postgresql://app@db.example.com/app", password=source) as connections: ...

A refused login drops the credential and is tried again while the source offers another one, three times at most. A
password that knows its user (`LoginPassword`) logs in as that one, whoever the URL names. libpq keeps the SQLSTATE of a
failed login to itself, so a refusal is recognised by other signs (`is_rejection`). Errors are psycopg's own;
`IdentityUnavailable` says that no login was tried. How TLS is decided stands in `tegata_credentials.tls`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tegata_credentials.asyncpg_options import ONE_HOST, TWO_PASSWORDS
from tegata_credentials.attempts import ATTEMPTS, Offered, hidden, user_option
from tegata_credentials.database import PasswordSource, SyncPasswordSource, is_token_method, note_accepted
from tegata_credentials.errors import CredentialError, missing_extra
from tegata_credentials.redaction import without_frames
from tegata_credentials.tls import certificate_advice, libpq_options

try:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict
except ImportError as error:
    raise missing_extra("psycopg", "psycopg") from error

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool, ConnectionPool

# Arguments of `Connection.connect` that are no options of libpq.
_OWN = ("autocommit", "prepare_threshold", "context", "row_factory", "cursor_factory")

# What a server, PgBouncer or libpq says after the password was asked for, and what is no refusal of it.
_NO_REFUSAL = (
    "does not exist",  # 3D000; an unknown role is not named in an answer to a password
    "too many c",  # 53300: clients already, connections for role, for database
    "remaining connection slots",  # 53300
    "permission denied for database",  # 42501
    "not currently accepting connections",  # 55000
    "the database system is",  # 57P03: starting up, shutting down, in recovery mode
    "terminating connection",  # 57P01
    "canceling authentication due to timeout",  # 57014
    "unrecognized configuration parameter",  # 42704
    "invalid value for parameter",  # 22023
    "permission denied to set",  # 42501
    "server closed the connection",
    "could not receive data",
    "could not send data",
    "timeout expired",
    "no more connections allowed",  # PgBouncer
    "no such database",
    "query_wait_timeout",
    "server_login_retry",
    "server login",
)


def connect(
    conninfo: str = "", *, password: SyncPasswordSource, allow_unverified_tls: bool = False, **options: Any
) -> psycopg.Connection[Any]:
    """Open one connection. `conninfo` and `options` are those of `psycopg.Connection.connect`.

    Raises `CredentialError` if a password stands in the conninfo or TLS would be too weak, and what psycopg raises.
    """
    ready = _ready(conninfo, options, password.auth_method, allow_unverified_tls)
    made: psycopg.Connection[Any] = _connect(psycopg.Connection, ready, password)
    return made


async def connect_async(
    conninfo: str = "", *, password: PasswordSource, allow_unverified_tls: bool = False, **options: Any
) -> psycopg.AsyncConnection[Any]:
    """Open one connection for asyncio; otherwise as `connect`."""
    ready = _ready(conninfo, options, password.auth_method, allow_unverified_tls)
    made: psycopg.AsyncConnection[Any] = await _connect_async(psycopg.AsyncConnection, ready, password)
    return made


def pool(
    conninfo: str = "", *, password: SyncPasswordSource, allow_unverified_tls: bool = False, **options: Any
) -> ConnectionPool[Any]:
    """Make a pool. `conninfo` and `options` are those of `psycopg_pool.ConnectionPool`.

    Raises `CredentialError`, as `connect` does; a pool whose conninfo or kwargs is a function finds out later.
    """
    base: Any = options.pop("connection_class", psycopg.Connection)
    _check_early(conninfo, options.get("kwargs") or {}, password.auth_method, allow_unverified_tls)

    class Connection(base):  # type: ignore[misc]
        """Asks the source for the password of each connection."""

        @classmethod
        def connect(cls, conninfo: str = "", **keywords: Any) -> Any:
            ready = _ready(conninfo, keywords, password.auth_method, allow_unverified_tls)
            return _connect(super(), ready, password)

    made: ConnectionPool[Any] = _pools().ConnectionPool(conninfo, connection_class=Connection, **options)
    return made


def async_pool(
    conninfo: str = "", *, password: PasswordSource, allow_unverified_tls: bool = False, **options: Any
) -> AsyncConnectionPool[Any]:
    """Make a pool for asyncio: `psycopg_pool.AsyncConnectionPool`; otherwise as `pool`."""
    base: Any = options.pop("connection_class", psycopg.AsyncConnection)
    _check_early(conninfo, options.get("kwargs") or {}, password.auth_method, allow_unverified_tls)

    class AsyncConnection(base):  # type: ignore[misc]
        """Asks the source for the password of each connection."""

        @classmethod
        async def connect(cls, conninfo: str = "", **keywords: Any) -> Any:
            ready = _ready(conninfo, keywords, password.auth_method, allow_unverified_tls)
            return await _connect_async(super(), ready, password)

    made: AsyncConnectionPool[Any] = _pools().AsyncConnectionPool(conninfo, connection_class=AsyncConnection, **options)
    return made


def check(conninfo: str = "", *, auth_method: str, allow_unverified_tls: bool = False, **options: Any) -> None:
    """Raise what `connect` with these arguments would refuse: `CredentialError`. Nothing is connected."""
    _ready(conninfo, options, auth_method, allow_unverified_tls)


def is_rejection(error: psycopg.Error) -> bool:
    """Whether a failed connect means that the server has refused the password, or more exactly: may mean it.

    libpq tells that the server asked for the password and had it, not the SQLSTATE. The errors that come later in
    the start of a session are known by their English texts; a text in another language counts as a refusal. That
    costs one fetch at most: the source keeps a replacement that does not help.
    """
    if error.sqlstate is not None:
        return error.sqlstate in ("28000", "28P01")
    text = str(error)
    if "authentication failed" in text:
        return True  # perhaps of one host of several, where the sign below is that of the last one
    if not isinstance(error, psycopg.OperationalError) or error.pgconn is None or not error.pgconn.used_password:
        return False
    return not any(words in text for words in _NO_REFUSAL)


def _connect(opener: Any, ready: dict[str, Any], password: SyncPasswordSource) -> Any:
    refused: Any = None
    offered = Offered()
    for _ in range(ATTEMPTS):
        value = hidden(password.current())
        if not offered.is_new(value):
            break
        try:
            connection = opener.connect(**{**ready, **user_option(value)}, password=str(value))
        except psycopg.Error as error:
            refused, is_refused = _clean(error, password.auth_method), is_rejection(error)
        except BaseException as error:  # noqa: BLE001 - none may carry the driver's frames
            raise without_frames(error)  # noqa: B904 - it is the same error
        else:
            note_accepted(password, value)
            return connection
        if not is_refused:
            break
        password.rejected(value)
    raise refused


async def _connect_async(opener: Any, ready: dict[str, Any], password: PasswordSource) -> Any:
    refused: Any = None
    offered = Offered()
    for _ in range(ATTEMPTS):
        value = hidden(await password.current())
        if not offered.is_new(value):
            break
        try:
            connection = await opener.connect(**{**ready, **user_option(value)}, password=str(value))
        except psycopg.Error as error:
            refused, is_refused = _clean(error, password.auth_method), is_rejection(error)
        except BaseException as error:  # noqa: BLE001 - none may carry the driver's frames
            raise without_frames(error)  # noqa: B904 - it is the same error
        else:
            note_accepted(password, value)
            return connection
        if not is_refused:
            break
        await password.rejected(value)
    raise refused


def _clean(error: psycopg.Error, auth_method: str) -> psycopg.Error:
    """Return the error without its `pgconn`, which holds the password, and without psycopg's frames."""
    clean = type(error)(*error.args)
    if "certificate verify failed" in str(error):
        clean.add_note(certificate_advice(auth_method))
    return clean


def _ready(conninfo: str, given: dict[str, Any], auth_method: str, allow_unverified: bool) -> dict[str, Any]:
    own = {name: given[name] for name in _OWN if name in given}
    options = {name: value for name, value in given.items() if name not in _OWN}
    try:
        place = conninfo_to_dict(conninfo, **options)
    except psycopg.ProgrammingError:
        place = None
    if place is None:
        raise CredentialError("this is not a PostgreSQL connection string, or an option has a wrong name")
    if place.get("password"):
        raise CredentialError(TWO_PASSWORDS)
    if auth_method == "aws_iam" and "," in str(place.get("host") or ""):
        raise CredentialError(ONE_HOST)
    if is_token_method(auth_method):
        place = libpq_options(place, os.environ, allow_unverified=allow_unverified)
    return {**place, **own}


def _check_early(conninfo: object, keywords: object, auth_method: str, allow_unverified: bool) -> None:
    if isinstance(conninfo, str) and isinstance(keywords, dict):
        _ready(conninfo, keywords, auth_method, allow_unverified)


def _pools() -> Any:
    try:
        import psycopg_pool
    except ImportError as error:
        raise missing_extra("psycopg", "psycopg-pool") from error
    return psycopg_pool
