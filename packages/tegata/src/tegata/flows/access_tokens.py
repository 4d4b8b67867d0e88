"""Find what stands behind an access token of ours, JWT or opaque: for UserInfo, introspection and revocation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tegata.crypto.digests import digest_of
from tegata.flows.directory import LoadedTenant
from tegata.flows.services import Services
from tegata.identifiers import Digest, GrantId
from tegata.identity.account import User
from tegata.protocol.tokens import access_token
from tegata.storage.records import GrantRecord


@dataclass(frozen=True, slots=True)
class LiveToken:
    """An access token that is valid now. `claims`: mapped claims and authentication context."""

    subject: str
    client_id: str
    audience: tuple[str, ...]
    scopes: tuple[str, ...]
    token_id: str
    issued_at: int
    expires_at: int
    claims: Mapping[str, Any]
    grant: GrantRecord | None
    user: User | None


_PROTOCOL = frozenset({"iss", "sub", "aud", "client_id", "scope", "jti", "iat", "exp"})


async def find(services: Services, loaded: LoadedTenant, token: str) -> LiveToken | None:
    """Return the token if it is ours, in time, and neither it, its grant, its user nor its client has been ended."""
    live = await (_find_jwt if token.count(".") == 2 else _find_opaque)(services, loaded, token)
    if live is None:
        return None
    # An operator disables a client because somebody else may have its tokens.
    client = await services.directory.find_client(loaded.tenant_id, live.client_id)
    return live if client is not None and not client.metadata.disabled else None


async def _find_opaque(services: Services, loaded: LoadedTenant, token: str) -> LiveToken | None:
    now = services.clock()
    found = await services.storage.find_opaque_token(loaded.tenant_id, Digest(digest_of(token)), now=now)
    if found is None or not found.active or found.token is None:
        return None
    kept = found.token
    return LiveToken(
        kept.subject,
        kept.client_id,
        kept.audience,
        kept.scopes,
        kept.token_id,
        kept.issued_at,
        kept.expires_at,
        kept.claims,
        found.grant,
        found.user,
    )


async def _find_jwt(services: Services, loaded: LoadedTenant, token: str) -> LiveToken | None:
    claims = jwt_claims(services, loaded, token)
    if claims is None or claims["exp"] <= services.clock():
        return None
    grant_id = _grant_id(claims)
    state = await services.storage.find_token_state(loaded.tenant_id, token_id=claims["jti"], grant_id=grant_id)
    if not state.active:
        return None
    return LiveToken(
        claims["sub"],
        claims["client_id"],
        _audience(claims["aud"]),
        tuple(claims["scope"].split()),
        claims["jti"],
        claims["iat"],
        claims["exp"],
        {name: value for name, value in claims.items() if name not in _PROTOCOL},
        state.grant,
        state.user,
    )


def jwt_claims(services: Services, loaded: LoadedTenant, token: str) -> Mapping[str, Any] | None:
    """Return the claims of an access token that this tenant signed, whether or not it is still valid."""
    return services.own_tokens.access_token_claims(loaded, token)


def _grant_id(claims: Mapping[str, Any]) -> GrantId | None:
    return access_token.grant_of(claims["jti"])


def _audience(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
