"""Scopes: which exist, which a client may have (RFC 6749 §3.3, OIDC Core §5.4)."""

from __future__ import annotations

import re

from tegata.protocol.client import ClientMetadata
from tegata.protocol.errors import invalid_scope
from tegata.protocol.policy import TenantPolicy

OPENID_SCOPES = ("openid", "profile", "email", "address", "phone", "offline_access")
MAX_SCOPES = 100
_TOKEN = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+", re.ASCII)


def parse(text: str | None) -> tuple[str, ...]:
    """Return the scope tokens in order, without repeats. Raises `invalid_scope` for other characters."""
    tokens = tuple(dict.fromkeys((text or "").split(" ")))
    tokens = tuple(token for token in tokens if token)
    if len(tokens) > MAX_SCOPES or not all(_TOKEN.fullmatch(token) for token in tokens):
        raise invalid_scope("scope is malformed", "scope_malformed")
    return tokens


def allowed(client: ClientMetadata, policy: TenantPolicy) -> tuple[str, ...]:
    """Return every scope that exists at the tenant and that this client may ask for."""
    known = (*OPENID_SCOPES, *(scope.name for scope in policy.scopes))
    if client.scope is None:
        return known
    registered = frozenset(client.scope.split())
    return tuple(scope for scope in known if scope in registered)


def for_user(requested: str | None, client: ClientMetadata, policy: TenantPolicy) -> tuple[str, ...]:
    """Return the scopes of an authorization request.

    With `openid`, scopes that are not understood are ignored (OIDC Core §3.1.2.1); in plain OAuth they are refused,
    and so is a request of which nothing is left (RFC 6749 §4.1.2.1).
    """
    wanted = parse(requested)
    if not wanted:
        raise invalid_scope("scope is missing", "scope_missing")
    permitted = allowed(client, policy)
    granted = tuple(scope for scope in wanted if scope in permitted)
    if not granted or ("openid" not in granted and len(granted) != len(wanted)):
        raise invalid_scope("no such scope for this client")
    return granted


def for_service(requested: str | None, client: ClientMetadata, policy: TenantPolicy) -> tuple[str, ...]:
    """Return the scopes of a client_credentials request (RFC 6749 §4.4.2).

    Only the tenant's own scopes: those of OpenID Connect are about a person. None requested: the registered ones.
    Without a registration there are none: nobody is asked here, so what is not written down is not allowed.
    """
    registered = allowed(client, policy) if client.scope is not None else ()
    permitted = tuple(scope for scope in registered if scope not in OPENID_SCOPES)
    wanted = parse(requested)
    if not wanted:
        return permitted
    if not all(scope in permitted for scope in wanted):
        raise invalid_scope("no such scope for this client")
    return wanted
