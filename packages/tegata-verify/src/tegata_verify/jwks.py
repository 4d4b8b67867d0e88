"""Reads a JSON Web Key Set and keeps from it the public keys that can verify signatures (RFC 7517, RFC 7518 §6)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from tegata_verify.algorithms import find_names

# What each kind of key may verify; the kind is the key type and, if any, the curve. RFC 7518 §3.1, RFC 9864 §2.2.
_ALGORITHMS = {
    ("EC", "P-256"): frozenset({"ES256"}),
    ("RSA", None): frozenset({"RS256", "PS256"}),
    ("OKP", "Ed25519"): find_names("Ed25519"),
}
_PUBLIC_MEMBERS = {"EC": ("crv", "x", "y"), "RSA": ("n", "e"), "OKP": ("crv", "x")}
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
_KEY_CLASSES: dict[str, type[ECKey | RSAKey | OKPKey]] = {"EC": ECKey, "RSA": RSAKey, "OKP": OKPKey}

MAX_KID_LENGTH = 256
_RSA_BITS = range(2048, 8192 + 1)
_MAX_MEMBER_LENGTH = 1400  # base64url of 8192 bits
_MAX_EXPONENT_BITS = 32  # a huge exponent makes each verification slow


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A parsed public key and the algorithms it may be used with.

    `issuer` is what the key set says of whom the key signs for, if it does: no part of RFC 7517, and of any type.
    """

    kid: str | None
    algorithms: frozenset[str]
    key: ECKey | RSAKey | OKPKey
    issuer: object = None


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of an issuer."""

    keys: tuple[VerificationKey, ...]
    by_kid: Mapping[str, tuple[VerificationKey, ...]]

    def find(self, kid: str | None) -> tuple[VerificationKey, ...]:
        """Return the keys named `kid`, or all keys for None."""
        return self.keys if kid is None else self.by_kid.get(kid, ())


def parse_key_set(document: Mapping[str, Any], *, max_keys: int) -> KeySet:
    """Return the usable keys of a key set; one that cannot be used is passed over. RFC 7517 §5.

    Raises `ValueError` if the document is no key set, has more than `max_keys` keys, or none that can be used: a
    broken answer must not replace keys that work.
    """
    members = document.get("keys")
    if not isinstance(members, list):
        raise ValueError("not a key set")
    if len(members) > max_keys:
        raise ValueError(f"more than {max_keys} keys")
    keys = tuple(key for key in map(parse_key, members) if key is not None)
    if not keys:
        raise ValueError("no usable key")
    by_kid: dict[str, tuple[VerificationKey, ...]] = {}
    for key in keys:
        if key.kid is not None:
            by_kid[key.kid] = (*by_kid.get(key.kid, ()), key)
    return KeySet(keys, by_kid)


def parse_key(jwk: object) -> VerificationKey | None:
    """Return the key, or None for one that must not or cannot verify a token's signature.

    A key published with its private part is known to everybody, so it proves nothing (RFC 7517 §9.2).
    """
    if not isinstance(jwk, dict) or not _PRIVATE_MEMBERS.isdisjoint(jwk):
        return None
    key_type, kid = jwk.get("kty"), jwk.get("kid")
    if not isinstance(key_type, str) or key_type not in _PUBLIC_MEMBERS:
        return None
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= MAX_KID_LENGTH):
        return None
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not (isinstance(operations, list) and "verify" in operations):
        return None
    curve = None if key_type == "RSA" else str(jwk.get("crv"))
    algorithms = _ALGORITHMS.get((key_type, curve), frozenset())
    if "alg" in jwk:
        algorithms &= find_names(str(jwk["alg"]))
    if not algorithms:
        return None
    key = _import(key_type, {name: jwk.get(name) for name in _PUBLIC_MEMBERS[key_type]})
    return VerificationKey(kid, algorithms, key, jwk.get("issuer")) if key is not None else None


def _import(key_type: str, members: dict[str, Any]) -> ECKey | RSAKey | OKPKey | None:
    # Only these members reach the library: it need not judge a stranger's x5c, x5u or key_ops.
    if not all(isinstance(value, str) and len(value) <= _MAX_MEMBER_LENGTH for value in members.values()):
        return None
    # Weak keys are sorted out before the library, which takes them with a warning.
    if key_type == "RSA" and not (_bits(members["n"]) in _RSA_BITS and _bits(members["e"]) <= _MAX_EXPONENT_BITS):
        return None
    try:
        return _KEY_CLASSES[key_type].import_key({"kty": key_type, **members})
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _bits(number: str) -> int:
    try:
        return int.from_bytes(base64.urlsafe_b64decode(number + "==")).bit_length()
    except ValueError:
        return 0
