"""Client assertions for private_key_jwt (RFC 7521 §4.2, RFC 7523 §3, OIDC Core §9); the signature is checked before."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tegata.protocol.errors import OAuthError, invalid_client

ALGORITHMS = ("ES256", "RS256", "PS256")
LEEWAY_SECONDS = 30
# An assertion is for one request; what lives longer would have to be remembered longer.
MAX_LIFETIME_SECONDS = 3600
_MAX_JTI_CHARACTERS = 256


def claimed_client_id(assertion: str, sent_client_id: str | None) -> str:
    """Return the client that the assertion says it is of: whose keys must verify it. Nothing is trusted yet."""
    try:
        segment = assertion.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
        client_id = claims["sub"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise _failed("assertion_malformed") from None
    # Not printable: JSON can hold NUL and lone surrogates, which no store can be asked for.
    if not isinstance(client_id, str) or not client_id or not client_id.isprintable():
        raise _failed("assertion_client_mismatch")
    if sent_client_id is not None and sent_client_id != client_id:
        raise _failed("assertion_client_mismatch")
    return client_id


def check_claims(claims: Mapping[str, Any], client_id: str, audiences: Sequence[str], *, now: float) -> float:
    """Refuse unless the claims are those of RFC 7523 §3; return when the assertion ends, to remember its `jti` until.

    `audiences` are the issuer and the URLs of this endpoint; one of them must be named. (FAPI 2.0 narrows this to the
    issuer; that belongs to its profile.)
    """
    if claims.get("iss") != client_id or claims.get("sub") != client_id:
        raise _failed("assertion_client_mismatch")
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if not any(isinstance(value, str) and value in audiences for value in named):
        raise _failed("assertion_audience")
    expires_at = _time(claims, "exp")
    if expires_at is None or expires_at + LEEWAY_SECONDS <= now:
        raise _failed("assertion_expired")
    if expires_at > now + MAX_LIFETIME_SECONDS + LEEWAY_SECONDS:
        raise _failed("assertion_lives_too_long")
    for name in ("nbf", "iat"):
        moment = _time(claims, name)
        if moment is not None and moment > now + LEEWAY_SECONDS:
            raise _failed("assertion_from_the_future")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= _MAX_JTI_CHARACTERS:
        raise _failed("assertion_without_jti")
    return expires_at + LEEWAY_SECONDS


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise _failed("assertion_malformed")
    return float(value)


def _failed(reason: str) -> OAuthError:
    return invalid_client("client authentication failed", reason)
