"""Codes, tokens and assertions in memory. No method awaits, so each is atomic within one event loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tegata.identifiers import Digest, GrantId, TenantId
from tegata.storage.errors import Conflict
from tegata.storage.records import (
    AuditEvent,
    CodeRecord,
    FoundRefreshToken,
    FoundToken,
    NewRefreshToken,
    OpaqueTokenRecord,
    RotatedRefreshToken,
    TakenCode,
)
from tegata.testing.memory_tables import Code, Family, RefreshToken, State, Tables


class MemoryTokens:
    """Implements `Codes`, `Tokens` and `Assertions`."""

    _state: State

    async def store_code(
        self, tenant_id: TenantId, code: CodeRecord, *, interaction: Digest | None, events: Sequence[AuditEvent]
    ) -> bool:
        tables = self._state.of(tenant_id)
        if interaction is not None and interaction not in tables.interactions:
            return False
        session_id = code.grant.session_id
        if session_id is not None and tables.session_by_id(session_id) is None:
            return False
        if code.digest in tables.codes or code.grant.grant_id in tables.families:
            raise Conflict("authorization_code")
        if code.grant.client_id not in tables.clients or code.grant.user_id not in tables.accounts:
            raise Conflict("grant_record")
        if interaction is not None:
            del tables.interactions[interaction]
        tables.families[code.grant.grant_id] = Family(code.grant, code.expires_at)
        tables.codes[code.digest] = Code(code)
        tables.write(events)
        return True

    async def take_code(
        self, tenant_id: TenantId, digest: Digest, *, client_id: str, now: float, replay_event: AuditEvent
    ) -> TakenCode:
        tables = self._state.seen_by(tenant_id)
        code = tables.codes.get(digest) if tables else None
        if tables is None or code is None:
            return TakenCode("unknown")
        family = tables.families[code.record.grant.grant_id]
        if family.grant.client_id != client_id:
            return TakenCode("wrong_client")
        if code.taken:
            family.revoked_at = family.revoked_at or now
            tables.write([replay_event])
            return TakenCode("replayed")
        if family.revoked_at is not None:
            return TakenCode("revoked")
        if code.record.expires_at <= now:
            return TakenCode("expired")
        code.taken = True
        record = replace(code.record, grant=family.grant)
        return TakenCode("taken", record, tables.user(family.grant.user_id))

    async def store_tokens(
        self,
        tenant_id: TenantId,
        *,
        grant_id: GrantId | None,
        refresh: NewRefreshToken | None,
        opaque: OpaqueTokenRecord | None,
        now: float,
        events: Sequence[AuditEvent],
    ) -> bool:
        tables = self._state.of(tenant_id)
        family = tables.families.get(grant_id) if grant_id is not None else None
        if grant_id is not None and (family is None or family.revoked_at is not None):
            return False
        if family is not None and refresh is not None:
            family.generation += 1
            family.expires_at = max(family.expires_at, refresh.expires_at)
            tables.refresh_tokens[refresh.digest] = RefreshToken(
                family.grant.grant_id, family.generation, now, refresh.expires_at
            )
        if opaque is not None:
            tables.opaque_tokens[opaque.digest] = opaque
        tables.write(events)
        return True

    async def rotate_refresh_token(
        self,
        tenant_id: TenantId,
        presented: Digest,
        *,
        client_id: str,
        successor: NewRefreshToken,
        sealed_successor: bytes,
        scopes: Sequence[str] | None,
        resources: Sequence[str] | None,
        grace_seconds: int,
        now: float,
        issued_event: AuditEvent,
        reuse_event: AuditEvent,
    ) -> RotatedRefreshToken:
        tables = self._state.seen_by(tenant_id)
        token = tables.refresh_tokens.get(presented) if tables else None
        if tables is None or token is None:
            return RotatedRefreshToken("unknown")
        family = tables.families[token.grant_id]
        grant = family.grant
        if grant.client_id != client_id:
            return RotatedRefreshToken("wrong_client")
        if family.revoked_at is not None:
            return RotatedRefreshToken("revoked")
        if token.expires_at <= now:
            return RotatedRefreshToken("expired")
        if tables.is_disabled(grant.user_id):
            return RotatedRefreshToken("user_disabled")
        current = token.generation == family.generation
        if not current and not _is_graced_parent(token, family, grace_seconds, now):
            family.revoked_at = now
            tables.write([reuse_event])
            return RotatedRefreshToken("reused", grant, tables.user(grant.user_id))
        if scopes is not None and not set(scopes) <= set(grant.scopes):
            return RotatedRefreshToken("scope")
        if resources is not None and not set(resources) <= set(grant.resources):
            return RotatedRefreshToken("resource")
        tables.write([issued_event])
        if not current:
            return RotatedRefreshToken("repeated", grant, tables.user(grant.user_id), family.sealed_current)
        family.generation += 1
        family.rotated_at, family.sealed_current = now, sealed_successor
        family.expires_at = max(family.expires_at, successor.expires_at)
        tables.refresh_tokens[successor.digest] = RefreshToken(
            grant.grant_id, family.generation, now, successor.expires_at
        )
        return RotatedRefreshToken("rotated", grant, tables.user(grant.user_id))

    async def find_opaque_token(self, tenant_id: TenantId, digest: Digest, *, now: float) -> FoundToken | None:
        tables = self._state.seen_by(tenant_id)
        token = tables.opaque_tokens.get(digest) if tables else None
        if tables is None or token is None:
            return None
        family = tables.families[token.grant_id] if token.grant_id is not None else None
        active = now < token.expires_at and not tables.is_disabled(token.user_id)
        return FoundToken(
            active and (family is None or family.revoked_at is None),
            token,
            family.grant if family else None,
            tables.user(token.user_id) if token.user_id in tables.accounts else None,
        )

    async def find_token_state(self, tenant_id: TenantId, *, token_id: str, grant_id: GrantId | None) -> FoundToken:
        tables = self._state.seen_by(tenant_id)
        revoked = tables is not None and token_id in tables.revoked_tokens
        if grant_id is None:
            return FoundToken(not revoked)
        family = tables.families.get(grant_id) if tables else None
        if tables is None or family is None:
            return FoundToken(False)
        user = tables.user(family.grant.user_id)
        return FoundToken(
            not revoked and family.revoked_at is None and not user.disabled, grant=family.grant, user=user
        )

    async def find_refresh_token(
        self, tenant_id: TenantId, digest: Digest, *, grace_seconds: int, now: float
    ) -> FoundRefreshToken | None:
        tables = self._state.seen_by(tenant_id)
        token = tables.refresh_tokens.get(digest) if tables else None
        if tables is None or token is None:
            return None
        family = tables.families[token.grant_id]
        user = tables.user(family.grant.user_id)
        usable = token.generation == family.generation or _is_graced_parent(token, family, grace_seconds, now)
        alive = now < token.expires_at and family.revoked_at is None and not user.disabled
        return FoundRefreshToken(
            usable and alive, family.grant, int(token.issued_at), int(token.expires_at), user.username
        )

    async def revoke_refresh_token(
        self, tenant_id: TenantId, digest: Digest, *, client_id: str, now: float, event: AuditEvent
    ) -> bool:
        tables = self._state.seen_by(tenant_id)
        token = tables.refresh_tokens.get(digest) if tables else None
        if tables is None or token is None or tables.families[token.grant_id].grant.client_id != client_id:
            return False
        _revoke(tables, token.grant_id, now, event)
        return True

    async def revoke_opaque_token(
        self, tenant_id: TenantId, digest: Digest, *, client_id: str, now: float, event: AuditEvent
    ) -> bool:
        tables = self._state.seen_by(tenant_id)
        token = tables.opaque_tokens.get(digest) if tables else None
        if tables is None or token is None or token.client_id != client_id:
            return False
        del tables.opaque_tokens[digest]
        tables.write([event])
        return True

    async def revoke_token_id(
        self, tenant_id: TenantId, token_id: str, *, expires_at: float, event: AuditEvent
    ) -> None:
        tables = self._state.of(tenant_id)
        if token_id not in tables.revoked_tokens:
            tables.revoked_tokens[token_id] = expires_at
            tables.write([event])

    async def revoke_grant(self, tenant_id: TenantId, grant_id: GrantId, *, now: float, event: AuditEvent) -> None:
        tables = self._state.seen_by(tenant_id)
        if tables is not None:
            _revoke(tables, grant_id, now, event)

    async def take_assertion_id(self, tenant_id: TenantId, *, client_id: str, jti: str, expires_at: float) -> bool:
        tables = self._state.of(tenant_id)
        if (client_id, jti) in tables.assertions:
            return False
        tables.assertions[client_id, jti] = expires_at
        return True


def _is_graced_parent(token: RefreshToken, family: Family, grace_seconds: int, now: float) -> bool:
    return token.generation == family.generation - 1 and now <= family.rotated_at + grace_seconds


def _revoke(tables: Tables, grant_id: GrantId, now: float, event: AuditEvent) -> None:
    family = tables.families.get(grant_id)
    if family is not None and family.revoked_at is None:
        family.revoked_at = now
        tables.write([event])
