"""Sessions, interactions, accounts and throttles in memory. No method awaits, so each is atomic in one event loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tegata.identifiers import Digest, SessionId, TenantId, UserId
from tegata.identity.account import User, normalize_username
from tegata.identity.session import Session, is_alive
from tegata.identity.throttle import ThrottleBucket, ThrottleLimits, wait_seconds
from tegata.storage.errors import Conflict
from tegata.storage.records import AuditEvent, ConsentRecord, FoundSession, InteractionRecord, PasswordRecord
from tegata.testing.memory_tables import Failures, State

_SEEN_EVERY_SECONDS = 60


class MemoryPeople:
    """Implements `Sessions`, `Interactions`, `Accounts` and `Throttles`."""

    _state: State

    async def find_session(
        self, tenant_id: TenantId, digest: Digest, *, client_id: str | None, idle_seconds: int, now: float
    ) -> FoundSession | None:
        tables = self._state.seen_by(tenant_id)
        session = tables.sessions.get(digest) if tables else None
        if tables is None or session is None or not is_alive(session, idle_seconds=idle_seconds, now=now):
            return None
        if tables.is_disabled(session.user_id):
            return None
        if now - session.last_seen_at >= _SEEN_EVERY_SECONDS:
            tables.sessions[digest] = replace(session, last_seen_at=now)
        consent = tables.consents.get((session.user_id, client_id)) if client_id is not None else None
        return FoundSession(session, tables.user(session.user_id), consent)

    async def start_session(
        self,
        tenant_id: TenantId,
        digest: Digest,
        session: Session,
        *,
        replaces: Digest | None,
        events: Sequence[AuditEvent],
    ) -> None:
        tables = self._state.of(tenant_id)
        if digest in tables.sessions or session.user_id not in tables.accounts:
            raise Conflict("session")
        replaced = tables.sessions.pop(replaces, None) if replaces is not None else None
        tables.sessions[digest] = session
        if replaced is not None and replaced.user_id == session.user_id:
            for family in tables.families.values():
                if family.grant.session_id == replaced.session_id:
                    family.grant = replace(family.grant, session_id=session.session_id)
        elif replaced is not None:
            tables.revoke_of_session(replaced.session_id, session.created_at)
        tables.write(events)

    async def end_session(self, tenant_id: TenantId, session_id: SessionId, *, now: float, event: AuditEvent) -> None:
        tables = self._state.seen_by(tenant_id)
        if tables is None:
            return
        digest = tables.session_by_id(session_id)
        if digest is not None:
            del tables.sessions[digest]
        if tables.revoke_of_session(session_id, now) or digest is not None:
            tables.write([event])

    async def store_consent(self, tenant_id: TenantId, consent: ConsentRecord, *, events: Sequence[AuditEvent]) -> None:
        tables = self._state.of(tenant_id)
        if consent.user_id not in tables.accounts or consent.client_id not in tables.clients:
            raise Conflict("consent")
        key = (consent.user_id, consent.client_id)
        before = tables.consents.get(key)
        if before is not None:
            consent = replace(
                consent,
                scopes=before.scopes | consent.scopes,
                claims=before.claims | consent.claims,
                resources=before.resources | consent.resources,
            )
        tables.consents[key] = consent
        tables.write(events)

    async def store_interaction(self, tenant_id: TenantId, interaction: InteractionRecord) -> None:
        tables = self._state.of(tenant_id)
        if interaction.digest in tables.interactions or interaction.client_id not in tables.clients:
            raise Conflict("interaction")
        tables.interactions[interaction.digest] = interaction

    async def find_interaction(self, tenant_id: TenantId, digest: Digest, *, now: float) -> InteractionRecord | None:
        tables = self._state.seen_by(tenant_id)
        found = tables.interactions.get(digest) if tables else None
        return found if found is not None and now < found.expires_at else None

    async def drop_interaction(self, tenant_id: TenantId, digest: Digest, *, events: Sequence[AuditEvent] = ()) -> bool:
        tables = self._state.seen_by(tenant_id)
        if tables is None or tables.interactions.pop(digest, None) is None:
            return False
        tables.write(events)
        return True

    async def find_password(self, tenant_id: TenantId, login: str) -> PasswordRecord | None:
        tables = self._state.seen_by(tenant_id)
        wanted = normalize_username(login)
        accounts = list(tables.accounts.values()) if tables else []
        found = [account for account in accounts if account.username_norm == wanted]
        found = found or [account for account in accounts if account.login_email == wanted]
        return PasswordRecord(found[0].user, found[0].password_hash) if len(found) == 1 else None

    async def get_user(self, tenant_id: TenantId, user_id: UserId) -> User | None:
        tables = self._state.seen_by(tenant_id)
        return tables.user(user_id) if tables and user_id in tables.accounts else None

    async def update_password_hash(self, tenant_id: TenantId, user_id: UserId, *, old: str, new: str) -> None:
        tables = self._state.seen_by(tenant_id)
        account = tables.accounts.get(user_id) if tables is not None else None
        if account is not None and account.password_hash == old:
            account.password_hash = new

    async def count_attempt(
        self, tenant_id: TenantId, buckets: Sequence[ThrottleBucket], limits: ThrottleLimits, *, now: float
    ) -> float:
        tables = self._state.of(tenant_id)
        waits = [0.0]
        for bucket in buckets:
            found = tables.throttles.get(bucket.key)
            if found is not None and now - found.last_failure_at > limits.window_seconds:
                del tables.throttles[bucket.key]
            elif found is not None:
                waits.append(wait_seconds(found.failures, found.last_failure_at, bucket.free, limits, now=now))
        if max(waits) > 0:
            return max(waits)
        for key in {bucket.key for bucket in buckets}:
            before = tables.throttles.get(key)
            if before is None:
                tables.throttles[key] = Failures(1, now, now)
            else:
                tables.throttles[key] = Failures(before.failures + 1, now, before.last_failure_at)
        return 0.0

    async def clear_attempts(self, tenant_id: TenantId, keys: Sequence[bytes]) -> None:
        tables = self._state.seen_by(tenant_id)
        for key in keys if tables else ():
            assert tables is not None
            tables.throttles.pop(key, None)

    async def take_back_attempt(self, tenant_id: TenantId, keys: Sequence[bytes], *, now: float) -> None:
        tables = self._state.seen_by(tenant_id)
        for key in keys if tables else ():
            assert tables is not None
            found = tables.throttles.pop(key, None)
            if found is not None and found.failures > 1:
                last = found.failure_before_at if found.last_failure_at == now else found.last_failure_at
                tables.throttles[key] = Failures(found.failures - 1, last, found.failure_before_at)
