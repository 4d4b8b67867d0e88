"""psycopg 3 connections and pools whose password is asked for at each login."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tegata_credentials.database import PasswordSource, SyncPasswordSource
from tegata_credentials.errors import missing_extra

try:
    import psycopg
except ImportError as error:
    raise missing_extra("psycopg", "psycopg") from error

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool, ConnectionPool


def connect(
    conninfo: str = "", *, password: SyncPasswordSource, allow_unverified_tls: bool = False, **options: Any
) -> psycopg.Connection[Any]:
    """Open one connection."""
    value = password.current()
    try:
        return psycopg.Connection.connect(conninfo, password=value, **options)
    except psycopg.OperationalError as error:
        if not _is_rejection(error):
            raise
    password.rejected(value)
    return psycopg.Connection.connect(conninfo, password=password.current(), **options)


async def connect_async(
    conninfo: str = "", *, password: PasswordSource, allow_unverified_tls: bool = False, **options: Any
) -> psycopg.AsyncConnection[Any]:
    """Open one connection."""
    value = await password.current()
    try:
        return await psycopg.AsyncConnection.connect(conninfo, password=value, **options)
    except psycopg.OperationalError as error:
        if not _is_rejection(error):
            raise
    await password.rejected(value)
    return await psycopg.AsyncConnection.connect(conninfo, password=await password.current(), **options)


def _is_rejection(error: psycopg.OperationalError) -> bool:
    return error.pgconn is not None and error.pgconn.used_password


def pool(
    conninfo: str = "", *, password: SyncPasswordSource, allow_unverified_tls: bool = False, **options: Any
) -> ConnectionPool[Any]:
    """Make a pool."""
    from psycopg_pool import ConnectionPool

    base = options.pop("connection_class", psycopg.Connection)

    class Connected(base):  # type: ignore[misc, valid-type]
        @classmethod
        def connect(cls, conninfo: str = "", **keywords: Any) -> Any:
            return connect(conninfo, password=password, **keywords)

    return ConnectionPool(conninfo, connection_class=Connected, **options)


def async_pool(
    conninfo: str = "", *, password: PasswordSource, allow_unverified_tls: bool = False, **options: Any
) -> AsyncConnectionPool[Any]:
    """Make a pool."""
    from psycopg_pool import AsyncConnectionPool

    base = options.pop("connection_class", psycopg.AsyncConnection)

    class Connected(base):  # type: ignore[misc, valid-type]
        @classmethod
        async def connect(cls, conninfo: str = "", **keywords: Any) -> Any:
            return await connect_async(conninfo, password=password, **keywords)

    return AsyncConnectionPool(conninfo, connection_class=Connected, **options)
