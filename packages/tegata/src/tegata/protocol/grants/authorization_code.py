"""The authorization code grant at the token endpoint (RFC 6749 §4.1.3, OIDC Core §3.1.3.2)."""

from __future__ import annotations

from tegata.protocol import pkce
from tegata.protocol.errors import OAuthError, invalid_grant
from tegata.protocol.parameters import Parameters

_REFUSALS = {
    "unknown": "the code is not known",
    "expired": "the code has expired",
    "wrong_client": "the code is not known",  # no more than for an unknown one
    "replayed": "the code has been used before; what it led to is revoked",
    "revoked": "the authorization behind this code has ended",
}


def refusal(outcome: str) -> OAuthError:
    """Return the error for a code that could not be taken."""
    return invalid_grant(_REFUSALS[outcome], f"code_{outcome}")


def check_redemption(
    parameters: Parameters, *, redirect_uri: str, redirect_uri_was_sent: bool, code_challenge: str | None
) -> None:
    """Refuse unless the request matches the authorization request that the code came from.

    Raises `invalid_grant`. RFC 6749 §4.1.3 (redirect_uri, only if it was sent), RFC 7636 §4.6.
    """
    sent = parameters.get("redirect_uri")
    if sent is None and redirect_uri_was_sent:
        raise invalid_grant("redirect_uri is missing", "redirect_uri_missing")
    if sent is not None and sent != redirect_uri:
        raise invalid_grant("redirect_uri differs from the authorization request", "redirect_uri_mismatch")
    pkce.check_verifier(code_challenge, parameters.get("code_verifier"))
