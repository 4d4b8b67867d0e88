"""Decides whether a DPoP proof is good for this request, this token and this key (RFC 9449 §4.3, §7.1)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Collection, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from tegata_verify.algorithms import SUPPORTED_ALGORITHMS, name_fully
from tegata_verify.claims import numeric_date
from tegata_verify.errors import InvalidDpopProof, Reason, TokenError, UseDpopNonce
from tegata_verify.jwks import VerificationKey, parse_key
from tegata_verify.nonces import DpopNonces
from tegata_verify.proof_memory import LocalProofMemory, ProofMemory, UsedProof
from tegata_verify.request import HttpRequest
from tegata_verify.target_uri import find_path, normalize
from tegata_verify.tokens import UnverifiedToken, check_signature, media_type, parse_token

_HEADER = b"dpop"
_MAX_JTI_LENGTH = 512


@dataclass(frozen=True, slots=True)
class DpopPolicy:
    """How proofs are judged. Give it to `Guard(verifier, dpop=…)`.

    `base_urls` is the address, or the addresses, under which clients know this service: what a proof says of its
    target is compared with them and the request's path, never with the Host header, which the sender of a stolen proof
    would choose to fit. A path in it is put before the request's, for a proxy that takes a prefix away.
    A proof is good for `lifetime_seconds` after its `iat`; `leeway_seconds` is for clocks that run ahead.
    `nonces` makes clients put our nonce into each proof. `required` refuses tokens that are not bound to a key.

    >>> policy = DpopPolicy("https://api.example.com", nonces=DpopNonces(), required=True)
    >>> policy.base_urls
    ('https://api.example.com',)
    """

    base_urls: str | Collection[str]
    _: KW_ONLY
    algorithms: tuple[str, ...] = ("ES256", "Ed25519", "EdDSA", "PS256", "RS256")
    lifetime_seconds: float = 60
    leeway_seconds: float = 10
    max_proof_bytes: int = 8 * 1024
    memory: ProofMemory = field(default_factory=LocalProofMemory)
    nonces: DpopNonces | None = None
    required: bool = False

    def __post_init__(self) -> None:
        given = (self.base_urls,) if isinstance(self.base_urls, str) else self.base_urls
        object.__setattr__(self, "base_urls", tuple(normalize(url).rstrip("/") for url in given))
        object.__setattr__(self, "algorithms", name_fully(self.algorithms))
        if not self.base_urls:
            raise ValueError("base_urls: name the address under which clients know this service")
        if not self.algorithms or not SUPPORTED_ALGORITHMS.issuperset(self.algorithms):
            raise ValueError(f"algorithms: choose from {', '.join(sorted(SUPPORTED_ALGORITHMS))}")
        if not (0 < self.lifetime_seconds <= 3600 and 0 <= self.leeway_seconds <= 300):
            raise ValueError("lifetime_seconds: at most 3600; leeway_seconds: 0 to 300")

    def check(self, request: HttpRequest, token: str, thumbprint: str, now: float) -> bool | Awaitable[bool]:
        """Check the request's proof for a token that is bound to `thumbprint`, and tell whether the proof is new.

        Raises `InvalidDpopProof`, `UseDpopNonce` or `TokenError`; RFC 9449 §4.3 in an order in which nothing dear is
        done for a proof that cannot become good.
        """
        proof = _parse(find_proof(request), self.max_proof_bytes)
        key = _check_header(proof.header, self.algorithms)
        if not hmac.compare_digest(key.key.thumbprint().encode(), thumbprint.encode(errors="surrogatepass")):
            raise TokenError(Reason.WRONG_PROOF, "another key")
        _check_signature(proof, key)
        _check_target(proof.claims, request, self._find_targets(request))
        _check_token(proof.claims, token)
        _check_time(proof.claims, self.lifetime_seconds, self.leeway_seconds, now)
        self._check_nonce(proof.claims, now)
        jti = _find_jti(proof.claims)
        digest = hashlib.sha256(f"{thumbprint}\x00{jti}".encode(errors="surrogatepass")).hexdigest()
        # From now until the last moment in which a proof of this age or younger can be good.
        keep_seconds = self.lifetime_seconds + 2 * self.leeway_seconds + 1
        return self.memory.remember(UsedProof(digest, thumbprint, now, keep_seconds))

    def nonce(self, now: float) -> str | None:
        """Return the nonce for the next proof, None if none is asked for."""
        return self.nonces.make(now) if self.nonces is not None else None

    def _check_nonce(self, claims: Mapping[str, Any], now: float) -> None:
        """Refuse a proof without our nonce. RFC 9449 §9."""
        if self.nonces is None:
            return
        nonce = claims.get("nonce")
        if nonce is None:
            raise UseDpopNonce(Reason.MISSING_NONCE, self.nonces.make(now))
        if not isinstance(nonce, str) or not self.nonces.is_good(nonce, now):
            raise UseDpopNonce(Reason.WRONG_NONCE, self.nonces.make(now))

    def _find_targets(self, request: HttpRequest) -> frozenset[str]:
        path = find_path(request.url, request.raw_path)
        try:
            return frozenset(normalize(base + path) for base in self.base_urls if path is not None)
        except ValueError:
            return frozenset()


def find_proof(request: HttpRequest) -> bytes:
    """Return the one proof of a request. RFC 9449 §4.3 check 1. Raises `InvalidDpopProof`."""
    values = request.values(_HEADER)
    if not values:
        raise InvalidDpopProof(Reason.MISSING_PROOF)
    if len(values) > 1:
        raise InvalidDpopProof(Reason.MALFORMED_PROOF, "repeated")
    return values[0].strip(b" \t")


def build_token_hash(token: str) -> str:
    """Return the `ath` of a token. RFC 9449 §4.2."""
    digest = hashlib.sha256(token.encode("ascii", errors="replace")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _parse(proof: bytes, max_bytes: int) -> UnverifiedToken:
    try:
        return parse_token(proof, max_bytes=max_bytes)
    except TokenError as error:
        raise InvalidDpopProof(Reason.MALFORMED_PROOF, str(error.reason)) from error


def _check_header(header: Mapping[str, Any], algorithms: Collection[str]) -> VerificationKey:
    """Return the key that a proof carries. RFC 9449 §4.3 checks 4, 5 and 7. Raises `InvalidDpopProof`."""
    if "crit" in header or header.get("b64", True) is not True:
        raise InvalidDpopProof(Reason.MALFORMED_PROOF, "crit")
    if media_type(header.get("typ")) != "dpop+jwt":
        raise InvalidDpopProof(Reason.MALFORMED_PROOF, "typ")
    if header.get("alg") not in algorithms:
        raise InvalidDpopProof(Reason.MALFORMED_PROOF, "alg")
    # Refuses private and symmetric keys, weak ones, and those of another kind.
    key = parse_key(header.get("jwk"))
    if key is None or header["alg"] not in key.algorithms:
        raise InvalidDpopProof(Reason.MALFORMED_PROOF, "jwk")
    return key


def _check_signature(proof: UnverifiedToken, key: VerificationKey) -> None:
    """RFC 9449 §4.3 check 6."""
    try:
        check_signature(proof, key)
    except TokenError as error:
        raise InvalidDpopProof(Reason.WRONG_PROOF, "signature") from error


def _check_target(claims: Mapping[str, Any], request: HttpRequest, targets: Collection[str]) -> None:
    """RFC 9449 §4.3 checks 8 and 9."""
    if claims.get("htm") != request.method:
        raise InvalidDpopProof(Reason.WRONG_PROOF, "htm")
    htu = claims.get("htu")
    try:
        target = normalize(htu) if isinstance(htu, str) else None
    except ValueError:
        target = None
    if target is None or target not in targets:
        raise InvalidDpopProof(Reason.WRONG_PROOF, "htu")


def _check_token(claims: Mapping[str, Any], token: str) -> None:
    """RFC 9449 §4.3 check 12."""
    ath = claims.get("ath")
    if not isinstance(ath, str) or not hmac.compare_digest(
        ath.encode(errors="surrogatepass"), build_token_hash(token).encode()
    ):
        raise InvalidDpopProof(Reason.WRONG_PROOF, "ath")


def _check_time(claims: Mapping[str, Any], lifetime: float, leeway: float, now: float) -> None:
    """RFC 9449 §4.3 check 11; `exp` and `nbf` are not asked for but hold where they are (RFC 7519 §4.1)."""
    try:
        issued, expires, not_before = (numeric_date(claims, name) for name in ("iat", "exp", "nbf"))
    except TokenError as error:
        raise InvalidDpopProof(Reason.MALFORMED_PROOF, error.detail) from error
    if issued is None:
        raise InvalidDpopProof(Reason.MALFORMED_PROOF, "iat")
    if not now - lifetime <= issued <= now + leeway:
        raise InvalidDpopProof(Reason.WRONG_PROOF, "iat")
    if (expires is not None and now >= expires + leeway) or (not_before is not None and now < not_before - leeway):
        raise InvalidDpopProof(Reason.WRONG_PROOF, "exp or nbf")


def _find_jti(claims: Mapping[str, Any]) -> str:
    """RFC 9449 §4.3 check 3."""
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= _MAX_JTI_LENGTH:
        raise InvalidDpopProof(Reason.MALFORMED_PROOF, "jti")
    return jti
