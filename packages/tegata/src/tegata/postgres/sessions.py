"""Browser sessions, consent, and authorization requests that wait for pages."""

from __future__ import annotations

from collections.abc import Sequence

from tegata.identifiers import Digest, SessionId, TenantId, UserId
from tegata.identity.session import Session
from tegata.postgres.engine import Database, Row
from tegata.postgres.rows import events_json, from_json, to_json, user_from
from tegata.storage.records import AuditEvent, ConsentRecord, FoundSession, InteractionRecord

_FIND = "select * from tegata.find_session($1, $2, $3, $4, $5)"
_START = "select tegata.start_session($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
_END = "select tegata.end_session($1, $2, $3, $4)"
_CONSENT = "select tegata.store_consent($1, $2, $3, $4, $5, $6, $7, $8)"
_STORE_INTERACTION = "select tegata.store_interaction($1, $2, $3, $4, $5, $6)"
_FIND_INTERACTION = "select * from tegata.find_interaction($1, $2, $3)"
_DROP_INTERACTION = "select tegata.drop_interaction($1, $2, $3)"


class PostgresSessions:
    """Implements `storage.ports.Sessions` and `storage.ports.Interactions`."""

    _database: Database

    async def find_session(
        self, tenant_id: TenantId, digest: Digest, *, client_id: str | None, idle_seconds: int, now: float
    ) -> FoundSession | None:
        row = await self._database.row(_FIND, tenant_id, digest, client_id, idle_seconds, now)
        if row is None:
            return None
        session = Session(
            SessionId(row["session_id"]),
            UserId(row["user_id"]),
            row["auth_time"],
            tuple(row["amr"]),
            row["acr"],
            row["created_at"],
            row["last_seen_at"],
            row["expires_at"],
        )
        return FoundSession(session, user_from(row), _consent_from(row, client_id))

    async def start_session(
        self,
        tenant_id: TenantId,
        digest: Digest,
        session: Session,
        *,
        replaces: Digest | None,
        events: Sequence[AuditEvent],
    ) -> None:
        await self._database.value(
            _START,
            tenant_id,
            digest,
            session.session_id,
            session.user_id,
            session.auth_time,
            session.amr,
            session.acr,
            session.created_at,
            session.last_seen_at,
            session.expires_at,
            replaces,
            events_json(events),
        )

    async def end_session(self, tenant_id: TenantId, session_id: SessionId, *, now: float, event: AuditEvent) -> None:
        await self._database.value(_END, tenant_id, session_id, now, events_json([event]))

    async def store_consent(self, tenant_id: TenantId, consent: ConsentRecord, *, events: Sequence[AuditEvent]) -> None:
        await self._database.value(
            _CONSENT,
            tenant_id,
            consent.user_id,
            consent.client_id,
            sorted(consent.scopes),
            sorted(consent.claims),
            sorted(consent.resources),
            consent.granted_at,
            events_json(events),
        )

    async def store_interaction(self, tenant_id: TenantId, interaction: InteractionRecord) -> None:
        await self._database.value(
            _STORE_INTERACTION,
            tenant_id,
            interaction.digest,
            interaction.client_id,
            to_json(interaction.parameters),
            interaction.created_at,
            interaction.expires_at,
        )

    async def find_interaction(self, tenant_id: TenantId, digest: Digest, *, now: float) -> InteractionRecord | None:
        row = await self._database.row(_FIND_INTERACTION, tenant_id, digest, now)
        if row is None:
            return None
        return InteractionRecord(
            digest, row["client_id"], from_json(row["parameters"]), row["created_at"], row["expires_at"]
        )

    async def drop_interaction(self, tenant_id: TenantId, digest: Digest, *, events: Sequence[AuditEvent] = ()) -> bool:
        dropped: bool = await self._database.value(_DROP_INTERACTION, tenant_id, digest, events_json(events))
        return dropped


def _consent_from(row: Row, client_id: str | None) -> ConsentRecord | None:
    if client_id is None or row["consent_scopes"] is None:
        return None
    return ConsentRecord(
        UserId(row["user_id"]),
        client_id,
        frozenset(row["consent_scopes"]),
        frozenset(row["consent_claims"]),
        frozenset(row["consent_resources"]),
        row["consent_granted_at"],
    )
