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

_REVISION = "select version_num from tegata.schema_version"
# By the role that statements run as: where a session enters as an administrator and takes the application role in its
# start-up packet (`tegata dev` on somebody's own server), that is the application role.
_UNBOUND = """
    select case when r.rolsuper then 'a superuser'
                when r.rolbypassrls then 'exempt from row-level security'
                when pg_has_role(current_user, to_regrole('tegata_owner'), 'MEMBER') then 'a member of the owner'
                when pg_has_role(current_user, to_regrole('tegata_maint'), 'MEMBER') then 'a member of maintenance' end
      from pg_roles r where r.rolname = current_user
"""


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
            found = await self._database.value(_REVISION)
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError, asyncpg.InsufficientPrivilegeError):
            found = None
        # Revisions count up, and a newer schema serves the release before it as well.
        if found is None or found < NEEDED_REVISION:
            raise Unavailable(f"the schema is at {found or 'none'}, this release needs {NEEDED_REVISION}: migrate it")
        await self._check_role()

    async def _check_role(self) -> None:
        """Raise `Unavailable` if row-level security does not hold this connection to one tenant (pitfalls P14)."""
        unbound = await self._database.value(_UNBOUND)
        if unbound is not None:
            raise Unavailable(f"the database is entered as {unbound}: enter it as the application role")

    async def close(self) -> None:
        """Close all connections."""
        await self._database.close()


class PostgresOperatorStorage(PostgresStorage, PostgresTenantProvisioning, PostgresAccountProvisioning, PostgresPurge):
    """Implements `storage.ports.OperatorStorage`, entered as the maintenance role."""

    async def _check_role(self) -> None:
        """Work across tenants is what this one is for."""
