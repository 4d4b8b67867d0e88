"""People: what sign-in reads, what an operator writes, and the counters that slow down guessing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from tegata.identifiers import TenantId, UserId
from tegata.identity.account import Role, User, normalize_username
from tegata.identity.throttle import ThrottleBucket, ThrottleLimits
from tegata.postgres.engine import Database
from tegata.postgres.rows import events_json, is_storable, to_json, user_from
from tegata.postgres.tenancy import tenant
from tegata.storage.records import AuditEvent, DesiredUser, PasswordRecord

_FIND = "select * from tegata.find_account($1, $2)"
_GET = "select * from tegata.get_account($1, $2)"
_UPDATE_HASH = "select tegata.update_password_hash($1, $2, $3, $4)"
_COUNT = "select tegata.count_attempt($1, $2, $3, $4, $5, $6, $7)"
_CLEAR = "select tegata.clear_attempts($1, $2)"
_TAKE_BACK = "select tegata.take_back_attempt($1, $2, $3)"
_APPEND = "select tegata.append_events($1, $2)"

_LIST_ROLES = "select name, description, permissions from tegata.role where tenant_id = $1 order by name"
_LIST = """
    select user_id, username as user_username, claims as user_claims, roles as user_roles, disabled as user_disabled,
           extract(epoch from updated_at)::double precision as user_updated_at, password_hash
      from tegata.account where tenant_id = $1 and username_norm > $2 order by username_norm limit $3
"""
# Not "for update": that would wait for whoever refers to the account, and they in turn for its session below.
_BEFORE = """
    select user_id, password_hash, disabled from tegata.account
     where tenant_id = $1 and username_norm = $2 for no key update
"""
_END_SESSIONS = "delete from tegata.session where tenant_id = $1 and user_id = $2"
_REVOKE_GRANTS = """
    update tegata.grant_record set revoked_at = now()
     where tenant_id = $1 and user_id = $2 and revoked_at is null
"""
_PUT = """
    insert into tegata.account as a
        (tenant_id, user_id, username, username_norm, login_email, claims, roles, disabled, password_hash)
      values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
      on conflict (tenant_id, username_norm) do update
        set username = excluded.username, login_email = excluded.login_email, claims = excluded.claims,
            roles = excluded.roles, disabled = excluded.disabled, updated_at = now(),
            password_hash = coalesce(excluded.password_hash, a.password_hash)
"""
_PUT_ROLE = """
    insert into tegata.role (tenant_id, name, description, permissions) values ($1, $2, $3, $4)
      on conflict (tenant_id, name) do update
        set description = excluded.description, permissions = excluded.permissions
