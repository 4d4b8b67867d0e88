"""Two tenants with the same names in them, and records made for them: what tests of storage begin with."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

import uuid_utils

from tegata.identifiers import Digest, GrantId, SessionId, TenantId, UserId
from tegata.identity.session import Session
from tegata.protocol.client import Client, ClientMetadata, ClientSecret
from tegata.protocol.policy import TenantPolicy
from tegata.storage.ports import OperatorStorage, Storage
from tegata.storage.records import (
    AuditEvent,
    CodeRecord,
    DesiredUser,
    GrantRecord,
    InteractionRecord,
    NewRefreshToken,
    OpaqueTokenRecord,
    TenantRecord,
)

NOW = 1_800_000_000.0


def new_digest() -> Digest:
    """A digest nobody has used."""
    return Digest(secrets.token_bytes(32))


def event(type_: str, *, at: float = NOW, reason: str | None = None) -> AuditEvent:
    """An audit event of this type."""
    return AuditEvent(str(uuid_utils.uuid7()), at, type_, "success", reason=reason, details={"count": 1})


@dataclass(frozen=True, slots=True)
class Inhabited:
    """One tenant with two clients, `web` and `other`, and one user, `taro`."""

    tenant_id: TenantId
    name: str
    user_id: UserId

    def grant(
        self, *, client_id: str = "web", session_id: SessionId | None = None, offline: bool = False
    ) -> GrantRecord:
        """A grant of the user to a client."""
        return GrantRecord(
            GrantId(uuid4()),
            client_id,
            self.user_id,
            session_id,
            ("openid", "read", "write"),
            ("https://api.example",),
            {"userinfo": {"email": None}},
            int(NOW) - 10,
            ("pwd",),
            "urn:tegata:pwd",
            "n-0S6",
            offline,
            NOW,
        )

    def code(self, grant: GrantRecord | None = None, *, expires_at: float = NOW + 60) -> CodeRecord:
        """A code for a grant."""
        return CodeRecord(new_digest(), grant or self.grant(), "https://app.example/cb", True, "challenge", expires_at)

    def session(self, user_id: UserId | None = None) -> Session:
        """A fresh session of the user."""
        start = int(NOW)
        return Session(
            SessionId(uuid4()), user_id or self.user_id, start, ("pwd",), "urn:tegata:pwd", NOW, NOW, NOW + 3600
        )

    def interaction(self) -> InteractionRecord:
        """An authorization request that waits."""
        return InteractionRecord(new_digest(), "web", {"scope": "openid", "名": "値"}, NOW, NOW + 600)

    def opaque(self, grant: GrantRecord | None = None) -> OpaqueTokenRecord:
        """An opaque access token of a grant, or of the client itself."""
        return OpaqueTokenRecord(
            new_digest(),
            secrets.token_hex(8),
            "web",
            grant.grant_id if grant else None,
            grant.user_id if grant else None,
            str(grant.user_id) if grant else "web",
            ("read",),
            ("https://api.example",),
            {"roles": ["viewer"]},
            int(NOW),
            int(NOW) + 3600,
        )


async def inhabit(operator: OperatorStorage) -> Inhabited:
    """Make a tenant of a name nobody has used, with its clients and its user."""
    tenant_id, name = TenantId(uuid4()), f"t-{secrets.token_hex(6)}"
    record = TenantRecord(tenant_id, name, TenantPolicy(display_name="醸造"), secrets.token_bytes(32))
    await operator.create_tenant(record, events=[event("tenant.created")])
    for client_id in ("web", "other"):
        await operator.put_client(
            tenant_id,
            Client(client_id, ClientMetadata(client_name=client_id), (ClientSecret(secrets.token_bytes(32)),)),
            events=[],
        )
    user_id = UserId(uuid4())
    await operator.put_user(tenant_id, user_id, DesiredUser("taro", {"name": "山田 太郎"}, ("viewer",)), events=[])
    return Inhabited(tenant_id, name, user_id)


@dataclass(frozen=True, slots=True)
class World:
    """A storage seen from both sides, with two tenants in it."""

    storage: Storage  # what the request path has
    operator: OperatorStorage  # what the command line has
    here: Inhabited
    there: Inhabited

    async def issued(self, *, offline: bool = False, session_id: SessionId | None = None) -> tuple[GrantRecord, Digest]:
        """A grant at `here` with its first refresh token."""
        grant = self.here.grant(offline=offline, session_id=session_id)
        code = self.here.code(grant)
        await self.storage.store_code(self.here.tenant_id, code, interaction=None, events=[])
        await self.storage.take_code(
            self.here.tenant_id, code.digest, client_id="web", now=NOW, replay_event=event("code.replayed")
        )
        refresh = NewRefreshToken(new_digest(), NOW + 7 * 24 * 3600)
        kept = await self.storage.store_tokens(
            self.here.tenant_id, grant_id=grant.grant_id, refresh=refresh, opaque=None, now=NOW, events=[]
        )
        assert kept
        return grant, refresh.digest

    async def event_types(self, tenant: Inhabited | None = None) -> Sequence[str]:
        """The types of the events of a tenant, newest first."""
        events = await self.storage.read_events((tenant or self.here).tenant_id, limit=1000)
        return [found.type for found in events]
