"""asyncpg connections and pools whose password is asked for at each login.

    async with create_pool("postgresql://app@db.example.com/app", password=source) as pool: ...

A login refused with SQLSTATE 28000 or 28P01 drops the credential and is tried again while the source offers another
one, three times at most. A password that knows its user (`LoginPassword`) logs in as that one, whoever the URL names.
Errors are asyncpg's own; `IdentityUnavailable` says that no login was tried. How TLS is decided stands in
`tegata_credentials.tls`.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Any

from tegata_credentials.asyncpg_options import connect_options
from tegata_credentials.attempts import ATTEMPTS, Offered, hidden, user_option
from tegata_credentials.database import PasswordSource, note_accepted
from tegata_credentials.errors import CredentialError, missing_extra
from tegata_credentials.redaction import without_frames
from tegata_credentials.tls import certificate_advice
from tegata_credentials.token_state import HiddenText

try:
    import asyncpg
except ImportError as error:
    raise missing_extra("asyncpg", "asyncpg") from error

if TYPE_CHECKING:
    from asyncpg import Connection, Pool


async def connect(
    dsn: str | None = None, *, password: PasswordSource, allow_unverified_tls: bool = False, **options: Any
) -> Connection:
    """Open one connection. `dsn` and `options` are those of `asyncpg.connect`.

    Beyond these, `sslmode`, `sslrootcert` and libpq's other names of TLS options are understood as arguments. Raises
    `CredentialError` if a password stands in the DSN or TLS would be too weak, and what asyncpg raises.
    """
    ready = connect_options(
        dsn, options, os.environ, auth_method=password.auth_method, allow_unverified=allow_unverified_tls
    )
    outcome: Any = None
    offered = Offered()
    for _ in range(ATTEMPTS):
        value = hidden(await password.current())
        if not offered.is_new(value):
            break
        outcome = await _attempt(ready, password, value)
        if not isinstance(outcome, asyncpg.PostgresError):
            return outcome
        await password.rejected(value)
    raise outcome


def create_pool(
    dsn: str | None = None, *, password: PasswordSource, allow_unverified_tls: bool = False, **options: Any
) -> Pool:
    """Make a pool, to be entered with `async with` or awaited. The arguments are those of `asyncpg.create_pool`.

    Raises `CredentialError`, as `connect` does.
    """
    if options.get("connect") is not None:
        raise CredentialError("connect= cannot be combined with password=: leave it out")

    check(dsn, auth_method=password.auth_method, allow_unverified_tls=allow_unverified_tls, **options)

    async def open_connection(*arguments: Any, **keywords: Any) -> Connection:
        return await connect(*arguments, password=password, allow_unverified_tls=allow_unverified_tls, **keywords)

    return asyncpg.create_pool(dsn, connect=open_connection, **options)


def check(dsn: str | None = None, *, auth_method: str, allow_unverified_tls: bool = False, **options: Any) -> None:
    """Raise what `connect` with these arguments would refuse: `CredentialError`. Nothing is connected."""
    connect_options(dsn, options, os.environ, auth_method=auth_method, allow_unverified=allow_unverified_tls)


async def _attempt(ready: dict[str, Any], password: PasswordSource, value: HiddenText) -> Any:
    """Return the connection, or the error of a refused login."""
    try:
        # asyncpg takes exactly `str`; the plain text is nobody's local variable here.
        connection = await asyncpg.connect(password=str(value), **{**ready, **user_option(value)})
    except asyncpg.InvalidAuthorizationSpecificationError as error:  # 28000; 28P01 is a subclass
        return without_frames(error)
    except ssl.SSLCertVerificationError as error:
        error.add_note(certificate_advice(password.auth_method))
        raise without_frames(error) from None
    except BaseException as error:  # noqa: BLE001 - none may carry the driver's frames
        raise without_frames(error)  # noqa: B904 - it is the same error
    note_accepted(password, value)
    return connection
