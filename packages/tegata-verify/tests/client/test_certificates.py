"""Client certificates against a TLS server that asks for them, with certificates made here."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tegata_verify.client import CertificateFiles, ClientCredentials, Obstacle, TlsClientAuth, TokenUnavailable

from .conftest import PATIENT


class Authority:
    """Certifies names, into files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.issued = 0
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")])
        self.file = directory / "ca.crt"
        certificate = self._certify(self.name, self.key.public_key(), is_authority=True)
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, to: str | None = None) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._certify(subject, key.public_key(), is_authority=False)
        certificate_file, key_file = self.directory / f"{to or name}.crt", self.directory / f"{to or name}.key"
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        # Times of files go in steps of milliseconds: one that is written again at once could keep its own.
        self.issued += 1
        os.utime(certificate_file, (self.issued, self.issued))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate_file, key_file

    def _certify(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, is_authority: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        return builder.sign(self.key, hashes.SHA256())


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def stand_in(authority, new_stand_in):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("server"))
    tls.load_verify_locations(authority.file)
    tls.verify_mode = ssl.CERT_REQUIRED
    return new_stand_in(tls)


def certified_name(heard) -> str:
    return dict(part[0] for part in heard.certificate["subject"])["commonName"]


def test_the_certificate_proves_the_client(stand_in, authority):
    certificate = CertificateFiles(*authority.issue("stock-service"), ca_file=authority.file)
    source = ClientCredentials(stand_in.issuer, TlsClientAuth("stock", certificate), policy=PATIENT)
    assert source.get().value == "token-1"
    (request,) = stand_in.asked
    assert certified_name(request) == "stock-service"
    assert request.form == {"grant_type": ["client_credentials"], "client_id": ["stock"]}
    assert "authorization" not in request.headers


def test_the_servers_address_for_certificates_is_preferred(stand_in, authority, said):
    metadata = {**stand_in.metadata(), "mtls_endpoint_aliases": {"token_endpoint": f"{stand_in.base}/mtls/token"}}
    stand_in.answers["/demo/.well-known/openid-configuration"] = lambda _: said(metadata)
    stand_in.answers["/mtls/token"] = stand_in.give
    certificate = CertificateFiles(*authority.issue("stock-service"), ca_file=authority.file)
    ClientCredentials(stand_in.issuer, TlsClientAuth("stock", certificate), policy=PATIENT).get()
    assert stand_in.heard[-1].path == "/mtls/token"


def test_renewed_files_are_read_again_and_half_a_renewal_is_survived(stand_in, authority):
    certificate_file, key_file = authority.issue("first", to="stock")
    certificate = CertificateFiles(certificate_file, key_file, ca_file=authority.file)
    source = ClientCredentials(stand_in.issuer, TlsClientAuth("stock", certificate), policy=PATIENT)

    def shown() -> str:
        source.rejected(source.get().value)
        source._cell._rejected = False
        return certified_name(stand_in.asked[-1])

    assert shown() == "first"
    old_key = key_file.read_bytes()
    authority.issue("second", to="stock")
    new_key = key_file.read_bytes()
    key_file.write_bytes(old_key)
    assert shown() == "first"
    key_file.write_bytes(new_key)
    assert shown() == "second"
    key_file.unlink()
    assert shown() == "second"


def test_the_same_context_serves_until_a_file_changes(authority):
    certificate_file, key_file = authority.issue("stock")
    certificate = CertificateFiles(certificate_file, key_file)
    first = certificate.context()
    assert certificate.context() is first
    os.utime(certificate_file, ns=(1, 1))
    assert certificate.context() is not first


def test_without_a_good_certificate_there_is_no_token(stand_in, authority, tmp_path):
    certificate_file, key_file = authority.issue("stock")
    missing = CertificateFiles(tmp_path / "none.crt", key_file, ca_file=authority.file)
    key_file.write_text("not a key")
    broken = CertificateFiles(certificate_file, key_file, ca_file=authority.file)
    for certificate in (missing, broken):
        with pytest.raises(TokenUnavailable) as raised:
            ClientCredentials(stand_in.issuer, TlsClientAuth("stock", certificate), policy=PATIENT).get()
        assert raised.value.obstacle is Obstacle.NOT_CONFIGURED


def test_a_server_of_another_authority_is_not_spoken_with(stand_in, authority, tmp_path):
    (tmp_path / "other").mkdir()
    certificate = CertificateFiles(*authority.issue("stock"), ca_file=Authority(tmp_path / "other").file)
    with pytest.raises(TokenUnavailable) as raised:
        ClientCredentials(stand_in.issuer, TlsClientAuth("stock", certificate), policy=PATIENT).get()
    assert raised.value.obstacle is Obstacle.UNAVAILABLE
    assert stand_in.heard == []
