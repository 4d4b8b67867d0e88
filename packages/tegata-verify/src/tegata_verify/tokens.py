"""Decides whether a JWT is an access token of this issuer for this service, now (RFC 9068 §4, RFC 8725)."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, NewType

from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError

from tegata_verify.claims import audience_of, numeric_date
from tegata_verify.errors import Reason, TokenError
from tegata_verify.issuers import SUPPORTED_ALGORITHMS, Generic
from tegata_verify.jwks import MAX_KID_LENGTH, VerificationKey
from tegata_verify.strict_json import DuplicateMember, MalformedJson, parse_json_object

VerifiedClaims = NewType("VerifiedClaims", Mapping[str, Any])


class UnverifiedToken(NamedTuple):
    """A well-formed JWS whose content nobody has vouched for yet."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    header_segment: bytes
    signed: bytes
    signature: bytes


class SignatureRegistry(jws.JWSRegistry):
    """joserfc's rules with our list of algorithms and no other."""

    max_header_length = 8 * 1024

    def __init__(self) -> None:
        # Unknown header members must be ignored, RFC 7515 §4; `crit` is refused before.
        super().__init__(algorithms=SUPPORTED_ALGORITHMS, strict_check_header=False)

    def get_alg(self, name: str) -> Any:
        # Without the library's deprecation warning for the name EdDSA: issuers are free to use it.
        if name not in SUPPORTED_ALGORITHMS:
            raise UnsupportedAlgorithmError(name)
        return self.algorithms[name]


_REGISTRY = SignatureRegistry()

# base64url in terms of base64; what base64 knows and base64url does not, padding included, becomes no letter at all.
_BASE64URL = bytes.maketrans(b"-_+/=", b"+/\0\0\0")
# The bits of the last character that belong to no byte are zero: by the number of characters in the last group of four.
_LAST_CHARACTERS = (
    frozenset[bytes](),
    frozenset[bytes](),
    frozenset({b"A", b"Q", b"g", b"w"}),
    frozenset(bytes([letter]) for letter in b"AEIMQUYcgkosw048"),
)


_NO_HEADERS: Mapping[bytes, Mapping[str, Any]] = MappingProxyType({})


def parse_token(
    token: str | bytes, *, max_bytes: int, known_headers: Mapping[bytes, Mapping[str, Any]] = _NO_HEADERS
) -> UnverifiedToken:
    """Take a compact JWS apart. RFC 7515 §7.1, §5.2.

    Raises `TokenError` for anything else, JWE included; the size is checked before anything is parsed.
    `known_headers` are parsed already: an issuer's tokens share a few.
    """
    if len(token) > max_bytes:
        raise TokenError(Reason.TOKEN_TOO_LARGE)
    try:
        data = token.encode("ascii") if isinstance(token, str) else token
        signed, _, signature = data.rpartition(b".")
        header, payload = signed.split(b".")
        return UnverifiedToken(
            known_headers.get(header) or parse_json_object(decode_segment(header)),
            parse_json_object(decode_segment(payload)),
            header,
            signed,
            decode_segment(signature),
        )
    except DuplicateMember as error:
        raise TokenError(Reason.DUPLICATE_MEMBER) from error
    except (MalformedJson, ValueError) as error:
        raise TokenError(Reason.MALFORMED_TOKEN) from error


def decode_segment(segment: bytes) -> bytes:
    """Decode base64url without padding, in its one canonical spelling. RFC 7515 §2, RFC 4648 §3.5.

    Raises `ValueError`. A second spelling of the same bytes would be a second token with the same signature.
    """
    rest = len(segment) % 4
    if rest and segment[-1:] not in _LAST_CHARACTERS[rest]:
        raise ValueError("not canonical")
    return binascii.a2b_base64(segment.translate(_BASE64URL) + b"==="[: -rest % 4], strict_mode=True)


