"""asyncpg connections and pools whose password is asked for at each login."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tegata_credentials.database import PasswordSource
from tegata_credentials.errors import CredentialError, missing_extra

try:
    import asyncpg
except ImportError as error:
    raise missing_extra("asyncpg", "asyncpg") from error

if TYPE_CHECKING:
    from asyncpg import Connection, Pool


async def connect(
    dsn: str | None = None, *, password: PasswordSource, allow_unverified_tls: bool = False, **options: Any
) -> Connection:
    """Open one connection."""
    value = await password.current()
    refused: Exception
    try:
        return await asyncpg.connect(dsn, password=str(value), **options)
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidPasswordError) as error:
        refused = error
    await password.rejected(value)
    again = await password.current()
    if again == value:
        raise refused
    return await asyncpg.connect(dsn, password=str(again), **options)


def create_pool(
    dsn: str | None = None, *, password: PasswordSource, allow_unverified_tls: bool = False, **options: Any
) -> Pool:
    """Make a pool (`async with`, or `await` it)."""
    if options.get("connect") is not None:
        raise CredentialError("`connect=` cannot be combined with `password=`: leave it out")

    async def open_connection(*arguments: Any, **keywords: Any) -> Connection:
        return await connect(*arguments, password=password, allow_unverified_tls=allow_unverified_tls, **keywords)

    return asyncpg.create_pool(dsn, connect=open_connection, **options)
