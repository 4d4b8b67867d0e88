"""A registered client: its metadata under the names of RFC 7591 §2 and OIDC Registration §2, and what they imply.

Field names are the names used in `kind: Client` documents (configuration as code).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from tegata.protocol.policy import Profile, SigningAlgorithm, SubjectType, TokenFormat

AuthMethod = Literal["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]
GrantType = Literal["authorization_code", "refresh_token", "client_credentials"]
Consent = Literal["explicit", "implicit"]


@dataclass(frozen=True, slots=True)
class ClientMetadata:
    """What an operator writes about a client. Secrets are not part of it."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    client_name: str = ""
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    grant_types: tuple[GrantType, ...] = ("authorization_code",)
    response_types: tuple[Literal["code"], ...] = ("code",)
    token_endpoint_auth_method: AuthMethod = "client_secret_basic"
    # Space-separated scopes this client may ask for; None: every scope of the tenant.
    scope: str | None = None
    jwks: Mapping[str, Any] | None = None
    jwks_uri: str | None = None
    client_uri: str | None = None
    logo_uri: str | None = None
    policy_uri: str | None = None
    tos_uri: str | None = None
    initiate_login_uri: str | None = None
    contacts: tuple[str, ...] = ()
    subject_type: SubjectType = "public"
    sector_identifier_uri: str | None = None
    default_max_age: int | None = None
    require_auth_time: bool = False
    default_acr_values: tuple[str, ...] = ()
    id_token_signed_response_alg: SigningAlgorithm | None = None  # None: the tenant's
    # Tegata's own members; None means the tenant's value.
    profile: Profile | None = None
    consent: Consent = "explicit"  # implicit: first-party client, nobody is asked
    require_pkce: bool = True  # honoured for confidential clients of the `oidc-legacy` profile only
    access_token_format: TokenFormat | None = None
    access_token_signed_response_alg: SigningAlgorithm | None = None
    access_token_lifetime_seconds: int | None = None
    refresh_token_lifetime_seconds: int | None = None
    default_audience: tuple[str, ...] | None = None
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """The SHA-256 of one client secret. Two may be active at once, so that rotation needs no outage."""

    digest: bytes
    expires_at: float | None = None  # seconds since the epoch; None: until removed


@dataclass(frozen=True, slots=True)
class Client:
    """A client of one tenant, as loaded for a request."""

    client_id: str
    metadata: ClientMetadata
    secrets: tuple[ClientSecret, ...] = field(default=(), repr=False)

    @property
    def is_public(self) -> bool:
        """Whether the client cannot keep a credential (RFC 6749 §2.1)."""
        return self.metadata.token_endpoint_auth_method == "none"
