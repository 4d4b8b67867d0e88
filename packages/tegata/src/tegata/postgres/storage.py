"""All ports on PostgreSQL, put together: one class for the request path, one for the operator."""

from __future__ import annotations

import asyncpg

from tegata.postgres.accounts import PostgresAccountProvisioning, PostgresAccounts
from tegata.postgres.audit_log import PostgresAuditLog
from tegata.postgres.codes import PostgresCodes
from tegata.postgres.engine import Database, PoolLimits
from tegata.postgres.purge import PostgresPurge
from tegata.postgres.sessions import PostgresSessions
from tegata.postgres.signing_keys import PostgresSigningKeys
from tegata.postgres.target import ConnectionTarget
from tegata.postgres.tenants import PostgresTenantProvisioning, PostgresTenants
from tegata.postgres.tokens import PostgresTokens
from tegata.storage.errors import Unavailable

# The oldest revision of the schema that this release works with.
NEEDED_REVISION = "0001"


class PostgresStorage(
    PostgresTenants,
    PostgresSigningKeys,
    PostgresCodes,
    PostgresTokens,
    PostgresSessions,
    PostgresAccounts,
    PostgresAuditLog,
):
    """Implements `storage.ports.Storage`, entered as the application role."""

    def __init__(self, target: ConnectionTarget, limits: PoolLimits | None = None) -> None:
        self._database = Database(target, limits)

    @property
    def database(self) -> Database:
        """The pool, for metrics."""
        return self._database

    async def check(self) -> None:
        try:
            found = await self._database.value("select version_num from tegata.schema_version")
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError, asyncpg.InsufficientPrivilegeError):
            found = None
        # Revisions count up, and a newer schema serves the release before it as well.
        if found is None or found < NEEDED_REVISION:
            raise Unavailable(f"the schema is at {found or 'none'}, this release needs {NEEDED_REVISION}: migrate it")

    async def close(self) -> None:
        """Close all connections."""
        await self._database.close()


class PostgresOperatorStorage(PostgresStorage, PostgresTenantProvisioning, PostgresAccountProvisioning, PostgresPurge):
    """Implements `storage.ports.OperatorStorage`, entered as the maintenance role."""
