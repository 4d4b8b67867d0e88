"""SQLAlchemy engines whose password is asked for at each physical connection; the URL never holds one.

    engine = create_async_engine("postgresql+asyncpg://app@db.example.com/app", password=source, pool_size=5)

The options of the URL and of the pool are SQLAlchemy's own. Recycling, overflow and pre-ping need no thought about
tokens: whenever a connection is opened, the source is asked. Errors are SQLAlchemy's and the driver's;
`IdentityUnavailable` and `CredentialError` pass through as they are.
"""

from __future__ import annotations

from typing import Any

from tegata_credentials.asyncpg_options import TWO_PASSWORDS
from tegata_credentials.database import PasswordSource, SyncPasswordSource
from tegata_credentials.errors import CredentialError, missing_extra

try:
    import sqlalchemy
    from sqlalchemy import URL, Engine, event, make_url
    from sqlalchemy.exc import ArgumentError
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.ext.asyncio import create_async_engine as create_plain_async_engine
except ImportError as error:
    raise missing_extra("sqlalchemy", "sqlalchemy") from error


def create_async_engine(
    url: str | URL, *, password: PasswordSource, allow_unverified_tls: bool = False, **options: Any
) -> AsyncEngine:
    """Make an engine on asyncpg (`postgresql+asyncpg://`) or psycopg (`postgresql+psycopg://`).

    `options` are those of `sqlalchemy.ext.asyncio.create_async_engine`: pool_size, max_overflow, pool_recycle
    (seconds), pool_pre_ping, pool_timeout (seconds), echo, connect_args and so on. Raises `CredentialError` if the
    URL holds a password or TLS would be too weak.
    """
    address = _address(url, options)
    driver = address.get_driver_name()
    connect: Any
    check: Any
    if driver == "asyncpg":
        from tegata_credentials.asyncpg import check, connect
    elif driver in ("psycopg", "psycopg_async"):
        from tegata_credentials.psycopg import check
        from tegata_credentials.psycopg import connect_async as connect
    else:
        raise CredentialError("the URL must begin with postgresql+asyncpg:// or postgresql+psycopg://")

    async def open_connection(*arguments: Any, **keywords: Any) -> Any:
        return await connect(*arguments, password=password, allow_unverified_tls=allow_unverified_tls, **keywords)

    given = options.pop("connect_args", {})
    # SQLAlchemy's dialects take this in the place of the driver's `connect`; with `async_creator` they would ignore
    # everything that stands in the URL.
    made = create_plain_async_engine(address, connect_args={**given, "async_creator_fn": open_connection}, **options)
    arguments, keywords = made.dialect.create_connect_args(address)
    keywords |= given
    check(*arguments, auth_method=password.auth_method, allow_unverified_tls=allow_unverified_tls, **keywords)
    return made


def create_engine(
    url: str | URL, *, password: SyncPasswordSource, allow_unverified_tls: bool = False, **options: Any
) -> Engine:
    """Make an engine on psycopg (`postgresql+psycopg://`) for threads and scripts; otherwise as `create_async_engine`.

    `options` are those of `sqlalchemy.create_engine`.
    """
    address = _address(url, options)
    if address.get_driver_name() != "psycopg":
        raise CredentialError("the URL must begin with postgresql+psycopg://")
    from tegata_credentials.psycopg import check, connect

    made = sqlalchemy.create_engine(address, **options)
    arguments, keywords = made.dialect.create_connect_args(address)
    keywords |= options.get("connect_args", {})
    check(*arguments, auth_method=password.auth_method, allow_unverified_tls=allow_unverified_tls, **keywords)

    def open_connection(_dialect: Any, _record: Any, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        return connect(*arguments, password=password, allow_unverified_tls=allow_unverified_tls, **keywords)

    event.listen(made, "do_connect", open_connection)
    return made


def _address(url: str | URL, options: dict[str, Any]) -> URL:
    try:
        address: URL | None = make_url(url)
    except (ArgumentError, ValueError):  # its text repeats the URL
        address = None
    if address is None or address.get_backend_name() != "postgresql":
        raise CredentialError("this is not a database URL of SQLAlchemy for PostgreSQL")
    if address.password or "password" in address.query or "password" in options.get("connect_args", {}):
        raise CredentialError(TWO_PASSWORDS)
    for name in ("creator", "async_creator", "pool"):
        if options.get(name) is not None:
            raise CredentialError(f"{name}= cannot be combined with password=: leave it out")
    return address
