"""All ports on PostgreSQL, put together: one class for the request path, one for the operator."""

from __future__ import annotations

import asyncpg

from tegata.postgres.accounts import PostgresAccountProvisioning, PostgresAccounts
from tegata.postgres.audit_log import PostgresAuditLog
from tegata.postgres.codes import PostgresCodes
from tegata.postgres.engine import Database, PoolLimits
from tegata.postgres.purge import PostgresPurge
from tegata.postgres.reader import Reader
from tegata.postgres.reader_reads import PostgresMarkedReads
from tegata.postgres.role import UNBOUND
from tegata.postgres.sessions import PostgresSessions
from tegata.postgres.signing_keys import PostgresSigningKeys
from tegata.postgres.target import ConnectionTarget
from tegata.postgres.tenants import PostgresTenantProvisioning, PostgresTenants
from tegata.postgres.tokens import PostgresTokens
from tegata.postgres.traced import open_database
from tegata.storage.errors import Unavailable
from tegata.telemetry.spans import Tracer

# The oldest revision of the schema that this release works with.
NEEDED_REVISION = "0001"

_REVISION = "select version_num from tegata.schema_version"


class PostgresStorage(
    PostgresTenants,
    PostgresSigningKeys,
    PostgresCodes,
    PostgresTokens,
    PostgresSessions,
    PostgresAccounts,
    PostgresAuditLog,
    PostgresMarkedReads,
):
    """Implements `storage.ports.Storage`, entered as the application role. `reader`: a replica for marked reads."""

    _proper = "the application role"

    def __init__(
        self,
        target: ConnectionTarget,
        limits: PoolLimits | None = None,
        *,
        reader: Reader | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._database = open_database(target, limits, tracer)
        self._reader = reader

    @property
    def database(self) -> Database:
        """The pool, for metrics."""
        return self._database

    @property
    def reader(self) -> Reader | None:
        """The replica, for metrics."""
        return self._reader

    async def check(self) -> None:
        try:
            found = await self._database.value(_REVISION)
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            found = None
        except asyncpg.InsufficientPrivilegeError:
            # Another login would see more: no migration helps.
            await self._check_role()
            raise Unavailable(f"this login may not look into schema tegata: enter it as {self._proper}") from None
        # Revisions count up, and a newer schema serves the release before it as well.
        if found is None:
            raise Unavailable("the database has not got this release's schema: run `tegata migrate`")
        if found < NEEDED_REVISION:
            raise Unavailable(f"the schema is at {found}, this release needs {NEEDED_REVISION}: run `tegata migrate`")
        await self._check_role()

    async def _check_role(self) -> None:
        """Raise `Unavailable` if row-level security does not hold this connection to one tenant (pitfalls P14)."""
        unbound = await self._database.value(UNBOUND)
        if unbound is not None:
            raise Unavailable(f"the database is entered as {unbound}: enter it as {self._proper}")

    async def close(self) -> None:
        """Close all connections."""
        await self._database.close()
        if self._reader is not None:
            await self._reader.close()


class PostgresOperatorStorage(PostgresStorage, PostgresTenantProvisioning, PostgresAccountProvisioning, PostgresPurge):
    """Implements `storage.ports.OperatorStorage`, entered as the maintenance role."""

    _proper = "the maintenance role"

    async def _check_role(self) -> None:
        """Raise `Unavailable` if this connection is held to one tenant: work across them is what this one is for."""
        if await self._database.value(UNBOUND) is None:
            role = await self._database.value("select current_user::text")
            raise Unavailable(f"the database is entered as {role}, held to one tenant: enter it as {self._proper}")
