"""What applying documents would do: compared with what is stored, without doing it (pitfalls P100).

Documents that are not named stay untouched, and a document that changes nothing is "unchanged". Only pruning deletes,
and only within the tenants and kinds that the input names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from tegata.crypto.passwords import verify_password
from tegata.flows.admin.current import CurrentTenant
from tegata.flows.admin.desired import DesiredAccount, DesiredClient, DesiredTenant
from tegata.flows.admin.differences import Difference, as_document, differences
from tegata.flows.admin.problems import InvalidDocuments, Problem
from tegata.identity.account import Role, normalize_username
from tegata.protocol.client import Client, ClientSecret
from tegata.protocol.policy import SigningAlgorithm, TenantPolicy
from tegata.protocol.scopes import OPENID_SCOPES
from tegata.storage.records import KeyState, PasswordRecord

Action = Literal["create", "update", "delete", "unchanged"]
Kind = Literal["Tenant", "SigningKey", "Role", "Client", "User"]

_SECRET_METHODS = frozenset({"client_secret_basic", "client_secret_post"})


@dataclass(frozen=True, slots=True)
class NewKey:
    """A signing key that a tenant lacks."""

    algorithm: SigningAlgorithm
    state: KeyState


@dataclass(frozen=True, slots=True)
class AccountChange:
    """An account to write. `password` is set only if the stored hash does not fit it."""

    username: str
    claims: Mapping[str, object] = field(repr=False)
    roles: tuple[str, ...]
    disabled: bool
    password: str | None = field(default=None, repr=False)


Payload: TypeAlias = TenantPolicy | NewKey | Role | Client | AccountChange | None


@dataclass(frozen=True, slots=True)
class Change:
    """One thing and what would happen to it. `payload` is what would be written."""

    kind: Kind
    tenant: str
    name: str
    action: Action
    differences: tuple[Difference, ...] = ()
    payload: Payload = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """All changes in the order in which they are made."""

    changes: tuple[Change, ...]

    @property
    def is_empty(self) -> bool:
        """Whether applying would change nothing."""
        return all(change.action == "unchanged" for change in self.changes)

    def count(self, action: Action) -> int:
        """Return how many things would be created, updated and so on."""
        return sum(change.action == action for change in self.changes)


def plan(desired: Sequence[DesiredTenant], current: Mapping[str, CurrentTenant], *, prune: bool = False) -> Plan:
    """Compare. Order within a tenant: Tenant, its keys, Role, Client, User; deletions in reverse, at the end.

    Verifies passwords against argon2id hashes: tens of milliseconds for each. Raises `InvalidDocuments` for what only
    shows in comparison: an unknown tenant, role or scope, or a client without the secret it needs.
    """
    problems = [problem for tenant in desired for problem in _problems(tenant, current.get(tenant.name), prune=prune)]
    if problems:
        raise InvalidDocuments(problems)
    changes = [change for tenant in desired for change in _changes(tenant, current.get(tenant.name), prune=prune)]
    return Plan(tuple(changes))


def _changes(tenant: DesiredTenant, current: CurrentTenant | None, *, prune: bool) -> Iterator[Change]:
    if tenant.policy is not None:
        before = None if current is None else as_document(current.record.policy)
        yield _change(
            "Tenant", tenant.name, tenant.name, before=before, after=as_document(tenant.policy), payload=tenant.policy
        )
    yield from _missing_keys(tenant.name, current)
    for wanted in tenant.roles:
        stored = None if current is None else current.roles.get(wanted.role.name)
        before = None if stored is None else as_document(stored)
        yield _change(
            "Role", tenant.name, wanted.role.name, before=before, after=as_document(wanted.role), payload=wanted.role
        )
    for client in tenant.clients:
        yield _client(tenant.name, client, None if current is None else current.clients.get(client.client_id))
    for user in tenant.users:
        stored_user = None if current is None else current.users.get(normalize_username(user.username))
        yield _user(tenant.name, user, stored_user)
    if prune and current is not None:
        yield from _deletions(tenant, current)


def _change(kind: Kind, tenant: str, name: str, *, before: object, after: object, payload: Payload) -> Change:
    if before is None:
        return Change(kind, tenant, name, "create", (), payload)
    found = tuple(differences(before, after))
    return Change(kind, tenant, name, "update" if found else "unchanged", found, payload)


def _missing_keys(tenant: str, current: CurrentTenant | None) -> Iterator[Change]:
    """A tenant always has an active and a next key for each algorithm; an interrupted run is completed here."""
    present = set() if current is None else {(key.algorithm, key.state) for key in current.keys}
    for algorithm in get_args(SigningAlgorithm):
        for state in ("active", "next"):
            if (algorithm, state) not in present:
                yield Change("SigningKey", tenant, f"{algorithm} {state}", "create", (), NewKey(algorithm, state))


def _client(tenant: str, wanted: DesiredClient, stored: Client | None) -> Change:
    kept = () if stored is None else stored.secrets
    secrets = _secrets(wanted.secret_digests, kept)
    payload = Client(wanted.client_id, wanted.metadata, secrets)
    before = None if stored is None else as_document(stored.metadata)
    change = _change(
        "Client", tenant, wanted.client_id, before=before, after=as_document(wanted.metadata), payload=payload
    )
    if stored is None or secrets == kept:
        return change
    found = (*change.differences, Difference("secret_refs", secret=True))
    return Change("Client", tenant, wanted.client_id, "update", found, payload)


def _secrets(wanted: tuple[bytes, ...] | None, kept: tuple[ClientSecret, ...]) -> tuple[ClientSecret, ...]:
    if wanted is None or {secret.digest for secret in kept} == set(wanted):
        return kept
    known = {secret.digest: secret for secret in kept}
    return tuple(known.get(digest, ClientSecret(digest)) for digest in wanted)


def _user(tenant: str, wanted: DesiredAccount, stored: PasswordRecord | None) -> Change:
    password = wanted.password
    if stored is not None and password is not None and verify_password(stored.password_hash, password):
        password = None
    payload = AccountChange(wanted.username, wanted.claims, wanted.roles, wanted.disabled, password)
    after = _account_document(wanted.username, wanted.claims, wanted.roles, wanted.disabled)
    if stored is None:
        return Change("User", tenant, wanted.username, "create", (), payload)
    user = stored.user
    before = _account_document(user.username, user.claims, user.roles, user.disabled)
    found = tuple(differences(before, after))
    if password is not None:
        found = (*found, Difference("password_ref", secret=True))
    return Change("User", tenant, wanted.username, "update" if found else "unchanged", found, payload)


def _account_document(
    username: str, claims: Mapping[str, object], roles: Sequence[str], disabled: bool
) -> dict[str, object]:
    # Roles are a set; the store may keep them in another order.
    return {"username": username, "claims": as_document(claims), "roles": sorted(roles), "disabled": disabled}


def _deletions(tenant: DesiredTenant, current: CurrentTenant) -> Iterator[Change]:
    for kind, names in _unnamed(tenant, current).items():
        for name in names:
            yield Change(kind, tenant.name, name, "delete")


def _unnamed(tenant: DesiredTenant, current: CurrentTenant) -> dict[Kind, list[str]]:
    users = {normalize_username(user.username) for user in tenant.users}
    clients = {client.client_id for client in tenant.clients}
    roles = {wanted.role.name for wanted in tenant.roles}
    unnamed: dict[Kind, list[str]] = {
        "User": [found.user.username for name, found in current.users.items() if name not in users],
        "Client": [name for name in current.clients if name not in clients],
        "Role": [name for name in current.roles if name not in roles],
    }
    return {kind: names for kind, names in unnamed.items() if kind in tenant.kinds()}


def _problems(tenant: DesiredTenant, current: CurrentTenant | None, *, prune: bool) -> Iterator[Problem]:
    policy = tenant.policy or (None if current is None else current.record.policy)
    if policy is None:
        message = f"names the tenant {tenant.name}, which does not exist; add a document of kind Tenant"
        yield tenant.document.problem(("metadata", "tenant"), message)
        return
    known_scopes = {*OPENID_SCOPES, *(scope.name for scope in policy.scopes)}
    for client in tenant.clients:
        stored = None if current is None else current.clients.get(client.client_id)
        yield from _client_problems(client, stored, known_scopes)
    yield from _role_problems(tenant, current, prune=prune)


def _client_problems(client: DesiredClient, stored: Client | None, known_scopes: set[str]) -> Iterator[Problem]:
    for scope in (client.metadata.scope or "").split():
        if scope not in known_scopes:
            yield client.document.problem(("spec", "scope"), f"holds {scope}, which is not a scope of the tenant")
    method = client.metadata.token_endpoint_auth_method
    if method in _SECRET_METHODS and not _secrets(client.secret_digests, () if stored is None else stored.secrets):
        message = f"is needed: {method} needs a secret and none is stored; add for example secret_refs: [env:NAME]"
        yield client.document.problem(("spec", "secret_refs"), message)


def _role_problems(tenant: DesiredTenant, current: CurrentTenant | None, *, prune: bool) -> Iterator[Problem]:
    known = {wanted.role.name for wanted in tenant.roles}
    dropped: dict[Kind, list[str]] = {}
    if current is not None:
        dropped = _unnamed(tenant, current) if prune else {}
        known |= set(current.roles) - set(dropped.get("Role", ()))
    for user in tenant.users:
        for index, role in enumerate(user.roles):
            if role not in known:
                message = f"is {role}, which is not a role of the tenant; add a document of kind Role"
                yield user.document.problem(("spec", "roles", index), message)
    if current is None or "Role" not in dropped:
        return
    gone = {normalize_username(name) for name in dropped.get("User", ())}
    gone |= {normalize_username(user.username) for user in tenant.users}
    for name, found in current.users.items():
        held = set(found.user.roles) & set(dropped["Role"])
        if name not in gone and held:
            message = f"would prune the role {min(held)}, which the stored user {found.user.username} has"
            yield tenant.document.problem((), message)
