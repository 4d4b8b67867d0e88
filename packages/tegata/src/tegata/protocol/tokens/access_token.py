"""Access tokens: the claims of RFC 9068 §2.2, and a `jti` that tells which grant the token belongs to."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from tegata.crypto.digests import base64url
from tegata.identifiers import GrantId

TYPE = "at+jwt"
_GRANT_CHARACTERS = 22


def token_id(random_part: str, grant_id: GrantId | None) -> str:
    """Return the `jti`: the grant and a random part, so that revocation of a JWT needs no row for each token."""
    return random_part if grant_id is None else f"{base64url(grant_id.bytes)}.{random_part}"


def grant_of(jti: str) -> GrantId | None:
    """Return the grant that a `jti` names, or None for a token of client_credentials."""
    text, dot, _ = jti.partition(".")
    if not dot or len(text) != _GRANT_CHARACTERS:
        return None
    try:
        return GrantId(UUID(bytes=base64.urlsafe_b64decode(text + "==")))
    except ValueError:
        return None


def build_claims(
    *,
    issuer: str,
    subject: str,
    client_id: str,
    audience: Sequence[str],
    scopes: Sequence[str],
    jti: str,
    issued_at: int,
    lifetime_seconds: int,
    authentication: Mapping[str, Any],
    mapped: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the claims. `mapped` (the tenant's mapping) can never replace a claim of the protocol.

    A single audience is a string, several are a list (RFC 7519 §4.1.3). `authentication`: auth_time, acr, amr, empty
    for a service (RFC 9068 §2.2.1).
    """
    return {
        **mapped,
        **authentication,
        "iss": issuer,
        "sub": subject,
        "aud": audience[0] if len(audience) == 1 else list(audience),
        "client_id": client_id,
        "scope": " ".join(scopes),
        "jti": jti,
        "iat": issued_at,
        "exp": issued_at + lifetime_seconds,
    }
