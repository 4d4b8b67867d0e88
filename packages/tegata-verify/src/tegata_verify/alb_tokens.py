"""Reads and verifies the token that an Application Load Balancer makes of a user's claims (`x-amzn-oidc-data`).

It is no JWS after RFC 7515: its segments are base64url *with* padding, and the signature covers the padded text (AWS,
"Authenticate users using an Application Load Balancer", user claims encoding). JOSE libraries refuse it, or strip what
was signed: the few lines of ES256 that it needs stand here, on cryptography's primitives.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tegata_verify.errors import Reason, TokenError
from tegata_verify.strict_json import DuplicateMember, MalformedJson, parse_json_object

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PEM = re.compile(rb"\s*-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=\s]+-----END PUBLIC KEY-----\s*")
_COORDINATE_BYTES = 32  # of P-256; a signature is two such numbers. RFC 7518 §3.4.


@dataclass(frozen=True, slots=True)
class UnverifiedData:
    """A well-formed token whose content nobody has vouched for yet; the payload is not even parsed."""

    header: Mapping[str, Any]
    payload: bytes
    signed: bytes
    signature: bytes


def parse_data(token: bytes, *, max_bytes: int) -> UnverifiedData:
    """Take the token apart. Raises `TokenError`; the size is checked before anything is read."""
    if len(token) > max_bytes:
        raise TokenError(Reason.TOKEN_TOO_LARGE)
    try:
        header, payload, signature = token.split(b".")
        return UnverifiedData(
            header=_parse_object(decode_padded(header)),
            payload=decode_padded(payload),
            signed=header + b"." + payload,
            signature=decode_padded(signature),
        )
    except ValueError as error:
        raise TokenError(Reason.MALFORMED_TOKEN) from error


def decode_padded(segment: bytes) -> bytes:
    """Decode base64url with its padding, in the one spelling a load balancer writes. RFC 4648 §3.2, §3.5.

    Raises `ValueError`: for a missing or wrong padding, the other alphabet, and bits that are not zero at the end.
    """
    if b"+" in segment or b"/" in segment:
        raise ValueError("not base64url")
    decoded = base64.b64decode(segment, b"-_", validate=True)
    if base64.urlsafe_b64encode(decoded) != segment:
        raise ValueError("not canonical")
    return decoded


def parse_key_name(kid: object) -> str:
    """Return `kid` if it is a UUID as load balancers write them, for an address is built from it.

    Raises `TokenError`.
    """
    # fullmatch, because $ would let a line end pass; lower case only, so that one key has one address.
    if not (isinstance(kid, str) and _UUID.fullmatch(kid)):
        raise TokenError(Reason.MALFORMED_TOKEN, "kid")
    return kid


def parse_public_key(pem: bytes) -> EllipticCurvePublicKey:
    """Return the P-256 key in `pem`, which must hold that key and nothing else. Raises `ValueError`. RFC 7468 §13."""
    if _PEM.fullmatch(pem) is None:
        raise ValueError("not one public key in PEM")
    key = load_pem_public_key(pem.strip())
    if not (isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)):
        raise ValueError("not a P-256 key")
    return key


def check_data_signature(token: UnverifiedData, key: EllipticCurvePublicKey) -> None:
    """Refuse the token unless `key` signed its text as it came. Raises `TokenError`. RFC 7518 §3.4."""
    if len(token.signature) != 2 * _COORDINATE_BYTES:
        raise TokenError(Reason.BAD_SIGNATURE, "length")
    r, s = (int.from_bytes(token.signature[at : at + _COORDINATE_BYTES]) for at in (0, _COORDINATE_BYTES))
    try:
        key.verify(encode_dss_signature(r, s), token.signed, ECDSA(SHA256()))
    except InvalidSignature as error:
        raise TokenError(Reason.BAD_SIGNATURE) from error


def parse_claims(token: UnverifiedData) -> dict[str, Any]:
    """Return what the load balancer says of the user. Raises `TokenError`. Check the signature before."""
    return _parse_object(token.payload)


def _parse_object(data: bytes) -> dict[str, Any]:
    try:
        return parse_json_object(data)
    except DuplicateMember as error:
        raise TokenError(Reason.DUPLICATE_MEMBER) from error
    except MalformedJson as error:
        raise TokenError(Reason.MALFORMED_TOKEN) from error
