"""Tokens bound to a client certificate that a trusted proxy names (RFC 8705 §3)."""

from __future__ import annotations

import base64
import datetime
import hashlib
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tegata_verify import AccessError, ClientCertificates, Guard, HttpRequest, Reason
from tegata_verify.testing import TestIssuer

pytestmark = pytest.mark.anyio

PROXY, STRANGER = "10.0.0.7", "198.51.100.9"


def make_certificate(name):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), now, now)
    return builder.sign(key, hashes.SHA256())


CLIENT, OTHER = make_certificate("client"), make_certificate("other")
DER = CLIENT.public_bytes(serialization.Encoding.DER)
PEM, OTHER_PEM = (c.public_bytes(serialization.Encoding.PEM).decode() for c in (CLIENT, OTHER))
THUMBPRINT = base64.urlsafe_b64encode(hashlib.sha256(DER).digest()).rstrip(b"=").decode()

NGINX = ClientCertificates.nginx(["10.0.0.0/24"])
WAYS = {
    "nginx": (NGINX, "x-client-cert", quote(PEM, safe="")),
    "alb-verify": (
        ClientCertificates.alb_verify(["10.0.0.0/24"]),
        "x-amzn-mtls-clientcert-leaf",
        quote(PEM, safe="+=/"),
    ),
    "alb-passthrough": (
        ClientCertificates.alb_passthrough(["10.0.0.0/24"]),
        "x-amzn-mtls-clientcert",
        quote(PEM + OTHER_PEM, safe="+=/"),
    ),
    "rfc9440": (ClientCertificates.rfc9440(["10.0.0.0/24"]), "client-cert", f":{base64.b64encode(DER).decode()}:"),
}


def send(token, *headers, peer=PROXY):
    fields = ((b"authorization", f"Bearer {token}".encode()), *((n.encode(), v.encode()) for n, v in headers))
    return HttpRequest("GET", "https://api.example.com/beers", fields, peer=peer)


def bound(issuer, thumbprint=THUMBPRINT):
    return issuer.mint(claims={"cnf": {"x5t#S256": thumbprint}})


async def reason_of(guard, sent):
    try:
        await guard.authorize(sent)
    except AccessError as error:
        return error.reason
    return None


@pytest.mark.parametrize("way", WAYS)
async def test_a_bound_token_is_taken_with_its_certificate_alone(way):
    certificates, header, value = WAYS[way]
    issuer = TestIssuer()
    guard, token = Guard(issuer.verifier(), certificates=certificates), bound(issuer)
    assert await reason_of(guard, send(token, (header, value))) is None
    assert await reason_of(guard, send(token)) is Reason.WRONG_CERTIFICATE
    assert await reason_of(guard, send(token, (header, ""))) is Reason.WRONG_CERTIFICATE
    assert await reason_of(guard, send(bound(issuer, "x" * 43), (header, value))) is Reason.WRONG_CERTIFICATE
    # Without the part nobody could tell: the same request is refused.
    assert await reason_of(Guard(issuer.verifier()), send(token, (header, value))) is Reason.WRONG_CERTIFICATE


@pytest.mark.parametrize("peer", [STRANGER, None, "unix:", "10.0.1.1", "::1"])
@pytest.mark.parametrize("is_bound", [True, False])
async def test_the_header_from_a_stranger_is_refused_whatever_the_token(peer, is_bound):
    issuer = TestIssuer()
    guard = Guard(issuer.verifier(), certificates=NGINX)
    token = bound(issuer) if is_bound else issuer.mint()
    sent = send(token, ("x-client-cert", quote(PEM)), peer=peer)
    assert await reason_of(guard, sent) is Reason.UNTRUSTED_PEER


async def test_an_ipv4_peer_may_be_written_as_an_ipv6_address():
    issuer = TestIssuer()
    guard = Guard(issuer.verifier(), certificates=NGINX)
    sent = send(bound(issuer), ("x-client-cert", quote(PEM)), peer="::ffff:10.0.0.7")
    assert await reason_of(guard, sent) is None


async def test_of_two_headers_none_is_trusted():
    issuer = TestIssuer()
    guard = Guard(issuer.verifier(), certificates=NGINX)
    for second in (quote(PEM), quote(OTHER_PEM), ""):
        sent = send(bound(issuer), ("x-client-cert", quote(PEM)), ("x-client-cert", second))
        assert await reason_of(guard, sent) is Reason.REPEATED_CERTIFICATE


@pytest.mark.parametrize(
    "value",
    [
        "x",
        quote(PEM + OTHER_PEM),
        quote(PEM + "x"),
        quote("x" + PEM),
        quote(PEM.replace("M", "*")),
        quote("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        quote(PEM * 40),
        "%",
        f":{base64.b64encode(DER).decode()}:",
    ],
)
async def test_what_is_not_one_certificate_is_refused(value):
    issuer = TestIssuer()
    guard = Guard(issuer.verifier(), certificates=NGINX)
    assert await reason_of(guard, send(bound(issuer), ("x-client-cert", value))) is Reason.WRONG_CERTIFICATE


@pytest.mark.parametrize("value", [base64.b64encode(DER).decode(), ":", "::", ":x:", ":AAAA:", ":AAAA"])
async def test_what_is_no_byte_sequence_of_a_certificate_is_refused(value):
    issuer = TestIssuer()
    guard = Guard(issuer.verifier(), certificates=WAYS["rfc9440"][0])
    assert await reason_of(guard, send(bound(issuer), ("client-cert", value))) is Reason.WRONG_CERTIFICATE


async def test_where_certificates_are_required_no_other_token_is_taken():
    issuer = TestIssuer()
    guard = Guard(issuer.verifier(), certificates=ClientCertificates.nginx(["10.0.0.0/24"], required=True))
    assert await reason_of(guard, send(issuer.mint(), ("x-client-cert", quote(PEM)))) is Reason.NOT_BOUND
    assert await reason_of(guard, send(bound(issuer), ("x-client-cert", quote(PEM)))) is None


@pytest.mark.parametrize("peers", [[], ["0.0.0.0/0"], ["::/0"], ["10.0.0.1/8"], ["proxy"]])
def test_trusted_peers_are_networks_of_ones_own(peers):
    with pytest.raises(ValueError, match=r"."):
        ClientCertificates.nginx(peers)


def test_a_header_that_proxies_drop_is_no_header():
    with pytest.raises(ValueError, match="underscores"):
        ClientCertificates.nginx(["10.0.0.1"], header="x_client_cert")
