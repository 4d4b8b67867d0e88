"""SQLAlchemy engines whose password is asked for at each physical connection."""

from __future__ import annotations

from typing import Any

from tegata_credentials.database import PasswordSource, SyncPasswordSource
from tegata_credentials.errors import CredentialError, missing_extra

try:
    import sqlalchemy
    from sqlalchemy import URL, Engine, event, make_url
    from sqlalchemy.ext import asyncio as sqlalchemy_asyncio
except ImportError as error:
    raise missing_extra("sqlalchemy", "sqlalchemy") from error


def create_async_engine(
    url: str | URL, *, password: PasswordSource, allow_unverified_tls: bool = False, **options: Any
) -> sqlalchemy_asyncio.AsyncEngine:
    """Make an engine on asyncpg or psycopg."""
    address = make_url(url)
    connect: Any
    if address.get_driver_name() == "asyncpg":
        from tegata_credentials.asyncpg import connect
    elif address.get_driver_name() in ("psycopg", "psycopg_async"):
        from tegata_credentials.psycopg import connect_async as connect
    else:
        raise CredentialError("use postgresql+asyncpg:// or postgresql+psycopg://")

    async def open_connection(*arguments: Any, **keywords: Any) -> Any:
        return await connect(*arguments, password=password, allow_unverified_tls=allow_unverified_tls, **keywords)

    given = {**options.pop("connect_args", {}), "async_creator_fn": open_connection}
    return sqlalchemy_asyncio.create_async_engine(address, connect_args=given, **options)


def create_engine(
    url: str | URL, *, password: SyncPasswordSource, allow_unverified_tls: bool = False, **options: Any
) -> Engine:
    """Make an engine on psycopg."""
    from tegata_credentials.psycopg import connect

    engine = sqlalchemy.create_engine(url, **options)

    def open_connection(_dialect: Any, _record: Any, arguments: Any, keywords: dict[str, Any]) -> Any:
        return connect(*arguments, password=password, allow_unverified_tls=allow_unverified_tls, **keywords)

    event.listen(engine, "do_connect", open_connection)
    return engine
