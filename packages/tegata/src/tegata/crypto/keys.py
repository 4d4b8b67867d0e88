"""Signing keys: made, named by their thumbprint (RFC 7638), written and read as JWK (RFC 7517)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Literal

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, RSAKey

Algorithm = Literal["ES256", "RS256"]
SigningKey = ECKey | RSAKey

RSA_BITS = 2048


def generate_key(algorithm: Algorithm) -> SigningKey:
    """Make a key pair whose `kid` is its thumbprint and whose `alg` is fixed."""
    if algorithm == "ES256":
        return ECKey.generate_key("P-256", {"alg": algorithm, "use": "sig"}, auto_kid=True)
    return RSAKey.generate_key(RSA_BITS, {"alg": algorithm, "use": "sig"}, auto_kid=True)


def public_jwk(key: SigningKey) -> dict[str, Any]:
    """Return the public JWK with `kid`, `alg` and `use`."""
    return dict(key.as_dict(private=False))


def private_bytes(key: SigningKey) -> bytes:
    """Return the private JWK as JSON, to be sealed at once."""
    return json.dumps(key.as_dict(private=True)).encode()


def parse_private(raw: bytes) -> SigningKey:
    """Read what `private_bytes` wrote. Raises `ValueError`."""
    document = json.loads(raw)
    if not isinstance(document, dict):
        raise ValueError("not a key")
    return _signing_key(document)


def parse_public(jwk: Mapping[str, Any]) -> SigningKey:
    """Read a public EC P-256 or RSA JWK of at least 2048 bits. Raises `ValueError`; private members are dropped."""
    if _modulus_bits(jwk.get("n")) < RSA_BITS:  # joserfc would take it, with a warning
        raise ValueError("RSA keys below 2048 bits are refused")
    key = _signing_key({name: value for name, value in jwk.items() if name not in _PRIVATE_MEMBERS})
    if isinstance(key, ECKey) and key.curve_name != "P-256":
        raise ValueError("only the P-256 curve is accepted")
    return key


def _modulus_bits(modulus: object) -> int:
    """Return the size of an RSA key by its `n`; RSA_BITS for a key that has none."""
    if not isinstance(modulus, str):
        return RSA_BITS
    try:
        raw = base64.urlsafe_b64decode(modulus + "=" * (-len(modulus) % 4))
    except ValueError:
        return 0
    return int.from_bytes(raw, "big").bit_length()


_PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


def _signing_key(jwk: dict[str, Any]) -> SigningKey:
    if jwk.get("kty") not in ("EC", "RSA"):
        raise ValueError("not an EC or RSA key")
    try:
        key = JWKRegistry.import_key(jwk)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"not a usable key: {type(error).__name__}") from None  # the text may repeat the key
    if not isinstance(key, ECKey | RSAKey):
        raise ValueError("not a signing key")
    return key
