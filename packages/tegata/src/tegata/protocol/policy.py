"""What a tenant allows and how its tokens look, as one frozen value that the rules read.

Field names are the names used in `kind: Tenant` documents (configuration as code).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from tegata.identifiers import TenantId

Profile = Literal["oauth21", "oidc-legacy"]
SigningAlgorithm = Literal["ES256", "RS256"]
TokenFormat = Literal["jwt", "opaque"]
SubjectType = Literal["public", "pairwise"]

_STRICT: dict[str, object] = {"extra": "forbid"}


@dataclass(frozen=True, slots=True)
class ScopeText:
    """A scope that the tenant's APIs understand, with the words the consent page uses for it."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT

    name: str
    description: Mapping[str, str] = field(default_factory=dict)  # locale -> text


@dataclass(frozen=True, slots=True)
class Resource:
    """A protected resource that clients may name in the `resource` parameter (RFC 8707 §2)."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT

    identifier: str  # absolute URI without fragment
    scopes: tuple[str, ...] | None = None  # None: every scope of the tenant


@dataclass(frozen=True, slots=True)
class TenantPolicy:
    """Everything an operator decides for a tenant. The defaults are the minimal token and the safe profile."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT

    display_name: str = ""
    profile: Profile = "oauth21"
    default_locale: Literal["en", "ja"] = "en"

    scopes: tuple[ScopeText, ...] = ()
    resources: tuple[Resource, ...] = ()
    # `aud` of an access token when the client names no resource. Empty: the issuer (RFC 9068 §3).
    default_audience: tuple[str, ...] = ()

    access_token_format: TokenFormat = "jwt"
    access_token_signing_alg: SigningAlgorithm = "ES256"
    access_token_lifetime_seconds: int = 3600
    # Claim of the access token -> "roles", "username" or the name of a claim of the user.
    access_token_claims: Mapping[str, str] = field(default_factory=dict)
    id_token_signing_alg: SigningAlgorithm = "RS256"
    id_token_lifetime_seconds: int = 3600
    # Claims that go into the ID token as well as into UserInfo, by the same mapping.
    id_token_claims: Mapping[str, str] = field(default_factory=dict)
    # Extra claims of UserInfo and the scope that releases each: scope -> claim -> source.
    userinfo_claims: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    refresh_token_lifetime_seconds: int = 7 * 24 * 3600
    refresh_token_grace_seconds: int = 20
    authorization_code_lifetime_seconds: int = 60
    interaction_lifetime_seconds: int = 1800
    session_lifetime_seconds: int = 12 * 3600
    session_idle_seconds: int = 2 * 3600


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant as the flows see it: its identifiers, its policy and its issuer (RFC 8414 §2)."""

    tenant_id: TenantId
    name: str
    issuer: str
    policy: TenantPolicy
    pairwise_salt: bytes = field(repr=False)
