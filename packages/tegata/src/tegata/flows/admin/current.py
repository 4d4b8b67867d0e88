"""What is stored about the tenants that documents name: the right side of a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tegata.identity.account import Role, normalize_username
from tegata.protocol.client import Client
from tegata.storage.ports import OperatorStorage
from tegata.storage.records import PasswordRecord, SigningKeyRecord, TenantRecord

_PAGE = 500


@dataclass(frozen=True, slots=True)
class CurrentTenant:
    """One stored tenant. Users are found by their normalised username."""

    record: TenantRecord
    keys: tuple[SigningKeyRecord, ...] = ()
    clients: Mapping[str, Client] = field(default_factory=dict)
    roles: Mapping[str, Role] = field(default_factory=dict)
    users: Mapping[str, PasswordRecord] = field(default_factory=dict)


async def read_current(storage: OperatorStorage, names: Iterable[str]) -> dict[str, CurrentTenant]:
    """Return the stored tenants of these names; those that do not exist are left out."""
    found = {}
    for name in names:
        record = await storage.find_tenant(name)
        if record is not None:
            found[name] = await _read(storage, record)
    return found


async def _read(storage: OperatorStorage, record: TenantRecord) -> CurrentTenant:
    """Lists come from a replica if `storage` has one: who is going to change something gives one that has none."""
    reads = await storage.tenant_readonly(record.tenant_id)
    users: dict[str, PasswordRecord] = {}
    after: str | None = None
    while page := await reads.list_users(after=after, limit=_PAGE):
        users.update((normalize_username(found.user.username), found) for found in page)
        after = page[-1].user.username
    return CurrentTenant(
        record,
        tuple(await storage.signing_keys(record.tenant_id)),
        {client.client_id: client for client in await reads.list_clients()},
        {role.name: role for role in await reads.list_roles()},
        users,
    )
