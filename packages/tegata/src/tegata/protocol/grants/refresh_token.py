"""The refresh token grant (RFC 6749 §6, RFC 9700 §4.14)."""

from __future__ import annotations

from tegata.protocol.errors import OAuthError, invalid_grant, invalid_scope, invalid_target

_REFUSALS = {
    "unknown": "the refresh token is not known",
    "wrong_client": "the refresh token is not known",  # no more than for an unknown one
    "expired": "the refresh token has expired",
    "revoked": "the refresh token is revoked",
    "reused": "the refresh token has been used before; every token of this sign-in is revoked",
    "user_disabled": "the account is disabled",
}


def refusal(outcome: str) -> OAuthError:
    """Return the error for a refresh token that was not rotated."""
    if outcome == "scope":
        return invalid_scope("more scope than was granted", "scope_not_granted")
    if outcome == "resource":
        return invalid_target("the resource was not part of the authorization", "resource_not_granted")
    return invalid_grant(_REFUSALS[outcome], f"refresh_{outcome}")
