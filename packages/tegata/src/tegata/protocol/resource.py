"""Resource indicators (RFC 8707): which protected resource a token is for. One for each access token (errata C03)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tegata.protocol.client import ClientMetadata
from tegata.protocol.errors import invalid_target
from tegata.protocol.policy import TenantPolicy

MAX_RESOURCES = 10
_ABSOLUTE_URI = re.compile(r"[a-z][a-z0-9+.-]*:[^#]*", re.ASCII | re.IGNORECASE)


def parse(values: Sequence[str], policy: TenantPolicy) -> tuple[str, ...]:
    """Return the requested resources. Raises `invalid_target` for one that the tenant does not have (RFC 8707 §2)."""
    if len(values) > MAX_RESOURCES:
        raise invalid_target("too many resources")
    known = {resource.identifier for resource in policy.resources}
    for value in values:
        if not _ABSOLUTE_URI.fullmatch(value):
            raise invalid_target("resource must be an absolute URI without fragment", "resource_malformed")
        if value not in known:
            raise invalid_target("no such resource at this tenant")
    return tuple(dict.fromkeys(values))


def audience(
    requested: Sequence[str], granted: Sequence[str], client: ClientMetadata, policy: TenantPolicy, issuer: str
) -> tuple[str, ...]:
    """Return the `aud` of an access token.

    `requested` is what the token request names, `granted` what the authorization request did. Raises
    `invalid_target` for more than was granted, and when it is not clear which one is meant (RFC 8707 §2.2).
    """
    if requested and granted and not set(requested) <= set(granted):
        raise invalid_target("the resource was not part of the authorization", "resource_not_granted")
    candidates = tuple(requested) or tuple(granted)
    if len(candidates) > 1:
        raise invalid_target("name one resource for each access token", "resource_ambiguous")
    if candidates:
        return candidates
    default = policy.default_audience if client.default_audience is None else client.default_audience
    return default or (issuer,)


def scopes_at(audience_values: Sequence[str], scopes: Sequence[str], policy: TenantPolicy) -> tuple[str, ...]:
    """Return the scopes that mean something at the resource (RFC 8707 §2.2): others leave this token, not the grant."""
    limited = {r.identifier: r.scopes for r in policy.resources if r.scopes is not None}
    for value in audience_values:
        known = limited.get(value)
        if known is not None:
            return tuple(scope for scope in scopes if scope in known)
    return tuple(scopes)
