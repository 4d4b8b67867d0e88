"""How an attacker makes tokens: by hand, from the parts of good ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from tegata_verify import Reason, TokenError, Verifier


def b64(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def assemble(header: Any, claims: Any, signature: bytes = b"\x01" * 64) -> str:
    return f"{b64(header)}.{b64(claims)}.{b64(signature)}"


def sign_symmetric(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    signed = f"{b64(header)}.{b64(claims)}"
    return f"{signed}.{b64(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


async def refusal(verifier: Verifier, token: str) -> Reason:
    """Return why the token is refused; accepting it, or any other exception, fails the test."""
    with pytest.raises(TokenError) as caught:
        await verifier.verify(token)
    return caught.value.reason
