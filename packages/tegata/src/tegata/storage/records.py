"""The rows that flows read and write, as frozen values. Times are seconds since the epoch, lifetimes are ends.

Values that the rules need themselves are defined with the rules: `protocol.client.Client`, `identity.account.User`,
`identity.session.Session`, `protocol.policy.TenantPolicy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tegata.identifiers import Digest, GrantId, SessionId, TenantId, UserId
from tegata.identity.account import User
from tegata.identity.session import Session
from tegata.protocol.policy import SigningAlgorithm, TenantPolicy

# Thirteen months: a year can be looked back on from any of its days.
AUDIT_RETENTION_DAYS = 400
KeyState = Literal["next", "active", "previous"]


@dataclass(frozen=True, slots=True)
class TenantRecord:
    """A tenant's row."""

    tenant_id: TenantId
    name: str
    policy: TenantPolicy
    # Random and never changed: pairwise subjects are made with it (OIDC Core §8.1).
    pairwise_salt: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SigningKeyRecord:
    """One signing key. The private part is sealed under the master key (`crypto.envelope`)."""

    kid: str
    algorithm: SigningAlgorithm
    state: KeyState
    public_jwk: Mapping[str, Any]
    sealed_private_key: bytes = field(repr=False)
    created_at: float
    state_changed_at: float


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One security event. Built from an allow-list of fields: never a secret, token, code or password.

    `details` holds short strings and numbers only.
    """

    event_id: str  # UUIDv7 text, so that events sort by time
    at: float
    type: str  # e.g. "sign_in.failed", "token.issued"
    outcome: Literal["success", "failure"]
    actor: str | None = None  # user id, client id or "operator"
    client_id: str | None = None
    reason: str | None = None
    address: str | None = None
    details: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GrantRecord:
    """What a user allowed a client in one authorization: the family that its tokens belong to."""

    grant_id: GrantId
    client_id: str
    user_id: UserId
    session_id: SessionId | None
    scopes: tuple[str, ...]
    resources: tuple[str, ...]
    claims: Mapping[str, Any]  # the `claims` parameter, parsed (OIDC Core §5.5); {} if none
    auth_time: int
    amr: tuple[str, ...]
    acr: str
    nonce: str | None
    offline: bool  # offline_access was granted: the family outlives the session
    created_at: float


@dataclass(frozen=True, slots=True)
class CodeRecord:
    """An authorization code, kept as a digest until well after its end so that replay can be told from garbage."""

    digest: Digest
    grant: GrantRecord
    redirect_uri: str
    redirect_uri_was_sent: bool  # RFC 6749 §4.1.3: then the token request must repeat it
    code_challenge: str | None
    expires_at: float


@dataclass(frozen=True, slots=True)
class TakenCode:
    """Result of `take_code`.

    outcome: "taken" (record and user set), "unknown", "expired", "wrong_client" (nothing was changed),
    "replayed" (the grant and everything issued from it has just been revoked), "revoked" (grant ended before).
    """

    outcome: Literal["taken", "unknown", "expired", "wrong_client", "replayed", "revoked"]
    code: CodeRecord | None = None
    user: User | None = None


@dataclass(frozen=True, slots=True)
class NewRefreshToken:
    """A refresh token to be kept: first of its family, or successor in a rotation."""

    digest: Digest
    expires_at: float


@dataclass(frozen=True, slots=True)
class RotatedRefreshToken:
    """Result of `rotate_refresh_token`.

    outcome:
    - "rotated": the presented token was current; the offered successor is now current.
    - "repeated": the immediate parent of the current token came again within the grace; nothing was changed, and
      `sealed_successor` holds the current token, sealed under a key that only the presented token yields.
    - "reused": an older generation, or the parent after its grace: the family has just been revoked.
    - "unknown", "expired", "revoked", "wrong_client", "user_disabled", "scope", "resource": nothing was changed.
      "scope": a requested scope was not granted; "resource": likewise for resources.
    """

    outcome: Literal[
        "rotated",
        "repeated",
        "reused",
        "unknown",
        "expired",
        "revoked",
        "wrong_client",
        "user_disabled",
        "scope",
        "resource",
    ]
    grant: GrantRecord | None = None
    user: User | None = None
    sealed_successor: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class OpaqueTokenRecord:
    """An opaque access token."""

    digest: Digest
    token_id: str  # the `jti` that introspection and audit show
    client_id: str
    grant_id: GrantId | None  # None: client_credentials
    user_id: UserId | None
    subject: str
    scopes: tuple[str, ...]
    audience: tuple[str, ...]
    claims: Mapping[str, Any]  # the mapped claims of the moment of issue
    issued_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class FoundToken:
    """An opaque access token or the state behind a JWT access token, with what UserInfo needs."""

    active: bool  # not expired, not revoked itself, its grant not revoked, its user not disabled
    token: OpaqueTokenRecord | None = None
    grant: GrantRecord | None = None
    user: User | None = None


@dataclass(frozen=True, slots=True)
class FoundRefreshToken:
    """A refresh token as introspection and revocation see it. `active`: current, or parent within its grace."""

    active: bool
    grant: GrantRecord
    issued_at: int
    expires_at: int
    username: str


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """What a user has allowed a client so far."""

    user_id: UserId
    client_id: str
    scopes: frozenset[str]
    claims: frozenset[str]  # names of individually requested claims
    resources: frozenset[str]  # RFC 8707: what the consent page named as receivers of tokens
    granted_at: float


@dataclass(frozen=True, slots=True)
class FoundSession:
    """A living session with its user and the user's consent for the client at hand."""

    session: Session
    user: User
    consent: ConsentRecord | None


@dataclass(frozen=True, slots=True)
class InteractionRecord:
    """A stored authorization request that waits for pages: kept only when a page is needed.

    `parameters` are the request's parameters as parsed, canonical form (protocol.authorization_request).
    """

    digest: Digest
    client_id: str
    parameters: Mapping[str, Any]
    created_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class PasswordRecord:
    """What sign-in needs of an account: the user and the argon2id hash (None: no password set)."""

    user: User
    password_hash: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class DesiredUser:
    """A user as configuration as code states it. `password_hash` None leaves the stored one alone."""

    username: str
    claims: Mapping[str, Any]
    roles: tuple[str, ...]
    disabled: bool = False
    password_hash: str | None = field(default=None, repr=False)

    def locks_out(self, password_hash: str | None, *, disabled: bool) -> bool:
        """Whether whoever is signed in to the account as stored must not stay so (pitfalls P76)."""
        return self.password_hash not in (None, password_hash) or (self.disabled and not disabled)
