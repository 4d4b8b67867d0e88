"""Carrying out a plan: each change is one transaction with its audit event, so a broken run is completed by the next.

Applying twice changes nothing the second time (pitfalls P100).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from tegata.crypto.envelope import Envelope
from tegata.crypto.passwords import hash_password
from tegata.flows.admin import keys
from tegata.flows.admin.current import CurrentTenant, read_current
from tegata.flows.admin.desired import DesiredTenant
from tegata.flows.admin.plan import AccountChange, Change, NewKey, Plan, plan
from tegata.identifiers import TenantId, UserId
from tegata.identity.account import Role
from tegata.protocol.client import Client
from tegata.protocol.policy import TenantPolicy
from tegata.storage.ports import OperatorStorage
from tegata.storage.records import AuditEvent, DesiredUser, TenantRecord
from tegata.telemetry import audit

SALT_BYTES = 32
_MAX_DETAIL_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Operator:
    """Who applies, and with what: storage as the maintenance role, the master key, the clock and new identifiers."""

    storage: OperatorStorage
    envelope: Envelope = field(repr=False)
    now: Callable[[], float] = time.time
    new_id: Callable[[], UUID] = uuid4

    def key_maker(self) -> keys.KeyMaker:
        """Return what makes this operator's signing keys."""
        return keys.KeyMaker(self.envelope, self.now)


async def plan_for(storage: OperatorStorage, desired: Sequence[DesiredTenant], *, prune: bool = False) -> Plan:
    """Read what is stored and compare. Raises `InvalidDocuments`."""
    current = await read_current(storage, [tenant.name for tenant in desired])
    return await asyncio.to_thread(plan, desired, current, prune=prune)


async def apply(operator: Operator, desired: Sequence[DesiredTenant], *, prune: bool = False) -> Plan:
    """Make the store what the documents say, and return what was done. Raises `InvalidDocuments` before any change."""
    current = await read_current(operator.storage, [tenant.name for tenant in desired])
    found = await asyncio.to_thread(plan, desired, current, prune=prune)
    await carry_out(operator, found, current)
    return found


async def carry_out(operator: Operator, wanted: Plan, current: dict[str, CurrentTenant]) -> None:
    """Make the changes of a plan.

    Raises `Conflict` if somebody else made the same thing in the meantime, `SealBroken` for another master key.
    """
    if any(change.kind == "SigningKey" for change in wanted.changes):
        await keys.check_master_key(operator.storage, operator.envelope)
    ids = {name: tenant.record.tenant_id for name, tenant in current.items()}
    for change in wanted.changes:
        if change.action == "unchanged":
            continue
        if change.kind == "Tenant" and change.action == "create":
            ids[change.tenant] = await _create_tenant(operator, change)
        elif change.action == "delete":
            await _delete(operator, ids[change.tenant], change)
        else:
            await _put(operator, ids[change.tenant], change)


async def _create_tenant(operator: Operator, change: Change) -> TenantId:
    assert isinstance(change.payload, TenantPolicy)
    tenant_id = TenantId(operator.new_id())
    record = TenantRecord(tenant_id, change.name, change.payload, secrets.token_bytes(SALT_BYTES))
    await operator.storage.create_tenant(record, events=_events(operator, change))
    return tenant_id


async def _put(operator: Operator, tenant_id: TenantId, change: Change) -> None:
    storage = operator.storage
    match change.payload:
        case TenantPolicy() as policy:
            await storage.update_tenant(tenant_id, policy, events=_events(operator, change))
        case NewKey(algorithm, state):
            await keys.add(storage, await operator.key_maker().make(tenant_id, algorithm, state), tenant_id)
        case Role() as role:
            await storage.put_role(tenant_id, role, events=_events(operator, change))
        case Client() as client:
            await storage.put_client(tenant_id, client, events=_events(operator, change))
        case AccountChange() as account:
            user = await _with_hash(account)
            user_id = UserId(operator.new_id())
            await storage.put_user(tenant_id, user_id, user, events=_events(operator, change))
        case None:
            raise AssertionError("a change without content is a deletion")


async def _with_hash(account: AccountChange) -> DesiredUser:
    hashed = None if account.password is None else await asyncio.to_thread(hash_password, account.password)
    return DesiredUser(account.username, account.claims, account.roles, account.disabled, hashed)


async def _delete(operator: Operator, tenant_id: TenantId, change: Change) -> None:
    delete = {
        "User": operator.storage.delete_user,
        "Client": operator.storage.delete_client,
        "Role": operator.storage.delete_role,
    }[change.kind]
    await delete(tenant_id, change.name, events=_events(operator, change))


def _events(operator: Operator, change: Change) -> list[AuditEvent]:
    """One event: what was done to which thing, and the names of the fields, never their values."""
    done = {"create": "created", "update": "updated", "delete": "deleted"}[change.action]
    details = {"name": change.name[:_MAX_DETAIL_CHARACTERS]}
    fields = ",".join(difference.field for difference in change.differences)
    if fields:
        details["fields"] = fields[:_MAX_DETAIL_CHARACTERS]
    return [
        audit.event(
            f"{change.kind.lower()}.{done}",
            now=operator.now(),
            origin=None,
            actor=keys.ACTOR,
            client_id=change.name if change.kind == "Client" else None,
            details=details,
        )
    ]
