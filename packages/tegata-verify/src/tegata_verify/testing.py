"""An issuer for tests: real keys, real tokens, no network."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from typing import Any

import httpx2
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from tegata_verify.alb_testing import TestAlb
from tegata_verify.issuers import Generic, Tegata
from tegata_verify.keys import CachePolicy, Clock
from tegata_verify.tokens import SignatureRegistry
from tegata_verify.verifier import Verifier

__all__ = ["TestAlb", "TestIssuer", "build_verifier"]


class TestIssuer:
    """Mints access tokens as Tegata does, with a key made when it is made.

    `issuer.verifier()` is a `Verifier` that takes the keys from here, through the same code as in production but
    without a socket. Several issuers: `build_verifier(first, second)`.
    """

    __test__ = False  # for pytest this is no test class, whatever its name

    def __init__(
        self,
        issuer: str = "https://issuer.test/demo",
        *,
        audience: str = "https://api.test",
        algorithm: str = "ES256",
        clock: Clock = time.time,
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self.algorithm = algorithm
        self.clock = clock
        self._keys: list[ECKey | RSAKey | OKPKey] = []
        self.rotate()

    @property
    def rules(self) -> Tegata:
        """What a verifier must be told to trust this issuer."""
        return Tegata(self.issuer, {self.audience}, allow_loopback_http=True)

    @property
    def key(self) -> ECKey | RSAKey | OKPKey:
        """The private key that signs now."""
        return self._keys[-1]

    def rotate(self, *, withdraw: bool = False) -> None:
        """Sign with a new key from now on; with `withdraw` the old ones are no longer published."""
        if withdraw:
            self._keys.clear()
        name = f"key-{time.time_ns()}-{len(self._keys)}"
        self._keys.append(_generate_key(self.algorithm, name))

    def mint(
        self,
        *,
        subject: str = "user-1",
        client_id: str = "client-1",
        scope: str | Collection[str] = (),
        roles: Collection[str] = (),
        audience: str | list[str] | None = None,
        lifetime_seconds: float = 300,
        claims: Mapping[str, Any] | None = None,
        header: Mapping[str, Any] | None = None,
    ) -> str:
        """Return a signed access token. `claims` and `header` are laid over the rest; None takes a member away."""
        now = int(self.clock())
        payload = {
            "iss": self.issuer,
            "sub": subject,
            "client_id": client_id,
            "aud": self.audience if audience is None else audience,
            "iat": now,
            "exp": int(now + lifetime_seconds),
            "jti": f"token-{time.time_ns()}",
            "scope": scope if isinstance(scope, str) else " ".join(scope),
            "roles": sorted(roles),
        }
        protected = {"alg": self.algorithm, "typ": "at+jwt", "kid": self.key.kid}
        return _sign(_laid_over(protected, header), _laid_over(payload, claims), self.key)

    def jwks(self) -> dict[str, Any]:
        """Return the public keys, as the issuer's `jwks_uri` would."""
        return {"keys": [key.as_dict(private=False, alg=self.algorithm, use="sig") for key in self._keys]}

    def documents(self) -> dict[str, dict[str, Any]]:
        """Return what the issuer publishes, by address."""
        jwks_uri = f"{self.issuer}/jwks"
        return {
            self.rules.metadata_url: {"issuer": self.issuer, "jwks_uri": jwks_uri},
            jwks_uri: self.jwks(),
        }

    def transport(self) -> httpx2.AsyncBaseTransport:
        """Return an HTTP transport that answers as this issuer's server would, for a `Verifier` of your own."""
        return _Published((self,))

    def verifier(self, *rules: Generic, cache_policy: CachePolicy | None = None) -> Verifier:
        """Return a verifier bound to this issuer, after `rules` if given and else after `self.rules`."""
        return Verifier(
            *(rules or (self.rules,)),
            transport=self.transport,
            clock=self.clock,
            cache_policy=cache_policy,
        )


def build_verifier(*issuers: TestIssuer, clock: Clock = time.time) -> Verifier:
    """Return a verifier that trusts several test issuers."""
    return Verifier(*(issuer.rules for issuer in issuers), transport=lambda: _Published(issuers), clock=clock)


class _Published(httpx2.AsyncBaseTransport):
    """Answers as the issuers' servers would."""

    def __init__(self, issuers: tuple[TestIssuer, ...]) -> None:
        self._issuers = issuers

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        for issuer in self._issuers:
            document = issuer.documents().get(str(request.url))
            if document is not None:
                return httpx2.Response(200, json=document)
        return httpx2.Response(404)


def _generate_key(algorithm: str, kid: str) -> ECKey | RSAKey | OKPKey:
    if algorithm == "ES256":
        return ECKey.generate_key("P-256", {"kid": kid})
    if algorithm == "EdDSA":
        return OKPKey.generate_key("Ed25519", {"kid": kid})
    return RSAKey.generate_key(2048, {"kid": kid})


def _laid_over(under: Mapping[str, Any], over: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in {**under, **(over or {})}.items() if value is not None}


def _sign(header: dict[str, Any], payload: dict[str, Any], key: ECKey | RSAKey | OKPKey) -> str:
    return jws.serialize_compact(header, json.dumps(payload), key, registry=SignatureRegistry())
