"""Proof Key for Code Exchange (RFC 7636), S256 only (RFC 9700 §2.1.1)."""

from __future__ import annotations

import hmac
import re

from tegata.crypto.digests import s256
from tegata.protocol.errors import invalid_grant, invalid_request

METHODS = ("S256",)
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)


def check_challenge(challenge: str | None, method: str | None, *, required: bool) -> None:
    """Refuse an authorization request whose challenge is missing, not S256 or not a SHA-256. RFC 7636 §4.3, §4.4.1."""
    if challenge is None:
        if method is not None:
            raise invalid_request("code_challenge_method without code_challenge", "pkce_malformed")
        if required:
            raise invalid_request("code_challenge is required (PKCE with S256)", "pkce_missing")
        return
    if method != "S256":  # absent means "plain" (RFC 7636 §4.3), which is refused as well
        raise invalid_request("code_challenge_method must be S256", "pkce_method")
    if not _CHALLENGE.fullmatch(challenge):
        raise invalid_request("code_challenge must be 43 characters of base64url", "pkce_malformed")


def check_verifier(challenge: str | None, verifier: str | None) -> None:
    """Refuse the token request unless `verifier` answers `challenge`.

    Raises `invalid_grant`. RFC 7636 §4.6. A verifier without a challenge is refused as well: otherwise an attacker
    could strip the challenge from the first request (RFC 9700 §4.8.2).
    """
    if challenge is None:
        if verifier is not None:
            raise invalid_grant("code_verifier without a code_challenge", "pkce_downgrade")
        return
    if verifier is None:
        raise invalid_grant("code_verifier is missing", "pkce_missing")
    if not _VERIFIER.fullmatch(verifier) or not hmac.compare_digest(s256(verifier), challenge):
        raise invalid_grant("code_verifier does not match the code_challenge", "pkce_mismatch")
