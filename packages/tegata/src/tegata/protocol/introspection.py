"""Introspection answers (RFC 7662 §2.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

INACTIVE: Mapping[str, Any] = {"active": False}


def access_token_answer(
    *,
    issuer: str,
    subject: str,
    client_id: str,
    audience: Sequence[str],
    scopes: Sequence[str],
    jti: str,
    issued_at: int,
    expires_at: int,
    username: str | None,
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the answer for an active access token, whatever its format."""
    answer: dict[str, Any] = {
        **extra,
        "active": True,
        "iss": issuer,
        "sub": subject,
        "aud": audience[0] if len(audience) == 1 else list(audience),
        "client_id": client_id,
        "scope": " ".join(scopes),
        "jti": jti,
        "iat": issued_at,
        "exp": expires_at,
        "token_type": "Bearer",
    }
    if username is not None:
        answer["username"] = username
    return answer


def refresh_token_answer(
    *, issuer: str, subject: str, client_id: str, scopes: Sequence[str], issued_at: int, expires_at: int, username: str
) -> dict[str, Any]:
    """Return the answer for an active refresh token."""
    return {
        "active": True,
        "iss": issuer,
        "sub": subject,
        "client_id": client_id,
        "scope": " ".join(scopes),
        "iat": issued_at,
        "exp": expires_at,
        "username": username,
        "token_type": "refresh_token",
    }
