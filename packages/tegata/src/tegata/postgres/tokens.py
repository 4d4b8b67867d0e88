"""Refresh tokens, opaque access tokens, revocation, and the single use of assertions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256

from tegata.identifiers import Digest, GrantId, TenantId, UserId
from tegata.postgres.engine import Database, Row
from tegata.postgres.rows import events_json, from_json, grant_from, user_from
from tegata.storage.records import (
    AuditEvent,
    FoundRefreshToken,
    FoundToken,
    NewRefreshToken,
    OpaqueTokenRecord,
    RotatedRefreshToken,
)

_STORE = "select tegata.store_tokens($1, $2, $3, $4, $5, $6, $7, $8)"
_ROTATE = "select * from tegata.rotate_refresh_token($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
_FIND_OPAQUE = "select * from tegata.find_opaque_token($1, $2, $3)"
_FIND_STATE = "select * from tegata.find_token_state($1, $2, $3)"
_FIND_REFRESH = "select * from tegata.find_refresh_token($1, $2, $3, $4)"
_REVOKE_REFRESH = "select tegata.revoke_refresh_token($1, $2, $3, $4, $5)"
_REVOKE_OPAQUE = "select tegata.revoke_opaque_token($1, $2, $3, $4)"
_REVOKE_ID = "select tegata.revoke_token_id($1, $2, $3, $4)"
_REVOKE_GRANT = "select tegata.revoke_grant($1, $2, $3, $4)"
_TAKE_ASSERTION = "select tegata.take_assertion_id($1, $2, $3)"


class PostgresTokens:
    """Implements `storage.ports.Tokens` and `storage.ports.Assertions`."""

    _database: Database

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
        stored: bool = await self._database.value(
            _STORE,
            tenant_id,
            grant_id,
            now,
            refresh.digest if refresh else None,
            refresh.expires_at if refresh else None,
            _opaque_json(opaque) if opaque else None,
            opaque.digest if opaque else None,
            events_json(events),
        )
        return stored

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
        row = await self._database.row(
            _ROTATE,
            tenant_id,
            presented,
            client_id,
            successor.digest,
            successor.expires_at,
            sealed_successor,
            scopes,
            resources,
            grace_seconds,
            now,
            events_json([issued_event]),
            events_json([reuse_event]),
        )
        assert row is not None
        if row["grant_id"] is None:
            return RotatedRefreshToken(row["outcome"])
        return RotatedRefreshToken(row["outcome"], grant_from(row), user_from(row), row["sealed_successor"])

    async def find_opaque_token(self, tenant_id: TenantId, digest: Digest, *, now: float) -> FoundToken | None:
        row = await self._database.row(_FIND_OPAQUE, tenant_id, digest, now)
        if row is None:
            return None
        user = user_from(row) if row["user_username"] is not None else None
        grant = grant_from(row) if row["grant_id"] is not None else None
        return FoundToken(row["active"], _opaque_from(digest, row), grant, user)

    async def find_token_state(self, tenant_id: TenantId, *, token_id: str, grant_id: GrantId | None) -> FoundToken:
        row = await self._database.row(_FIND_STATE, tenant_id, token_id, grant_id)
        assert row is not None
        if row["grant_id"] is None:
            return FoundToken(row["active"])
        return FoundToken(row["active"], None, grant_from(row), user_from(row))

    async def find_refresh_token(
        self, tenant_id: TenantId, digest: Digest, *, grace_seconds: int, now: float
    ) -> FoundRefreshToken | None:
        row = await self._database.row(_FIND_REFRESH, tenant_id, digest, grace_seconds, now)
        if row is None:
            return None
        return FoundRefreshToken(row["active"], grant_from(row), row["issued_at"], row["expires_at"], row["username"])

    async def revoke_refresh_token(
        self, tenant_id: TenantId, digest: Digest, *, client_id: str, now: float, event: AuditEvent
    ) -> bool:
        found: bool = await self._database.value(
            _REVOKE_REFRESH, tenant_id, digest, client_id, now, events_json([event])
        )
        return found

    async def revoke_opaque_token(
        self, tenant_id: TenantId, digest: Digest, *, client_id: str, now: float, event: AuditEvent
    ) -> bool:
        found: bool = await self._database.value(_REVOKE_OPAQUE, tenant_id, digest, client_id, events_json([event]))
        return found

    async def revoke_token_id(
        self, tenant_id: TenantId, token_id: str, *, expires_at: float, event: AuditEvent
    ) -> None:
        await self._database.value(_REVOKE_ID, tenant_id, token_id, expires_at, events_json([event]))

    async def revoke_grant(self, tenant_id: TenantId, grant_id: GrantId, *, now: float, event: AuditEvent) -> None:
        await self._database.value(_REVOKE_GRANT, tenant_id, grant_id, now, events_json([event]))

    async def take_assertion_id(self, tenant_id: TenantId, *, client_id: str, jti: str, expires_at: float) -> bool:
        # NUL cannot be part of a client id, so the pair has one reading.
        digest = sha256(f"{client_id}\0{jti}".encode("utf-8", "surrogatepass")).digest()
        taken: bool = await self._database.value(_TAKE_ASSERTION, tenant_id, digest, expires_at)
        return taken


def _opaque_json(token: OpaqueTokenRecord) -> str:
    return json.dumps(
        {
            "token_id": token.token_id,
            "client_id": token.client_id,
            "grant_id": str(token.grant_id) if token.grant_id else None,
            "user_id": str(token.user_id) if token.user_id else None,
            "subject": token.subject,
            "scopes": token.scopes,
            "audience": token.audience,
            "claims": dict(token.claims),
            "issued_at": token.issued_at,
            "expires_at": token.expires_at,
        }
    )


def _opaque_from(digest: Digest, row: Row) -> OpaqueTokenRecord:
    grant_id, user_id = row["token_grant_id"], row["token_user_id"]
    return OpaqueTokenRecord(
        digest,
        row["token_id"],
        row["token_client_id"],
        GrantId(grant_id) if grant_id is not None else None,
        UserId(user_id) if user_id is not None else None,
        row["subject"],
        tuple(row["token_scopes"]),
        tuple(row["audience"]),
        from_json(row["token_claims"]),
        row["issued_at"],
        row["expires_at"],
    )
