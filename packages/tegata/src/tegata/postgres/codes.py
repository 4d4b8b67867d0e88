"""Authorization codes and the grants they begin."""

from __future__ import annotations

from collections.abc import Sequence

from tegata.identifiers import Digest, TenantId
from tegata.postgres.engine import Database
from tegata.postgres.rows import events_json, grant_from, to_json, user_from
from tegata.storage.records import AuditEvent, CodeRecord, TakenCode

_STORE = (
    "select tegata.store_code($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,"
    " $20, $21)"
)
_TAKE = "select * from tegata.take_code($1, $2, $3, $4, $5)"


class PostgresCodes:
    """Implements `storage.ports.Codes`."""

    _database: Database

    async def store_code(
        self, tenant_id: TenantId, code: CodeRecord, *, interaction: Digest | None, events: Sequence[AuditEvent]
    ) -> bool:
        grant = code.grant
        stored: bool = await self._database.value(
            _STORE,
            tenant_id,
            interaction,
            code.digest,
            code.redirect_uri,
            code.redirect_uri_was_sent,
            code.code_challenge,
            code.expires_at,
            grant.grant_id,
            grant.client_id,
            grant.user_id,
            grant.session_id,
            grant.scopes,
            grant.resources,
            to_json(grant.claims),
            grant.auth_time,
            grant.amr,
            grant.acr,
            grant.nonce,
            grant.offline,
            grant.created_at,
            events_json(events),
        )
        return stored

    async def take_code(
        self, tenant_id: TenantId, digest: Digest, *, client_id: str, now: float, replay_event: AuditEvent
    ) -> TakenCode:
        row = await self._database.row(_TAKE, tenant_id, digest, client_id, now, events_json([replay_event]))
        assert row is not None
        if row["outcome"] != "taken":
            return TakenCode(row["outcome"])
        code = CodeRecord(
            digest,
            grant_from(row),
            row["redirect_uri"],
            row["redirect_uri_was_sent"],
            row["code_challenge"],
            row["expires_at"],
        )
        return TakenCode("taken", code, user_from(row))
