"""How a service proves to the authorization server which client it is (RFC 6749 §2.3, RFC 7523, RFC 8705)."""

from __future__ import annotations

import base64
import json
import secrets
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote_plus

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from tegata_verify.client.certificates import CertificateFiles
from tegata_verify.client.flights import hidden
from tegata_verify.client.records import HiddenText
from tegata_verify.issuers import SUPPORTED_ALGORITHMS
from tegata_verify.tokens import SignatureRegistry

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

PrivateKey = ECKey | RSAKey | OKPKey


@dataclass(frozen=True, slots=True)
class Addressee:
    """Whom a client proves itself to: `now` is the time of day."""

    issuer: str
    token_endpoint: str
    now: float


@dataclass(frozen=True, slots=True)
class Proof:
    """What goes into one token request."""

    fields: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class ClientAuthentication(Protocol):
    """Proves which client asks."""

    @property
    def client_id(self) -> str:
        """The client's name."""

    def prove(self, addressee: Addressee) -> Proof:
        """Return the credentials for one request; may read files or sign, in a thread."""

    def tls(self) -> ssl.SSLContext | None:
        """Return the TLS context to connect with, None for the usual one."""


class ClientSecret:
    """A client secret; give a function to read it anew for each request, so that it may be rotated.

    Sent in the `Authorization` header (`client_secret_basic`), or with `in_body` as a form field
    (`client_secret_post`). RFC 6749 §2.3.1.

    >>> ClientSecret("stock-service", "a secret")
    ClientSecret('stock-service')
    """

    def __init__(self, client_id: str, secret: str | Callable[[], str], *, in_body: bool = False) -> None:
        self.client_id = client_id
        self._secret: HiddenText | Callable[[], str] = hidden(secret) if isinstance(secret, str) else secret
        self._in_body = in_body

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.client_id!r})"

    def prove(self, addressee: Addressee) -> Proof:
        """Return the secret in the way that was asked for."""
        secret = hidden(self._secret if isinstance(self._secret, str) else self._secret())
        if not secret:
            raise ValueError("the client secret is empty")
        if self._in_body:
            return Proof((("client_id", self.client_id), ("client_secret", secret)))
        pair = hidden(f"{quote_plus(self.client_id)}:{quote_plus(secret)}")
        return Proof(headers={"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()})

    def tls(self) -> None:
        """The usual TLS context will do."""


class PrivateKeyJwt:
    """A signed assertion for each request, good for a minute and once (`private_key_jwt`). RFC 7523 §2.2, §3.

    `key` is a private key of joserfc, or a function that gives the one of the moment, so that it may be rotated; its
    `kid` goes into the header. `audience` is "issuer" (what FAPI 2.0 §5.3.2.1 asks for), "token_endpoint", or a text
    of the server's own. `algorithm` is chosen by the kind of key: ES256, RS256 or EdDSA; a server may
    want the full name of that, Ed25519 (RFC 9864).

    >>> key = ECKey.generate_key("P-256", {"kid": "2026-11"})
    >>> proof = PrivateKeyJwt("stock-service", key).prove(Addressee("https://id.example.com/demo", "", now=0))
    >>> [name for name, _ in proof.fields]
    ['client_id', 'client_assertion_type', 'client_assertion']
    """

    def __init__(
        self,
        client_id: str,
        key: PrivateKey | Callable[[], PrivateKey],
        *,
        audience: str = "issuer",
        algorithm: str | None = None,
        lifetime_seconds: int = 60,
    ) -> None:
        if algorithm is not None and algorithm not in SUPPORTED_ALGORITHMS:
            raise ValueError(f"algorithm: choose from {', '.join(sorted(SUPPORTED_ALGORITHMS))}")
        if not 10 <= lifetime_seconds <= 300:
            raise ValueError("lifetime_seconds: 10 to 300; an assertion is for one request")
        self.client_id = client_id
        self._key = key
        self._audience = audience
        self._algorithm = algorithm
        self._lifetime_seconds = lifetime_seconds

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.client_id!r})"

    def prove(self, addressee: Addressee) -> Proof:
        """Return a new assertion."""
        key = self._key if isinstance(self._key, ECKey | RSAKey | OKPKey) else self._key()
        header = {"alg": self._algorithm or algorithm_of(key), "typ": "JWT", **({"kid": key.kid} if key.kid else {})}
        audiences = {"issuer": addressee.issuer, "token_endpoint": addressee.token_endpoint}
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": audiences.get(self._audience, self._audience),
            "jti": secrets.token_urlsafe(16),
            "iat": int(addressee.now),
            "exp": int(addressee.now) + self._lifetime_seconds,
        }
        assertion = jws.serialize_compact(header, json.dumps(claims), key, registry=SignatureRegistry())
        names = ("client_id", "client_assertion_type", "client_assertion")
        return Proof(tuple(zip(names, (self.client_id, ASSERTION_TYPE, assertion), strict=True)))

    def tls(self) -> None:
        """The usual TLS context will do."""


class TlsClientAuth:
    """A client certificate (`tls_client_auth`, or `self_signed_tls_client_auth`). RFC 8705 §2.

    The files are PEM, and read again when they change. A token that is obtained so is often bound to the certificate:
    call the other service with it, too (`CertificateFiles.context`).

    >>> TlsClientAuth("stock-service", CertificateFiles("/run/tls/tls.crt", "/run/tls/tls.key"))
    TlsClientAuth('stock-service')
    """

    def __init__(self, client_id: str, certificate: CertificateFiles) -> None:
        self.client_id = client_id
        self.certificate = certificate

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.client_id!r})"

    def prove(self, addressee: Addressee) -> Proof:
        """Name the client: the certificate proves it. RFC 8705 §2."""
        return Proof((("client_id", self.client_id),))

    def tls(self) -> ssl.SSLContext:
        """Return a context that shows the certificate."""
        return self.certificate.context()


def algorithm_of(key: PrivateKey) -> str:
    """Return the usual signature algorithm for a kind of key. Raises `ValueError` for a curve without one."""
    if isinstance(key, RSAKey):
        return "RS256"
    if isinstance(key, OKPKey):
        if key.curve_name != "Ed25519":
            raise ValueError("an OKP key is of the curve Ed25519")
        return "EdDSA"
    if key.as_dict(private=False)["crv"] != "P-256":
        raise ValueError("an EC key is of the curve P-256")
    return "ES256"
