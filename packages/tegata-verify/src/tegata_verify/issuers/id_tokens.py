"""Tells an ID token from an access token where the header does not (OIDC Core §2, RFC 9068 §1, RFC 8725 §3.12)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tegata_verify.claims import audience_of
from tegata_verify.errors import Reason, TokenError

ID_TOKEN_CLAIMS = ("nonce", "at_hash", "c_hash", "s_hash")
"""What only a client's own token has a use for. OIDC Core §2, §3.1.3.6, §3.3.2.11; FAPI 1.0 Part 2 §5.1."""


def refuse_marked_id_token(claims: Mapping[str, Any], client_id: str | None) -> None:
    """Refuse a token with claims of an ID token, or that does not say to which client it was issued.

    Raises `TokenError`.
    """
    for name in ID_TOKEN_CLAIMS:
        if name in claims:
            raise TokenError(Reason.WRONG_TOKEN_USE, name)
    if not client_id:
        raise TokenError(Reason.WRONG_TOKEN_USE, "no client")


def refuse_id_token(claims: Mapping[str, Any], client_id: str | None) -> None:
    """Refuse also a token that is meant for the client it was issued to, as ID tokens are. OIDC Core §2.

    Raises `TokenError`. So a client's name among `audiences` does not let its ID tokens in.
    """
    refuse_marked_id_token(claims, client_id)
    if "aud" in claims and client_id in audience_of(claims):
        raise TokenError(Reason.WRONG_TOKEN_USE, "for its own client")
