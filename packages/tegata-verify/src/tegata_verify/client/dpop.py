"""Binds tokens to a key of this process, so that a stolen one is of no use (RFC 9449)."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from urllib.parse import urlsplit

from joserfc import jws
from joserfc.jwk import ECKey

from tegata_verify.locks import ForkSafeLock
from tegata_verify.tokens import SignatureRegistry

_MOST_ORIGINS = 256
_MOST_NONCE_CHARACTERS = 512


class DpopKey:
    """A key, and the nonces that servers have asked to see in its proofs. Make one for the process.

    Without an argument the key is made here and ends with the process, which is what a service wants.

    >>> key = DpopKey()
    >>> proof = key.prove("GET", "https://stock.example.com/beers?page=2", now=1_700_000_000)
    >>> proof.count(".")
    2
    """

    def __init__(self, key: ECKey | None = None) -> None:
        self._key = key or ECKey.generate_key("P-256")
        self._public = {name: self._key.as_dict(private=False)[name] for name in ("kty", "crv", "x", "y")}
        self._nonces: OrderedDict[str, str] = OrderedDict()
        self._lock = ForkSafeLock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.thumbprint!r})"

    @property
    def thumbprint(self) -> str:
        """What a bound token names as `cnf.jkt`. RFC 7638 §3, RFC 9449 §6.1."""
        text = json.dumps(self._public, separators=(",", ":"), sort_keys=True)
        return _base64url(hashlib.sha256(text.encode()).digest())

    def prove(self, method: str, url: str, *, now: float, token: str | None = None, nonce: str | None = None) -> str:
        """Return a proof for one request. RFC 9449 §4.2. `nonce` overrides the one that the server has asked for."""
        claims = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": url.partition("#")[0].partition("?")[0],
            "iat": int(now),
        }
        if token is not None:
            claims["ath"] = _base64url(hashlib.sha256(token.encode()).digest())
        nonce = nonce or self._nonces.get(_origin(url))
        if nonce is not None:
            claims["nonce"] = nonce
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": self._public}
        return jws.serialize_compact(header, json.dumps(claims), self._key, registry=SignatureRegistry())

    def learn(self, url: str, headers: Mapping[str, str]) -> bool:
        """Keep the nonce of an answer, if it has a new one, and tell whether it has. RFC 9449 §8.2, §9."""
        nonce = headers.get("dpop-nonce")
        if not nonce or len(nonce) > _MOST_NONCE_CHARACTERS:
            return False
        origin = _origin(url)
        with self._lock:
            changed = self._nonces.get(origin) != nonce
            self._nonces[origin] = nonce
            self._nonces.move_to_end(origin)
            while len(self._nonces) > _MOST_ORIGINS:
                self._nonces.popitem(last=False)
        return changed


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
