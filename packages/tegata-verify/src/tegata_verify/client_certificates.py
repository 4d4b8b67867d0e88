"""Finds the certificate a client used in TLS, from the header of a trusted proxy (RFC 8705 §3, RFC 9440).

No ASGI or WSGI server hands the certificate of its own TLS connection to the application, so a proxy ends TLS and says
in a header which certificate came. Anybody could write that header: it counts from trusted peers alone.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection
from dataclasses import KW_ONLY, dataclass
from enum import StrEnum
from urllib.parse import unquote_to_bytes

from cryptography import x509

from tegata_verify.errors import InvalidRequest, Reason, TokenError
from tegata_verify.peers import Network, is_peer_of, parse_networks
from tegata_verify.request import HttpRequest

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*")
_FIELD_NAME = re.compile(r"[a-z0-9-]+")


class CertificateFormat(StrEnum):
    """How a proxy writes the certificate."""

    PEM = "pem"
    """URL-encoded PEM of one certificate: nginx's `$ssl_client_escaped_cert`, an ALB's `…-Clientcert-Leaf`."""

    PEM_CHAIN = "pem-chain"
    """URL-encoded PEM of a chain, the client's own first: an ALB in passthrough mode."""

    BYTE_SEQUENCE = "byte-sequence"
    """DER in base64 between colons: `Client-Cert`, RFC 9440 §2.1."""


@dataclass(frozen=True, slots=True)
class ClientCertificates:
    """Which header says what certificate the client has, and from whom. Give it to `Guard(verifier, certificates=…)`.

    `trusted_peers` are the networks of the proxies that end TLS. The header from elsewhere is refused, whatever the
    token; so is a second one. The proxies must take a client's own such header away (RFC 9440 §4).
    `required` refuses tokens that are not bound to a certificate.

    The certificate's chain and dates are not judged here: the proxy has seen that the client holds its key, and that
    is what a binding is about.

    >>> ClientCertificates.nginx(["10.0.0.0/24"]).header
    'x-client-cert'
    """

    header: str
    format: CertificateFormat
    trusted_peers: Collection[str | Network]
    _: KW_ONLY
    required: bool = False
    max_header_bytes: int = 16 * 1024

    def __post_init__(self) -> None:
        object.__setattr__(self, "header", self.header.lower())
        object.__setattr__(self, "format", CertificateFormat(self.format))
        object.__setattr__(self, "trusted_peers", parse_networks(self.trusted_peers))
        if not _FIELD_NAME.fullmatch(self.header):
            raise ValueError("header: letters, digits and hyphens; proxies drop names with underscores")

    @classmethod
    def nginx(
        cls, trusted_peers: Collection[str | Network], *, header: str = "X-Client-Cert", required: bool = False
    ) -> ClientCertificates:
        """For `proxy_set_header X-Client-Cert $ssl_client_escaped_cert;`."""
        return cls(header, CertificateFormat.PEM, trusted_peers, required=required)

    @classmethod
    def alb_verify(cls, trusted_peers: Collection[str | Network], *, required: bool = False) -> ClientCertificates:
        """For an AWS Application Load Balancer with mutual TLS in verify mode."""
        return cls("X-Amzn-Mtls-Clientcert-Leaf", CertificateFormat.PEM, trusted_peers, required=required)

    @classmethod
    def alb_passthrough(cls, trusted_peers: Collection[str | Network], *, required: bool = False) -> ClientCertificates:
        """For an AWS Application Load Balancer with mutual TLS in passthrough mode: nobody has judged the chain."""
        return cls("X-Amzn-Mtls-Clientcert", CertificateFormat.PEM_CHAIN, trusted_peers, required=required)

    @classmethod
    def rfc9440(cls, trusted_peers: Collection[str | Network], *, required: bool = False) -> ClientCertificates:
        """For the header `Client-Cert` of RFC 9440."""
        return cls("Client-Cert", CertificateFormat.BYTE_SEQUENCE, trusted_peers, required=required)

    def find_thumbprint(self, request: HttpRequest) -> str | None:
        """Return the `x5t#S256` of the client's certificate, None if it has none. RFC 8705 §3.1.

        Raises `TokenError` for a header from an untrusted peer or one that holds no certificate, `InvalidRequest` for
        a second header.
        """
        values = request.values(self.header.encode())
        if not values:
            return None
        if not is_peer_of(self._networks, request.peer):
            raise TokenError(Reason.UNTRUSTED_PEER, self.header)
        if len(values) > 1:
            raise InvalidRequest(Reason.REPEATED_CERTIFICATE, self.header)
        value = values[0].strip(b" \t")
        if not value:
            return None  # how some proxies say that there is none
        try:
            return build_thumbprint(self._decode(value))
        except ValueError as error:
            raise TokenError(Reason.WRONG_CERTIFICATE, "no certificate in the header") from error

    @property
    def _networks(self) -> Collection[Network]:
        return self.trusted_peers  # type: ignore[return-value]  # parsed where the record is made

    def _decode(self, value: bytes) -> bytes:
        if len(value) > self.max_header_bytes:
            raise ValueError("too large")
        if self.format is CertificateFormat.BYTE_SEQUENCE:
            if len(value) < 2 or value[:1] != b":" or value[-1:] != b":":
                raise ValueError("not a byte sequence")
            return base64.b64decode(value[1:-1], validate=True)
        # A plus sign is one: an ALB does not encode it, and it stands in base64.
        certificates = _split_pem(unquote_to_bytes(value))
        if len(certificates) > 1 and self.format is CertificateFormat.PEM:
            raise ValueError("more than one certificate")
        return certificates[0]


def build_thumbprint(der: bytes) -> str:
    """Return the `x5t#S256` of a certificate. RFC 8705 §3.1. Raises `ValueError` if it is none."""
    x509.load_der_x509_certificate(der)
    digest = hashlib.sha256(der).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _split_pem(text: bytes) -> list[bytes]:
    found, position = [], 0
    while match := _PEM.match(text, position):
        found.append(base64.b64decode(b"".join(match[1].split()), validate=True))
        position = match.end()
    if not found or position != len(text):
        raise ValueError("not PEM")
    return found
