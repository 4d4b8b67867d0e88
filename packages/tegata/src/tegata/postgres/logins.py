"""Opening a session: the one place where a login's password comes from, for both drivers.

A target with `passwords` has none of its own: each new session asks the source of its host, port and user for the
current one (`tegata_credentials`), and a login that the server refuses is tried once more with a fresh one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tegata.postgres.target import ConnectionTarget

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool

PsycopgConnection = psycopg.Connection[tuple[object, ...]]


async def open_session(
    target: ConnectionTarget,
    *,
    connect_seconds: float,
    command_seconds: float,
    server_settings: dict[str, str] | None = None,
) -> asyncpg.Connection:
    """Log in with asyncpg. `server_settings` are set for the session; a transaction pooler passes none of them on."""
    arguments: dict[str, Any] = target.asyncpg_arguments()
    if not target.transaction_pooler:
        arguments["server_settings"] = {**arguments["server_settings"], **(server_settings or {})}
    arguments.update(timeout=connect_seconds, command_timeout=command_seconds)
    if target.passwords is None:
        return await asyncpg.connect(**arguments)
    from tegata_credentials import asyncpg as passwordless

    return await passwordless.connect(
        password=target.passwords.source(target.host, target.port, target.user),
        allow_unverified_tls=target.passwords.allow_unverified_tls,
        **arguments,
    )


def open_psycopg(target: ConnectionTarget, *, autocommit: bool = False, connect_seconds: int = 10) -> PsycopgConnection:
    """Log in with psycopg, for commands. Names without a schema are looked up in the catalogue alone."""
    conninfo = _catalogue_alone(target)
    if target.passwords is None:
        return psycopg.connect(conninfo, autocommit=autocommit, connect_timeout=connect_seconds)
    from tegata_credentials import psycopg as passwordless

    return passwordless.connect(
        conninfo,
        password=target.passwords.sync_source(target.host, target.port, target.user),
        allow_unverified_tls=target.passwords.allow_unverified_tls,
        autocommit=autocommit,
        connect_timeout=connect_seconds,
    )


def _catalogue_alone(target: ConnectionTarget) -> str:
    """Return the conninfo with a search_path that leads past functions that others left in `public`.

    There, one whose arguments fit better would be called in the place of the catalogue's, with the rights of whoever
    runs the command (CVE-2018-1058).
    """
    conninfo = target.psycopg_conninfo()
    options = conninfo_to_dict(conninfo).get("options") or ""
    return make_conninfo(conninfo, options=f"{options} -c search_path=pg_catalog,pg_temp".strip())


def open_psycopg_pool(target: ConnectionTarget, **options: Any) -> AsyncConnectionPool[Any]:
    """Make a pool of psycopg sessions for asyncio, for the job queue. `options` are those of the pool."""
    from psycopg_pool import AsyncConnectionPool

    conninfo = target.psycopg_conninfo()
    if target.passwords is None:
        return AsyncConnectionPool(conninfo, **options)
    from tegata_credentials import psycopg as passwordless

    return passwordless.async_pool(
        conninfo,
        password=target.passwords.source(target.host, target.port, target.user),
        allow_unverified_tls=target.passwords.allow_unverified_tls,
        **options,
    )
