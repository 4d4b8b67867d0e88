"""The one seam to JOSE: JWTs are signed and verified here and nowhere else, algorithms always explicit.

RFC 7515, RFC 7519, RFC 8725. Keys are parsed once and kept as objects (pitfalls P122).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NewType

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from tegata.crypto.keys import Algorithm, SigningKey, parse_private, parse_public, public_jwk

AnyKey = ECKey | RSAKey | OKPKey

VerifiedClaims = NewType("VerifiedClaims", dict[str, Any])

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
MAX_TOKEN_CHARACTERS = 16_384
# One registry for each algorithm: a registry knows that algorithm only, whatever the token's header says.
_REGISTRIES = {name: jws.JWSRegistry(algorithms=[name]) for name in ("ES256", "RS256", "PS256")}


class BadSignature(Exception):
    """The token is malformed, too long, of an algorithm that is not accepted, or not signed by any given key."""


@dataclass(frozen=True, slots=True)
class Signer:
    """An active private key, parsed once.

    The compact form is put together here rather than by joserfc: header and algorithm are ours and fixed, so nothing
    has to be checked again for each token (19 against 30 µs for ES256). Reading tokens stays with joserfc.
    """

    algorithm: Algorithm
    kid: str
    key: SigningKey = field(repr=False)
    _headers: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    def sign(self, claims: Mapping[str, Any], *, typ: str) -> str:
        """Return a compact JWS over `claims` (RFC 7515 §7.1)."""
        header = self._headers.get(typ)
        if header is None:
            header = self._headers[typ] = _segment({"alg": self.algorithm, "kid": self.kid, "typ": typ})
        message = header + b"." + _segment(claims)
        return (message + b"." + _base64url(_signature(self.key, message))).decode("ascii")


_ES256 = ECDSA(SHA256())
_P256_BYTES = 32


def _signature(key: SigningKey, message: bytes) -> bytes:
    private = key.private_key
    if isinstance(private, EllipticCurvePrivateKey):
        r, s = decode_dss_signature(private.sign(message, _ES256))
        return r.to_bytes(_P256_BYTES, "big") + s.to_bytes(_P256_BYTES, "big")  # RFC 7518 §3.4
    if isinstance(private, RSAPrivateKey):
        return private.sign(message, PKCS1v15(), SHA256())  # RFC 7518 §3.3
    raise ValueError("not a private key")


def _segment(document: Mapping[str, Any]) -> bytes:
    return _base64url(_encode(document).encode())


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """A public key of the JWKS, parsed once, with the one algorithm it may be used for."""

    algorithm: Algorithm
    kid: str
    jwk: Mapping[str, Any]
    key: SigningKey = field(repr=False)


def load_signer(algorithm: Algorithm, kid: str, private: bytes) -> Signer:
    """Parse an opened private key. Raises `ValueError` unless it is one, and of this algorithm."""
    key = parse_private(private)
    if isinstance(key, ECKey) is not (algorithm == "ES256"):
        raise ValueError(f"not a key for {algorithm}")
    if not key.is_private:
        raise ValueError("not a private key")
    return Signer(algorithm, kid, key)


def load_published(algorithm: Algorithm, kid: str, jwk: Mapping[str, Any]) -> PublishedKey:
    """Parse a public key of our own JWKS."""
    key = parse_public(jwk)
    return PublishedKey(algorithm, kid, public_jwk(key), key)


def verify_own(token: str, keys: Sequence[PublishedKey], *, typ: str) -> VerifiedClaims:
    """Return the claims of a JWT that one of our own keys signed. Times are left to the caller.

    `typ` keeps an ID token from passing as an access token (RFC 8725 §3.11). Raises `BadSignature`.
    """
    header = _header(token)
    if _media_type(header.get("typ")) != _media_type(typ):
        raise BadSignature("wrong typ")
    for key in keys:
        if key.kid == header.get("kid") and key.algorithm == header.get("alg"):
            return _verify(token, key.key, key.algorithm)
    raise BadSignature("unknown key")


def key_id_of(token: str) -> str | None:
    """Return the `kid` in the header, to find the keys that may verify the token. Raises `BadSignature`."""
    kid = _header(token).get("kid")
    if kid is not None and not isinstance(kid, str):
        raise BadSignature("kid is not text")
    return kid


def verify_with_keys(
    token: str, keys: Sequence[tuple[AnyKey, Collection[str]]], algorithms: Sequence[str]
) -> VerifiedClaims:
    """Return the claims of a JWT that one of a client's keys signed (client assertions, RFC 7523 §3).

    `keys`: each with the algorithms it may be used with. Raises `BadSignature`.
    """
    algorithm = _header(token).get("alg")
    if algorithm not in algorithms or algorithm not in _REGISTRIES:
        raise BadSignature("algorithm not accepted")
    for key, its_algorithms in keys:
        if algorithm in its_algorithms:
            try:
                return _verify(token, key, algorithm)
            except BadSignature:
                continue
    raise BadSignature("no registered key verifies the token")


def _verify(token: str, key: AnyKey, algorithm: str) -> VerifiedClaims:
    try:
        verified = jws.deserialize_compact(token, key, registry=_REGISTRIES[algorithm])
        claims = json.loads(verified.payload)
    except (JoseError, ValueError, RecursionError) as error:
        raise BadSignature(type(error).__name__) from None
    if not isinstance(claims, dict):
        raise BadSignature("claims are not an object")
    return VerifiedClaims(claims)


def _header(token: str) -> dict[str, Any]:
    if len(token) > MAX_TOKEN_CHARACTERS or token.count(".") != 2:
        raise BadSignature("not a compact JWS")
    try:
        header = jws.extract_compact(token.encode("ascii")).headers()
    except (JoseError, ValueError, RecursionError) as error:
        raise BadSignature(type(error).__name__) from None
    if "crit" in header:
        raise BadSignature("critical header members are not supported")  # RFC 7515 §4.1.11
    return dict(header)


def _media_type(value: object) -> str:
    text = str(value).lower()
    return text.removeprefix("application/")
