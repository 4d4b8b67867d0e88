"""Tenants, clients, keys, accounts and the audit log in memory: the operator's side and what is cached of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from tegata.identifiers import TenantId, UserId
from tegata.identity.account import Role, User, normalize_username
from tegata.protocol.client import Client
from tegata.protocol.policy import SigningAlgorithm, TenantPolicy
from tegata.storage.errors import Conflict
from tegata.storage.ports import ChangeCallback
from tegata.storage.records import AuditEvent, DesiredUser, KeyState, PasswordRecord, SigningKeyRecord, TenantRecord
from tegata.testing.memory_marked_reads import MemoryTenantReads
from tegata.testing.memory_tables import Account, State, Tables


class MemoryOperator:
    """Implements `TenantDirectory`, `Keys`, `Provisioning`, `AuditLog`, `Changes` and `Health`."""

    _state: State
    _callbacks: list[ChangeCallback]
    _clock: Callable[[], float]

    def _announce(self, tenant_id: TenantId, kind: str, key: str) -> None:
        for callback in self._callbacks:
            callback(tenant_id, kind, key)

    def subscribe(self, callback: ChangeCallback) -> None:
        self._callbacks.append(callback)

    async def check(self) -> None:
        """Memory is always ready."""

    async def find_tenant(self, name: str) -> TenantRecord | None:
        for tables in self._state.tenants.values():
            if tables.tenant.name == name:
                return tables.tenant
        return None

    async def find_client(self, tenant_id: TenantId, client_id: str) -> Client | None:
        tables = self._state.seen_by(tenant_id)
        return tables.clients.get(client_id) if tables else None

    async def signing_keys(self, tenant_id: TenantId) -> Sequence[SigningKeyRecord]:
        tables = self._state.seen_by(tenant_id)
        keys = tables.keys.values() if tables else ()
        return sorted(keys, key=lambda key: (-key.created_at, key.kid))

    async def add_key(self, tenant_id: TenantId, key: SigningKeyRecord, *, events: Sequence[AuditEvent]) -> None:
        tables = self._state.of(tenant_id)
        rivals = [k for k in tables.keys.values() if (k.algorithm, k.state) == (key.algorithm, key.state)]
        if key.kid in tables.keys or (key.state != "previous" and rivals):
            raise Conflict("signing_key")
        tables.keys[key.kid] = key
        tables.write(events)
        self._announce(tenant_id, "signing_key", key.kid)

    async def rotate_keys(
        self,
        tenant_id: TenantId,
        algorithm: SigningAlgorithm,
        new_next: SigningKeyRecord,
        *,
        now: float,
        event: AuditEvent,
        replacing: str | None = None,
    ) -> bool:
        tables = self._state.of(tenant_id)
        keys = [key for key in tables.keys.values() if key.algorithm == algorithm]
        followed_by: dict[KeyState, KeyState] = {"active": "previous", "next": "active"}
        # A rotation since this one began to make its key: that one has won.
        lost = any(key.state == "previous" and key.state_changed_at >= new_next.created_at for key in keys)
        lost = lost or (replacing is not None and all((key.kid, key.state) != (replacing, "active") for key in keys))
        if lost or not any(key.state == "next" for key in keys):
            return False
        for key in keys:
            if key.state in followed_by:
                tables.keys[key.kid] = replace(key, state=followed_by[key.state], state_changed_at=now)
        tables.keys[new_next.kid] = replace(new_next, state="next")
        tables.write([event])
        self._announce(tenant_id, "signing_key", new_next.kid)
        return True

    async def drop_previous_keys(self, tenant_id: TenantId, *, older_than: float, event: AuditEvent) -> int:
        tables = self._state.of(tenant_id)
        old = [k.kid for k in tables.keys.values() if k.state == "previous" and k.state_changed_at < older_than]
        for kid in old:
            del tables.keys[kid]
            self._announce(tenant_id, "signing_key", kid)
        if old:
            tables.write([event])
        return len(old)

    async def list_tenants(self, *, after: str | None = None, limit: int = 100) -> Sequence[TenantRecord]:
        records = sorted((tables.tenant for tables in self._state.tenants.values()), key=lambda record: record.name)
        return [record for record in records if after is None or record.name > after][:limit]

    async def create_tenant(self, tenant: TenantRecord, *, events: Sequence[AuditEvent]) -> None:
        if await self.find_tenant(tenant.name) is not None or tenant.tenant_id in self._state.tenants:
            raise Conflict("tenant")
        self._state.tenants[tenant.tenant_id] = Tables(tenant)
        self._state.of(tenant.tenant_id).write(events)
        self._announce(tenant.tenant_id, "tenant", tenant.name)

    async def update_tenant(self, tenant_id: TenantId, policy: TenantPolicy, *, events: Sequence[AuditEvent]) -> None:
        tables = self._state.of(tenant_id)
        tables.tenant = replace(tables.tenant, policy=policy)
        tables.write(events)
        self._announce(tenant_id, "tenant", tables.tenant.name)

    async def list_clients(self, tenant_id: TenantId) -> Sequence[Client]:
        return await MemoryTenantReads(self._state, tenant_id).list_clients()

    async def put_client(self, tenant_id: TenantId, client: Client, *, events: Sequence[AuditEvent]) -> None:
        tables = self._state.of(tenant_id)
        tables.clients[client.client_id] = client
        tables.write(events)
        self._announce(tenant_id, "client", client.client_id)

    async def delete_client(self, tenant_id: TenantId, client_id: str, *, events: Sequence[AuditEvent]) -> bool:
        tables = self._state.of(tenant_id)
        if tables.clients.pop(client_id, None) is None:
            return False
        tables.forget_grants(client_id=client_id)
        tables.consents = {key: value for key, value in tables.consents.items() if key[1] != client_id}
        tables.interactions = {d: i for d, i in tables.interactions.items() if i.client_id != client_id}
        tables.write(events)
        self._announce(tenant_id, "client", client_id)
        return True

    async def list_roles(self, tenant_id: TenantId) -> Sequence[Role]:
        return await MemoryTenantReads(self._state, tenant_id).list_roles()

    async def put_role(self, tenant_id: TenantId, role: Role, *, events: Sequence[AuditEvent]) -> None:
        tables = self._state.of(tenant_id)
        tables.roles[role.name] = role
        tables.write(events)

    async def delete_role(self, tenant_id: TenantId, name: str, *, events: Sequence[AuditEvent]) -> bool:
        tables = self._state.of(tenant_id)
        if tables.roles.pop(name, None) is None:
            return False
        tables.write(events)
        return True

    async def list_users(
        self, tenant_id: TenantId, *, after: str | None = None, limit: int = 100
    ) -> Sequence[PasswordRecord]:
        return await MemoryTenantReads(self._state, tenant_id).list_users(after=after, limit=limit)

    async def put_user(
        self, tenant_id: TenantId, user_id: UserId, desired: DesiredUser, *, events: Sequence[AuditEvent]
    ) -> None:
        tables = self._state.of(tenant_id)
        existing = _account_named(tables, desired.username)
        claims: Mapping[str, Any] = dict(desired.claims)
        if existing is not None:
            user_id = existing.user.user_id
        elif user_id in tables.accounts:
            raise Conflict("account")
        user = User(user_id, desired.username, claims, tuple(desired.roles), desired.disabled, self._clock())
        kept = existing.password_hash if existing is not None else None
        tables.accounts[user_id] = Account(user, desired.password_hash or kept)
        if existing is not None and desired.locks_out(kept, disabled=existing.user.disabled):
            tables.lock_out(user_id, self._clock())
        tables.write(events)

    async def delete_user(self, tenant_id: TenantId, username: str, *, events: Sequence[AuditEvent]) -> bool:
        tables = self._state.of(tenant_id)
        account = _account_named(tables, username)
        if account is None:
            return False
        user_id = account.user.user_id
        del tables.accounts[user_id]
        tables.forget_grants(user_id=user_id)
        tables.sessions = {d: s for d, s in tables.sessions.items() if s.user_id != user_id}
        tables.consents = {key: value for key, value in tables.consents.items() if key[0] != user_id}
        tables.write(events)
        return True

    async def write_events(self, events: Sequence[tuple[TenantId, AuditEvent]]) -> None:
        for tenant_id, event in events:
            self._state.of(tenant_id).write([event])

    async def read_events(
        self, tenant_id: TenantId, *, limit: int, before: str | None = None, type_prefix: str | None = None
    ) -> Sequence[AuditEvent]:
        tables = self._state.seen_by(tenant_id)
        newest = sorted(tables.events.values(), key=lambda event: event.event_id, reverse=True) if tables else []
        wanted = (
            event
            for event in newest
            if (before is None or event.event_id < before) and event.type.startswith(type_prefix or "")
        )
        return list(islice(wanted, limit))


def _account_named(tables: Tables, username: str) -> Account | None:
    wanted = normalize_username(username)
    return next((account for account in tables.accounts.values() if account.username_norm == wanted), None)
