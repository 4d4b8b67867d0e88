"""Who acts, as a verified token says it (RFC 9068 §2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tegata_verify.claims import find_text, numeric_date
from tegata_verify.issuers import Generic
from tegata_verify.tokens import VerifiedClaims


@dataclass(frozen=True, slots=True)
class Principal:
    """The subject of a verified token, and what the token lets it do.

    `claims` is everything the token says, read-only at every depth: lists are tuples there. It stays out of `repr`,
    because representations end in logs and claims may hold personal data. `auth_time` is in seconds since 1970.
    `permissions` is what the issuer itself grants the subject; `acts_for_itself` is set where the issuer has claims of
    its own for clients without a user. `identity` is what a trusted load balancer says of the user beside the token
    (`tegata_verify.alb`).
    """

    issuer: str
    subject: str
    client_id: str | None = None
    tenant: str | None = None
    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    acr: str | None = None
    auth_time: float | None = None
    permissions: frozenset[str] = frozenset()
    acts_for_itself: bool = False
    claims: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False, hash=False)
    identity: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False, hash=False)

    @property
    def is_service(self) -> bool:
        """Tell whether a client acts on its own behalf. RFC 9068 §2.2, §5."""
        return self.acts_for_itself or (self.client_id is not None and self.subject == self.client_id)


def build_principal(claims: VerifiedClaims, rules: Generic) -> Principal:
    """Map the claims as the issuer's rules say. Raises `TokenError` for a claim of the wrong type."""
    return Principal(
        # Where only keys are known the token says whose it is.
        issuer=find_text(claims, ("iss",)) or rules.name,
        subject=find_text(claims, ("sub",)) or "",
        client_id=rules.find_client(claims),
        tenant=rules.find_tenant(claims),
        scopes=rules.find_scopes(claims),
        roles=rules.find_roles(claims),
        permissions=rules.find_permissions(claims),
        acr=find_text(claims, ("acr",)),
        auth_time=numeric_date(claims, "auth_time"),
        claims=freeze(claims),
        acts_for_itself=rules.is_service(claims),
    )


def freeze(value: Any) -> Any:
    """Return JSON data that cannot be changed: mappings read-only, lists as tuples."""
    # One principal serves many requests of the same token: none may change it for the next.
    if type(value) in _UNCHANGEABLE:
        return value
    if isinstance(value, Mapping):
        members = value.items()
        return MappingProxyType({name: m if type(m) in _UNCHANGEABLE else freeze(m) for name, m in members})
    return tuple(map(freeze, value)) if isinstance(value, list) else value


_UNCHANGEABLE = frozenset({str, int, float, bool, type(None)})
