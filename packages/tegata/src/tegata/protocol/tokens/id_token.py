"""ID tokens (OIDC Core §2, §3.1.3.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tegata.crypto.digests import half_hash

TYPE = "JWT"


def build_claims(
    *,
    issuer: str,
    subject: str,
    client_id: str,
    issued_at: int,
    lifetime_seconds: int,
    auth_time: int,
    acr: str,
    amr: Sequence[str],
    session_id: str | None,
    nonce: str | None,
    access_token: str,
    personal: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the claims. `personal` can never replace a claim of the protocol."""
    claims: dict[str, Any] = {
        **personal,
        "iss": issuer,
        "sub": subject,
        "aud": client_id,
        "iat": issued_at,
        "exp": issued_at + lifetime_seconds,
        "auth_time": auth_time,
        "acr": acr,
        "amr": list(amr),
        "at_hash": half_hash(access_token),
    }
    if nonce is not None:
        claims["nonce"] = nonce
    if session_id is not None:
        claims["sid"] = session_id
    return claims
