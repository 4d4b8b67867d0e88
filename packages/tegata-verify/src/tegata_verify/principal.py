"""Who acts, as a verified token says it (RFC 9068 §2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tegata_verify.errors import Reason, TokenError
from tegata_verify.issuers import Generic
from tegata_verify.tokens import VerifiedClaims, numeric_date


@dataclass(frozen=True, slots=True)
class Principal:
    """The subject of a verified token, and what the token lets it do.

    `claims` is everything the token says, read-only at every depth: lists are tuples there. It stays out of `repr`,
    because representations end in logs and claims may hold personal data. `auth_time` is in seconds since 1970.
    `identity` is what a trusted load balancer says of the user beside the token (`tegata_verify.alb`).
    """

    issuer: str
    subject: str
    client_id: str | None = None
    tenant: str | None = None
    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    acr: str | None = None
    auth_time: float | None = None
    claims: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False, hash=False)
    identity: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False, hash=False)

    @property
    def is_service(self) -> bool:
        """Tell whether a client acts on its own behalf. RFC 9068 §2.2, §5."""
        return self.client_id is not None and self.subject == self.client_id


def build_principal(claims: VerifiedClaims, rules: Generic) -> Principal:
    """Map the claims as the issuer's `claim_paths` say. Raises `TokenError` for a claim of the wrong type."""
    paths = rules.claim_paths
    return Principal(
        issuer=rules.issuer,
        subject=_text(claims, ("sub",)) or "",
        client_id=_text(claims, paths.client_id),
        tenant=rules.find_tenant(claims),
        scopes=_scopes(claims, paths.scope),
        roles=_names(claims, paths.roles),
        acr=_text(claims, ("acr",)),
        auth_time=numeric_date(claims, "auth_time"),
        claims=freeze(claims),
    )


def _find(claims: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = claims
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _text(claims: Mapping[str, Any], path: tuple[str, ...]) -> str | None:
    value = _find(claims, path)
    if value is not None and not isinstance(value, str):
        raise TokenError(Reason.MALFORMED_CLAIM, path[-1])
    return value


def _scopes(claims: Mapping[str, Any], path: tuple[str, ...]) -> frozenset[str]:
    # RFC 6749 §3.3 separates scopes by spaces; some issuers send a list.
    value = _find(claims, path)
    return frozenset(value.split(" ")) - {""} if isinstance(value, str) else _names(claims, path)


def _names(claims: Mapping[str, Any], path: tuple[str, ...]) -> frozenset[str]:
    value = _find(claims, path)
    if value is None:
        return frozenset()
    # One string for several roles could be read in two ways, so it is not read at all.
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TokenError(Reason.MALFORMED_CLAIM, path[-1])
    return frozenset(value)


def freeze(value: Any) -> Any:
    """Return JSON data that cannot be changed: mappings read-only, lists as tuples."""
    # One principal serves many requests of the same token: none may change it for the next.
    if isinstance(value, Mapping):
        return MappingProxyType({name: freeze(member) for name, member in value.items()})
    return tuple(map(freeze, value)) if isinstance(value, list) else value