"""


class PostgresAccounts:
    """Implements `storage.ports.Accounts` and `storage.ports.Throttles`."""

    _database: Database

    async def find_password(self, tenant_id: TenantId, login: str) -> PasswordRecord | None:
        if not is_storable(login):
            return None
        row = await self._database.row(_FIND, tenant_id, normalize_username(login))
        return PasswordRecord(user_from(row), row["password_hash"]) if row is not None else None

    async def get_user(self, tenant_id: TenantId, user_id: UserId) -> User | None:
        row = await self._database.row(_GET, tenant_id, user_id)
        return user_from(row) if row is not None else None

    async def update_password_hash(self, tenant_id: TenantId, user_id: UserId, *, old: str, new: str) -> None:
        await self._database.value(_UPDATE_HASH, tenant_id, user_id, old, new)

    async def count_attempt(
        self, tenant_id: TenantId, buckets: Sequence[ThrottleBucket], limits: ThrottleLimits, *, now: float
    ) -> float:
        wait: float = await self._database.value(
            _COUNT,
            tenant_id,
            [bucket.key for bucket in buckets],
            [bucket.free for bucket in buckets],
            limits.first_pause_seconds,
            limits.longest_pause_seconds,
            limits.window_seconds,
            now,
        )
        return wait

    async def clear_attempts(self, tenant_id: TenantId, keys: Sequence[bytes]) -> None:
        await self._database.value(_CLEAR, tenant_id, list(keys))

    async def take_back_attempt(self, tenant_id: TenantId, keys: Sequence[bytes], *, now: float) -> None:
        await self._database.value(_TAKE_BACK, tenant_id, list(keys), now)


class PostgresAccountProvisioning:
    """Implements the part of `storage.ports.Provisioning` that is about people."""

    _database: Database

    async def list_roles(self, tenant_id: TenantId) -> Sequence[Role]:
        async with tenant(self._database, tenant_id) as connection:
            return await fetch_roles(connection, tenant_id)

    async def put_role(self, tenant_id: TenantId, role: Role, *, events: Sequence[AuditEvent]) -> None:
        async with tenant(self._database, tenant_id) as connection:
            await connection.execute(_PUT_ROLE, tenant_id, role.name, role.description, role.permissions)
            await connection.execute(_APPEND, tenant_id, events_json(events))

    async def delete_role(self, tenant_id: TenantId, name: str, *, events: Sequence[AuditEvent]) -> bool:
        return await self._delete("delete from tegata.role where tenant_id = $1 and name = $2", tenant_id, name, events)

    async def list_users(
        self, tenant_id: TenantId, *, after: str | None = None, limit: int = 100
    ) -> Sequence[PasswordRecord]:
        async with tenant(self._database, tenant_id) as connection:
            return await fetch_users(connection, tenant_id, after=after, limit=limit)

    async def put_user(
        self, tenant_id: TenantId, user_id: UserId, desired: DesiredUser, *, events: Sequence[AuditEvent]
    ) -> None:
        name = normalize_username(desired.username)
        async with tenant(self._database, tenant_id) as connection:
            before = await connection.fetchrow(_BEFORE, tenant_id, name)
            await connection.execute(
                _PUT,
                tenant_id,
                user_id,
                desired.username,
                name,
                login_email(desired.claims),
                to_json(desired.claims),
                desired.roles,
                desired.disabled,
                desired.password_hash,
            )
            if before is not None and desired.locks_out(before["password_hash"], disabled=before["disabled"]):
                # Sessions first: a code that is being stored holds its session, and then its grant is found.
                await connection.execute(_END_SESSIONS, tenant_id, before["user_id"])
                await connection.execute(_REVOKE_GRANTS, tenant_id, before["user_id"])
            await connection.execute(_APPEND, tenant_id, events_json(events))

    async def delete_user(self, tenant_id: TenantId, username: str, *, events: Sequence[AuditEvent]) -> bool:
        statement = "delete from tegata.account where tenant_id = $1 and username_norm = $2"
        return await self._delete(statement, tenant_id, normalize_username(username), events)

    async def _delete(self, statement: str, tenant_id: TenantId, key: str, events: Sequence[AuditEvent]) -> bool:
        async with tenant(self._database, tenant_id) as connection:
            deleted: str = await connection.execute(statement, tenant_id, key)
            if deleted == "DELETE 0":
                return False
            await connection.execute(_APPEND, tenant_id, events_json(events))
        return True


async def fetch_roles(connection: asyncpg.Connection, tenant_id: TenantId) -> Sequence[Role]:
    """Return a tenant's roles by name."""
    rows = await connection.fetch(_LIST_ROLES, tenant_id)
    return [Role(row["name"], row["description"], tuple(row["permissions"])) for row in rows]


async def fetch_users(
    connection: asyncpg.Connection, tenant_id: TenantId, *, after: str | None, limit: int
) -> Sequence[PasswordRecord]:
    """Return a tenant's accounts by username, those after `after`."""
    rows = await connection.fetch(_LIST, tenant_id, normalize_username(after) if after is not None else "", limit)
    return [PasswordRecord(user_from(row), row["password_hash"]) for row in rows]


def login_email(claims: Mapping[str, Any]) -> str | None:
    """Return the normalised e-mail address among `claims` if it is verified: the one that may be used to sign in."""
    address = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(address, str):
        return None
    return normalize_username(address)
