"""Certificates of clients for mutual TLS, good ones and others, made where they are used."""

from __future__ import annotations

import base64
import hashlib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A certificate and its key, in files."""

    certificate: Path
    key: Path

    @property
    def thumbprint(self) -> str:
        """What a token says to be bound to it: `x5t#S256` (RFC 8705 §3.1)."""
        der = ssl.PEM_cert_to_DER_cert(self.certificate.read_text())
        return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()

    @property
    def escaped(self) -> str:
        """What nginx writes into a header: URL-encoded PEM."""
        return quote(self.certificate.read_text(), safe="")

    def build_context(self, server_authority: Path) -> ssl.SSLContext:
        """Return the settings of a TLS client that has it and trusts `server_authority`."""
        context = ssl.create_default_context(cafile=str(server_authority))
        context.load_cert_chain(self.certificate, self.key)
        return context


class ClientAuthority:
    """Issues certificates to clients, into `directory`; `root` is the file that servers are told to trust."""

    def __init__(self, directory: Path, name: str = "clients") -> None:
        self._directory, self._label = directory, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        # Two of them have the same name: what tells them apart must be the key.
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Client authority")])
        self.root = directory / f"{name}-root.pem"
        now = datetime.now(UTC)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        certificate = (
            _begin(self._name, self._name, self._key.public_key(), now - _DAY, now + _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.root.write_bytes(certificate.public_bytes(Encoding.PEM))

    def issue(
        self, name: str, *, from_days: float = -1, to_days: float = 1, server: bool = False, alone: bool = False
    ) -> ClientCertificate:
        """Return a certificate for these days from now; for servers, or signed by nobody but its own key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        issuer, signer = (subject, key) if alone else (self._name, self._key)
        certificate = (
            _begin(subject, issuer, key.public_key(), now + from_days * _DAY, now + to_days * _DAY)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(signer, hashes.SHA256())
        )
        start = self._directory / f"{self._label}-{name}"
        made = ClientCertificate(start.with_suffix(".pem"), start.with_suffix(".key"))
        made.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
        made.key.touch(mode=0o600)
        made.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return made


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, since: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
    )
