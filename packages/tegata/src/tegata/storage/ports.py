"""The ports of storage: narrow Protocols named after the acts of the domain, with their guarantees.

Every method is one transaction and takes the tenant first; there is no method that can run without one (the ports
`TenantDirectory`, `Provisioning` and `Retention` are the named exception). Hot acts are one round trip.
Another tenant's rows are never visible: a digest that exists under tenant B is unknown under tenant A.

Audit events given to a method are written in the same transaction as the act: a crash loses both or neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tegata.identifiers import Digest, GrantId, SessionId, TenantId, UserId
from tegata.identity.account import Role, User
from tegata.identity.session import Session
from tegata.identity.throttle import ThrottleBucket, ThrottleLimits
from tegata.protocol.client import Client
from tegata.protocol.policy import SigningAlgorithm, TenantPolicy
from tegata.storage.marked_reads import MarkedReads
from tegata.storage.records import (
    AuditEvent,
    CodeRecord,
    ConsentRecord,
    DesiredUser,
    FoundRefreshToken,
    FoundSession,
    FoundToken,
    InteractionRecord,
    NewRefreshToken,
    OpaqueTokenRecord,
    PasswordRecord,
    RotatedRefreshToken,
    SigningKeyRecord,
    TakenCode,
    TenantRecord,
)
from tegata.storage.retention import Retention


class TenantDirectory(Protocol):
    """Reads that happen before or right after the tenant is known; results are cached by the caller."""

    async def find_tenant(self, name: str) -> TenantRecord | None:
        """Return the tenant of this exact name: the one look-up that starts without a tenant."""
        ...

    async def find_client(self, tenant_id: TenantId, client_id: str) -> Client | None: ...

    async def signing_keys(self, tenant_id: TenantId) -> Sequence[SigningKeyRecord]:
        """Return all keys of the tenant, newest first."""
        ...


class Codes(Protocol):
    """Authorization codes (RFC 6749 §4.1)."""

    async def store_code(
        self, tenant_id: TenantId, code: CodeRecord, *, interaction: Digest | None, events: Sequence[AuditEvent]
    ) -> bool:
        """Keep the grant and its code. With `interaction`, remove that interaction in the same transaction.

        Returns False, and keeps nothing, if the interaction was already gone (of two tabs one gets a code), or the
        grant's session: a logout that commits before this wins, and one that commits after it finds the grant.
        """
        ...

    async def take_code(
        self, tenant_id: TenantId, digest: Digest, *, client_id: str, now: float, replay_event: AuditEvent
    ) -> TakenCode:
        """Take the code: exactly one of any number of concurrent calls gets "taken".

        A second take by the same client revokes the grant and all its tokens and writes `replay_event` (RFC 6749
        §4.1.2, RFC 9700 §4.5). A foreign client learns nothing and changes nothing.
        """
        ...


class Tokens(Protocol):
    """Refresh tokens, opaque access tokens and revocation."""

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
        """Keep what was issued. False, and nothing kept, if the grant has been revoked in the meantime."""
        ...

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
        """Rotate, under one row lock on the grant. See `RotatedRefreshToken` for the outcomes.

        Of 50 concurrent calls with one token, one is "rotated" and 49 are "repeated" (pitfalls P21 to P24).
        `issued_event` is written with "rotated" and "repeated", `reuse_event` with "reused".
        """
        ...

    async def find_opaque_token(self, tenant_id: TenantId, digest: Digest, *, now: float) -> FoundToken | None: ...

    async def find_token_state(self, tenant_id: TenantId, *, token_id: str, grant_id: GrantId | None) -> FoundToken:
        """Return the state behind a JWT access token: revoked by `token_id`, or its grant, or its user disabled.

        With a grant: the grant and the user. Without (client_credentials): only `active`.
        """
        ...

    async def find_refresh_token(
        self, tenant_id: TenantId, digest: Digest, *, grace_seconds: int, now: float
    ) -> FoundRefreshToken | None: ...

    async def revoke_refresh_token(
        self, tenant_id: TenantId, digest: Digest, *, client_id: str, now: float, event: AuditEvent
    ) -> bool:
        """Revoke the whole family of this token if it belongs to the client (RFC 7009 §2.1). False: not found."""
        ...

    async def revoke_opaque_token(
        self, tenant_id: TenantId, digest: Digest, *, client_id: str, now: float, event: AuditEvent
    ) -> bool:
        """Revoke one opaque access token if it belongs to the client. False: not found."""
        ...

    async def revoke_token_id(
        self, tenant_id: TenantId, token_id: str, *, expires_at: float, event: AuditEvent
    ) -> None:
        """Remember that the JWT access token with this `jti` is revoked until it would have ended."""
        ...

    async def revoke_grant(self, tenant_id: TenantId, grant_id: GrantId, *, now: float, event: AuditEvent) -> None: ...


class Assertions(Protocol):
    """Single use of client assertions (RFC 7523 §3, `jti`)."""

    async def take_assertion_id(self, tenant_id: TenantId, *, client_id: str, jti: str, expires_at: float) -> bool:
        """True for exactly one of any number of concurrent calls with the same client and `jti`."""
        ...


class Sessions(Protocol):
    """Browser sessions and consent."""

    async def find_session(
        self, tenant_id: TenantId, digest: Digest, *, client_id: str | None, idle_seconds: int, now: float
    ) -> FoundSession | None:
        """Return the living session of this cookie with user and consent for `client_id`, in one round trip.

        Writes `last_seen_at` at most once a minute. A disabled user has no session.
        """
        ...

    async def start_session(
        self,
        tenant_id: TenantId,
        digest: Digest,
        session: Session,
        *,
        replaces: Digest | None,
        events: Sequence[AuditEvent],
    ) -> None:
        """Keep a new session under a digest that has never been used (no session fixation).

        The one it `replaces` in this browser ends if it belongs to another user, and is superseded (its grants
        move to the new session) if it is the same user's.
        """
        ...

    async def end_session(self, tenant_id: TenantId, session_id: SessionId, *, now: float, event: AuditEvent) -> None:
        """End the session and revoke its grants, except offline ones (pitfalls P76)."""
        ...

    async def store_consent(self, tenant_id: TenantId, consent: ConsentRecord, *, events: Sequence[AuditEvent]) -> None:
        """Add to what the user has allowed this client (union with what is stored)."""
        ...


class Interactions(Protocol):
    """Stored authorization requests."""

    async def store_interaction(self, tenant_id: TenantId, interaction: InteractionRecord) -> None: ...

    async def find_interaction(self, tenant_id: TenantId, digest: Digest, *, now: float) -> InteractionRecord | None:
        """Return a living interaction. Looking does not consume it."""
        ...

    async def drop_interaction(self, tenant_id: TenantId, digest: Digest, *, events: Sequence[AuditEvent] = ()) -> bool:
        """Remove it; False if it was gone. Used when the answer is an error to the client."""
        ...


class Accounts(Protocol):
    """People."""

    async def find_password(self, tenant_id: TenantId, login: str) -> PasswordRecord | None:
        """Find an account by normalised username or, if it is unambiguous and verified, e-mail address."""
        ...

    async def get_user(self, tenant_id: TenantId, user_id: UserId) -> User | None: ...

    async def update_password_hash(self, tenant_id: TenantId, user_id: UserId, *, old: str, new: str) -> None:
        """Replace the hash `old`, and no other: a password that was set in the meantime stays."""
        ...


class Throttles(Protocol):
    """Failure counters. An attempt is counted before the check (pitfalls P71)."""

    async def count_attempt(
        self, tenant_id: TenantId, buckets: Sequence[ThrottleBucket], limits: ThrottleLimits, *, now: float
    ) -> float:
        """Return 0.0 after counting one attempt in every bucket, or the seconds to wait, counting nothing.

        Atomic under one lock for each bucket, taken in the order of their keys: of 1,000 parallel guesses exactly
        the free ones are let through. The rule is `identity.throttle.wait_seconds`; a bucket whose last attempt is
        older than `limits.window_seconds` starts again at zero. An attempt that has to wait is not counted, so
        that somebody who keeps guessing cannot keep the pause from ending.
        """
        ...

    async def clear_attempts(self, tenant_id: TenantId, keys: Sequence[bytes]) -> None: ...

    async def take_back_attempt(self, tenant_id: TenantId, keys: Sequence[bytes], *, now: float) -> None:
        """Undo the attempt that was counted with this `now`: it was no failure.

        Other failures stay, and a pause runs from the failure before it (unless another came after it).
        """
        ...


class AuditLog(Protocol):
    """Append-only security events."""

    async def write_events(self, events: Sequence[tuple[TenantId, AuditEvent]]) -> None:
        """Append events of any number of tenants, in few round trips (the batched path of stateless grants).

        An event that was kept before is left as it is, so that a write whose answer was lost can be repeated.
        """
        ...

    async def read_events(
        self, tenant_id: TenantId, *, limit: int, before: str | None = None, type_prefix: str | None = None
    ) -> Sequence[AuditEvent]:
        """Return the newest events first, keyset-paged by `event_id`."""
        ...


class Keys(Protocol):
    """Changes to signing keys. Reads are `TenantDirectory.signing_keys`."""

    async def add_key(self, tenant_id: TenantId, key: SigningKeyRecord, *, events: Sequence[AuditEvent]) -> None:
        """Keep a key. Raises `Conflict` if an active (or next) key of its algorithm exists already."""
        ...

    async def rotate_keys(
        self,
        tenant_id: TenantId,
        algorithm: SigningAlgorithm,
        new_next: SigningKeyRecord,
        *,
        now: float,
        event: AuditEvent,
        replacing: str | None = None,
    ) -> bool:
        """In one transaction: active becomes previous, next becomes active, `new_next` becomes next.

        Of two concurrent rotations one wins; the other returns False and changes nothing (`new_next` not kept). With
        `replacing`, only while that key is the active one, whatever the clocks of two machines say.
        """
        ...

    async def drop_previous_keys(self, tenant_id: TenantId, *, older_than: float, event: AuditEvent) -> int:
        """Remove previous keys whose state changed before `older_than`; return how many."""
        ...


class Provisioning(Protocol):
    """What an operator does to tenants and their contents. Runs as the maintenance role."""

    async def list_tenants(self, *, after: str | None = None, limit: int = 100) -> Sequence[TenantRecord]:
        """Return tenants by name, keyset-paged."""
        ...

    async def create_tenant(self, tenant: TenantRecord, *, events: Sequence[AuditEvent]) -> None:
        """Create it with directory entry. Raises `Conflict` if the name is taken."""
        ...

    async def update_tenant(
        self, tenant_id: TenantId, policy: TenantPolicy, *, events: Sequence[AuditEvent]
    ) -> None: ...

    async def list_clients(self, tenant_id: TenantId) -> Sequence[Client]: ...

    async def put_client(self, tenant_id: TenantId, client: Client, *, events: Sequence[AuditEvent]) -> None:
        """Create or replace a client, secrets included."""
        ...

    async def delete_client(self, tenant_id: TenantId, client_id: str, *, events: Sequence[AuditEvent]) -> bool: ...

    async def list_roles(self, tenant_id: TenantId) -> Sequence[Role]: ...

    async def put_role(self, tenant_id: TenantId, role: Role, *, events: Sequence[AuditEvent]) -> None: ...

    async def delete_role(self, tenant_id: TenantId, name: str, *, events: Sequence[AuditEvent]) -> bool: ...

    async def list_users(
        self, tenant_id: TenantId, *, after: str | None = None, limit: int = 100
    ) -> Sequence[PasswordRecord]:
        """Return accounts by username, keyset-paged."""
        ...

    async def put_user(
        self, tenant_id: TenantId, user_id: UserId, desired: DesiredUser, *, events: Sequence[AuditEvent]
    ) -> None:
        """Create the account under `user_id` if the username is new, else update it (keeping its id).

        Another password hash, or disabling, ends the account's sessions and revokes its grants, offline ones too.
        """
        ...

    async def delete_user(self, tenant_id: TenantId, username: str, *, events: Sequence[AuditEvent]) -> bool: ...


class Changes(Protocol):
    """Invalidation across processes (LISTEN/NOTIFY)."""

    def subscribe(self, callback: ChangeCallback) -> None:
        """Call `callback(tenant_id, kind, key)` for each committed change; (None, "all", "") after a gap."""
        ...


class ChangeCallback(Protocol):
    """Receives a change: kind is "tenant" (key: name), "client" (key: client_id) or "signing_key" (key: kid)."""

    def __call__(self, tenant_id: TenantId | None, kind: str, key: str) -> None: ...


class Health(Protocol):
    """Readiness of the store."""

    async def check(self) -> None:
        """Raise `Unavailable` unless a statement works now, the schema fits, and the tenant wall binds the login."""
        ...


class Storage(
    TenantDirectory,
    Codes,
    Tokens,
    Assertions,
    Sessions,
    Interactions,
    Accounts,
    Throttles,
    AuditLog,
    MarkedReads,
    Health,
    Protocol,
):
    """Everything the request path needs, on the application role."""


class OperatorStorage(Storage, Keys, Provisioning, Retention, Protocol):
    """Everything the command line needs, on the maintenance role."""
