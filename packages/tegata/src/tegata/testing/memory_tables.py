"""The rows of `MemoryStorage`, by tenant. One dictionary for each table, so that a tenant cannot see another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tegata.identifiers import Digest, GrantId, SessionId, TenantId, UserId
from tegata.identity.account import Role, User, normalize_username
from tegata.identity.session import Session
from tegata.protocol.client import Client
from tegata.storage.errors import Conflict
from tegata.storage.records import (
    AuditEvent,
    CodeRecord,
    ConsentRecord,
    GrantRecord,
    InteractionRecord,
    OpaqueTokenRecord,
    SigningKeyRecord,
    TenantRecord,
)


@dataclass(slots=True)
class Account:
    """A user with what only sign-in sees."""

    user: User
    password_hash: str | None = field(repr=False)

    @property
    def username_norm(self) -> str:
        return normalize_username(self.user.username)

    @property
    def login_email(self) -> str | None:
        """The address that may be used to sign in: the verified one."""
        return login_email(self.user.claims)


def login_email(claims: object) -> str | None:
    """Return the normalised e-mail address among `claims` if it is verified."""
    if not isinstance(claims, dict) or claims.get("email_verified") is not True:
        return None
    address = claims.get("email")
    return normalize_username(address) if isinstance(address, str) else None


@dataclass(slots=True)
class Family:
    """A grant and the state of its refresh tokens."""

    grant: GrantRecord
    expires_at: float
    revoked_at: float | None = None
    generation: int = 0
    rotated_at: float = 0.0
    sealed_current: bytes | None = field(default=None, repr=False)


@dataclass(slots=True)
class Code:
    """An authorization code and whether it was taken."""

    record: CodeRecord
    taken: bool = False


@dataclass(slots=True)
class RefreshToken:
    """One generation of a family."""

    grant_id: GrantId
    generation: int
    issued_at: float
    expires_at: float


@dataclass(slots=True)
class Failures:
    """One throttle bucket."""

    failures: int
    last_failure_at: float
    failure_before_at: float


@dataclass(slots=True)
class Tables:
    """Everything of one tenant."""

    tenant: TenantRecord
    clients: dict[str, Client] = field(default_factory=dict)
    keys: dict[str, SigningKeyRecord] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    accounts: dict[UserId, Account] = field(default_factory=dict)
    sessions: dict[Digest, Session] = field(default_factory=dict)
    consents: dict[tuple[UserId, str], ConsentRecord] = field(default_factory=dict)
    families: dict[GrantId, Family] = field(default_factory=dict)
    codes: dict[Digest, Code] = field(default_factory=dict)
    refresh_tokens: dict[Digest, RefreshToken] = field(default_factory=dict)
    opaque_tokens: dict[Digest, OpaqueTokenRecord] = field(default_factory=dict)
    revoked_tokens: dict[str, float] = field(default_factory=dict)
    interactions: dict[Digest, InteractionRecord] = field(default_factory=dict)
    assertions: dict[tuple[str, str], float] = field(default_factory=dict)
    throttles: dict[bytes, Failures] = field(default_factory=dict)
    events: dict[str, AuditEvent] = field(default_factory=dict)

    def user(self, user_id: UserId) -> User:
        """Return the user; PostgreSQL's foreign keys promise that there is one."""
        return self.accounts[user_id].user

    def is_disabled(self, user_id: UserId | None) -> bool:
        return user_id is not None and (user_id not in self.accounts or self.user(user_id).disabled)

    def write(self, events: Sequence[AuditEvent]) -> None:
        """Append events of an act that has succeeded."""
        for event in events:
            self.events[event.event_id] = event

    def session_by_id(self, session_id: SessionId) -> Digest | None:
        for digest, session in self.sessions.items():
            if session.session_id == session_id:
                return digest
        return None

    def revoke_of_session(self, session_id: SessionId, now: float) -> bool:
        """Revoke the living grants of a session, except offline ones; say whether there was one."""
        found = False
        for family in self.families.values():
            of_session = family.grant.session_id == session_id and not family.grant.offline
            if of_session and family.revoked_at is None:
                family.revoked_at, found = now, True
        return found

    def lock_out(self, user_id: UserId, now: float) -> None:
        """End the sessions of a user and revoke their grants."""
        self.sessions = {d: s for d, s in self.sessions.items() if s.user_id != user_id}
        for family in self.families.values():
            if family.grant.user_id == user_id and family.revoked_at is None:
                family.revoked_at = now

    def forget_grants(self, *, user_id: UserId | None = None, client_id: str | None = None) -> None:
        """Remove grants with everything issued from them: what PostgreSQL's cascades do."""
        gone = {
            grant_id
            for grant_id, family in self.families.items()
            if family.grant.user_id == user_id or family.grant.client_id == client_id
        }
        for grant_id in gone:
            del self.families[grant_id]
        self.codes = {d: c for d, c in self.codes.items() if c.record.grant.grant_id not in gone}
        self.refresh_tokens = {d: t for d, t in self.refresh_tokens.items() if t.grant_id not in gone}
        self.opaque_tokens = {
            d: t for d, t in self.opaque_tokens.items() if t.grant_id not in gone and t.client_id != client_id
        }


class State:
    """All tenants, and the look-up that finds one."""

    def __init__(self) -> None:
        self.tenants: dict[TenantId, Tables] = {}

    def of(self, tenant_id: TenantId) -> Tables:
        """Return a tenant's tables; `Conflict` where PostgreSQL would miss the row a foreign key needs."""
        try:
            return self.tenants[tenant_id]
        except KeyError:
            raise Conflict("tenant") from None

    def seen_by(self, tenant_id: TenantId) -> Tables | None:
        """Return a tenant's tables for reading: an unknown tenant has no rows."""
        return self.tenants.get(tenant_id)
