"""Random machine secrets and the digests under which they are kept."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets


def new_secret() -> str:
    """Return 256 random bits as 43 URL-safe characters (RFC 6749 §10.10 asks for 128 at least)."""
    return secrets.token_urlsafe(32)


def new_identifier() -> str:
    """Return 128 random bits as 22 URL-safe characters, for a `jti`."""
    return secrets.token_urlsafe(16)


def digest_of(secret: str) -> bytes:
    """Return the SHA-256 of a random machine secret; salt and stretching add nothing to 256 random bits."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def matches(digest: bytes, secret: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(digest, digest_of(secret))


def keyed_digest(key: bytes, *parts: str) -> bytes:
    """Return the HMAC-SHA-256 of `parts`, each with its length so that ("a", "bc") and ("ab", "c") differ."""
    message = b"".join(len(raw).to_bytes(4, "big") + raw for raw in (part.encode() for part in parts))
    return hmac.digest(key, message, "sha256")


def base64url(raw: bytes) -> str:
    """Return base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def half_hash(value: str) -> str:
    """Return `at_hash` for the algorithms with SHA-256 that Tegata signs with (OIDC Core §3.1.3.6)."""
    return base64url(hashlib.sha256(value.encode("ascii")).digest()[:16])


def s256(verifier: str) -> str:
    """Return the S256 code challenge of a verifier (RFC 7636 §4.2)."""
    return base64url(hashlib.sha256(verifier.encode("ascii")).digest())