def check_header(header: Mapping[str, Any], rules: Generic) -> tuple[str, str | None]:
    """Return the algorithm and the key's name if the header keeps `rules`. RFC 9068 §4, RFC 8725 §3.1, §3.11.

    Raises `TokenError`. `jwk`, `jku`, `x5c` and `x5u` are not looked at: keys come from the issuer alone.
    """
    algorithm, kid = header.get("alg"), header.get("kid")
    if "crit" in header or header.get("b64", True) is not True:
        # No extension is understood, and an empty list is not allowed. RFC 7515 §4.1.11, RFC 7797 §6.
        raise TokenError(Reason.CRITICAL_HEADER)
    if not isinstance(algorithm, str) or algorithm not in rules.algorithms:
        raise TokenError(Reason.ALGORITHM_NOT_ALLOWED)
    if rules.token_types and media_type(header.get("typ")) not in rules.token_types:
        raise TokenError(Reason.WRONG_TYPE)
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= MAX_KID_LENGTH):
        raise TokenError(Reason.MALFORMED_TOKEN, "kid")
    return algorithm, kid


def media_type(typ: object) -> str | None:
    """Return `typ` in lower case without `application/`. RFC 7515 §4.1.9."""
    return typ.lower().removeprefix("application/") if isinstance(typ, str) else None


def choose_key(
    keys: Sequence[VerificationKey],
    algorithm: str,
    kid: str | None,
    accepts: Callable[[VerificationKey], bool] = lambda _: True,
) -> VerificationKey:
    """Return the key that must have signed: named by `kid`, or the only one there is. RFC 8725 §3.1.

    `accepts` tells whether a key may sign for the token's own issuer. Raises `TokenError`.
    """
    if not keys:
        raise TokenError(Reason.UNKNOWN_KEY)
    if kid is None and len(keys) > 1:
        raise TokenError(Reason.MISSING_KID)
    for key in keys:
        if algorithm in key.algorithms and accepts(key):
            return key
    raise TokenError(Reason.WRONG_KEY)


def check_signature(token: UnverifiedToken, key: VerificationKey) -> None:
    """Refuse the token unless `key` signed it. Raises `TokenError`. RFC 7515 §5.2."""
    algorithm = token.header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in key.algorithms:
        raise TokenError(Reason.WRONG_KEY)
    try:
        # The library's layers above its algorithms would take the token apart once more.
        good = _REGISTRY.get_alg(algorithm).verify(token.signed, token.signature, key.key)
    except (JoseError, ValueError, TypeError) as error:
        raise TokenError(Reason.BAD_SIGNATURE, type(error).__name__) from error
    if not good:
        raise TokenError(Reason.BAD_SIGNATURE)


def check_claims(claims: Mapping[str, Any], rules: Generic, *, now: float) -> VerifiedClaims:
    """Return the claims if they keep `rules` at `now`. RFC 9068 §4, RFC 7519 §4.1.

    Raises `TokenError`. The signature must have been checked before.
    """
    issuer = claims.get("iss")
    if rules.accepted_issuers and not (isinstance(issuer, str) and issuer in rules.accepted_issuers):
        raise TokenError(Reason.UNKNOWN_ISSUER)
    rules.check(claims)
    if rules.audiences and audience_of(claims).isdisjoint(rules.audiences):
        raise TokenError(Reason.WRONG_AUDIENCE)
    check_times(claims, rules.leeway_seconds, now=now)
    for name in rules.required_claims:
        value = claims.get(name)
        if value is None or value == "":
            raise TokenError(Reason.MISSING_CLAIM, name)
    if rules.client_ids and rules.find_client(claims) not in rules.client_ids:
        raise TokenError(Reason.WRONG_CLIENT)
    return VerifiedClaims(claims)


def check_times(claims: Mapping[str, Any], leeway_seconds: float, *, now: float) -> None:
    """Refuse a token outside its lifetime. RFC 7519 §4.1.4 to §4.1.6. Raises `TokenError`."""
    expires = numeric_date(claims, "exp")
    not_before, issued = numeric_date(claims, "nbf"), numeric_date(claims, "iat")
    if expires is None:
        raise TokenError(Reason.MISSING_CLAIM, "exp")
    if now >= expires + leeway_seconds:
        raise TokenError(Reason.EXPIRED)
    if not_before is not None and now < not_before - leeway_seconds:
        raise TokenError(Reason.NOT_YET_VALID)
    if issued is not None and now < issued - leeway_seconds:
        raise TokenError(Reason.ISSUED_IN_FUTURE)
