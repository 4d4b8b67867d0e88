"""Proofs made with PyJWT, so that not one library makes and judges them."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from tegata_verify import HttpRequest

BASE = "https://api.example.com"
NOW = 1_700_000_000.0


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Client:
    """Holds a P-256 key, and makes proofs with it."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.made = 0

    @property
    def jwk(self) -> dict[str, Any]:
        numbers = self.key.public_key().public_numbers()
        return {"kty": "EC", "crv": "P-256", "x": b64(numbers.x.to_bytes(32)), "y": b64(numbers.y.to_bytes(32))}

    @property
    def thumbprint(self) -> str:
        # RFC 7638 §3.1, §3.2: the required members in order, without spaces.
        return b64(hashlib.sha256(json.dumps(self.jwk, sort_keys=True, separators=(",", ":")).encode()).digest())

    def prove(
        self,
        token: str,
        claims: dict[str, Any] | None = None,
        header: dict[str, Any] | None = None,
        *,
        key: Any = None,
        algorithm: str = "ES256",
    ) -> str:
        """Return a proof for `GET BASE/beers`; None takes a member away."""
        self.made += 1
        body = {
            "jti": f"proof-{self.made}",
            "htm": "GET",
            "htu": f"{BASE}/beers",
            "iat": int(NOW),
            "ath": b64(hashlib.sha256(token.encode()).digest()),
            **(claims or {}),
        }
        head = {"typ": "dpop+jwt", "jwk": self.jwk, **(header or {})}
        body = {name: value for name, value in body.items() if value is not None}
        head = {name: value for name, value in head.items() if value is not None}
        return jwt.encode(body, key or self.key, algorithm=algorithm, headers=head)


def request(
    token: str,
    *proofs: str,
    scheme: str = "DPoP",
    method: str = "GET",
    path: bytes = b"/beers",
    host: str = "api.example.com",
    more: tuple[tuple[bytes, bytes], ...] = (),
    peer: str = "10.0.0.7",
) -> HttpRequest:
    headers = ((b"authorization", f"{scheme} {token}".encode()), *((b"dpop", proof.encode()) for proof in proofs))
    url = f"https://{host}{path.decode('latin-1')}"
    return HttpRequest(method, url, headers + more, peer=peer, raw_path=path)
