"""To what tokens of tests are bound: a DPoP key (RFC 9449) or a client certificate (RFC 8705), made when needed."""

from __future__ import annotations

import base64
import datetime
import hashlib
import time
from collections.abc import Mapping
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tegata_verify.client.dpop import DpopKey
from tegata_verify.client_certificates import CertificateFormat, ClientCertificates
from tegata_verify.keys import Clock


class TestDpopKey:
    """A client's key, and proofs made with it.

    >>> from tegata_verify.testing import TestIssuer
    >>> key = TestDpopKey()
    >>> token = TestIssuer().mint(bound_to=key)
    >>> list(key.headers("GET", "https://api.test/beers", token))
    ['Authorization', 'DPoP']
    """

    __test__ = False  # for pytest this is no test class, whatever its name

    def __init__(self, *, clock: Clock = time.time) -> None:
        self.clock = clock
        self._key = DpopKey()

    @property
    def confirmation(self) -> Mapping[str, str]:
        """What a bound token says of this key. RFC 9449 §6.1."""
        return {"jkt": self._key.thumbprint}

    def prove(self, method: str, url: str, token: str, *, nonce: str | None = None) -> str:
        """Return a new proof for one request with `token`. RFC 9449 §4.2."""
        return self._key.prove(method, url, now=self.clock(), token=token, nonce=nonce)

    def headers(self, method: str, url: str, token: str, *, nonce: str | None = None) -> dict[str, str]:
        """Return the headers of one request; sent twice they are a replay."""
        return {"Authorization": f"DPoP {token}", "DPoP": self.prove(method, url, token, nonce=nonce)}


class TestCertificate:
    """A client's certificate, signed by its own key.

    >>> certificate = TestCertificate()
    >>> list(certificate.headers(ClientCertificates.nginx(["10.0.0.7"])))
    ['x-client-cert']
    """

    __test__ = False  # for pytest this is no test class, whatever its name

    def __init__(self, name: str = "client-1") -> None:
        key = generate_private_key(SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .sign(key, SHA256())
        )

    @property
    def confirmation(self) -> Mapping[str, str]:
        """What a bound token says of this certificate. RFC 8705 §3.1."""
        digest = hashlib.sha256(self.certificate.public_bytes(Encoding.DER)).digest()
        return {"x5t#S256": base64.urlsafe_b64encode(digest).rstrip(b"=").decode()}

    def headers(self, rules: ClientCertificates) -> dict[str, str]:
        """Return the header that a proxy adds which writes certificates after `rules`."""
        if rules.format is CertificateFormat.BYTE_SEQUENCE:
            der = self.certificate.public_bytes(Encoding.DER)
            return {rules.header: f":{base64.b64encode(der).decode()}:"}
        return {rules.header: quote(self.certificate.public_bytes(Encoding.PEM), safe="+/=")}
