"""Where the issuer's metadata may send our credentials, and for how long anything there may take."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress

import httpx2
import pytest

from tegata_verify.client import (
    AuthorizationServer,
    CertificateFiles,
    ClientCredentials,
    ClientSecret,
    Obstacle,
    TlsClientAuth,
    TokenExchange,
    TokenPolicy,
    TokenUnavailable,
)
from tegata_verify.client.wire import Request, Wire

from .conftest import PATIENT
from .test_certificates import Authority

ME = ClientSecret("me", "very-secret")
NOT_HERE = ["169.254.169.254", "10.0.0.1", "[fd00:ec2::254]", "[::ffff:10.0.0.1]", "0.0.0.0"]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """A proxy of the environment would decide where connections lead."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def obstacle_of(ask) -> tuple[Obstacle, str]:
    with pytest.raises(TokenUnavailable) as raised:
        ask()
    assert raised.value.__context__ is None
    return raised.value.obstacle, raised.value.detail


@pytest.mark.parametrize("host", NOT_HERE)
@pytest.mark.parametrize("kind", [ClientCredentials, TokenExchange])
def test_metadata_cannot_send_credentials_to_where_the_issuer_is_not(stand_in, said, host, kind):
    metadata = {**stand_in.metadata(), "token_endpoint": f"https://{host}:1/token"}
    stand_in.answers["/demo/.well-known/openid-configuration"] = lambda _: said(metadata)
    source = kind(stand_in.where, ME, policy=PATIENT)
    ask = source.get if kind is ClientCredentials else source.for_subject("taro").get
    obstacle, detail = obstacle_of(ask)
    assert (obstacle, "not public" in detail) == (Obstacle.BAD_ANSWER, True)
    assert [heard.method for heard in stand_in.heard] == ["GET"]


def test_nor_can_its_address_for_certificates(tmp_path, new_stand_in, said):
    authority = Authority(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("server"))
    stand_in = new_stand_in(tls)
    metadata = {**stand_in.metadata(), "mtls_endpoint_aliases": {"token_endpoint": "https://10.0.0.1:1/token"}}
    stand_in.answers["/demo/.well-known/openid-configuration"] = lambda _: said(metadata)
    certificate = CertificateFiles(*authority.issue("stock"), ca_file=authority.file)
    source = ClientCredentials(stand_in.issuer, TlsClientAuth("stock", certificate), policy=PATIENT)
    assert obstacle_of(source.get)[0] is Obstacle.BAD_ANSWER


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::1]", "localhost"])
def test_however_loopback_is_spelled_a_public_issuer_cannot_send_us_there(host):
    wire = Wire(transport=None, timeout_seconds=60, max_bytes=1000)
    request = Request("POST", f"https://{host}:1/token", None, named_by="https://8.8.8.8/metadata")
    assert obstacle_of(lambda: wire.post(request, []))[0] is Obstacle.BAD_ANSWER


def test_an_address_that_the_operator_wrote_down_is_asked_as_it_is():
    server = AuthorizationServer("https://id.example.com/demo", token_endpoint="https://127.0.0.1:1/token")
    obstacle, detail = obstacle_of(ClientCredentials(server, ME, policy=PATIENT).get)
    assert (obstacle, detail) == (Obstacle.UNAVAILABLE, "ConnectError")


@pytest.mark.parametrize("issuer", ["{}/", "{}?x", "{}/x", "HTTP{}"])
def test_metadata_are_the_issuers_to_the_letter(stand_in, said, issuer):
    named = issuer.format(stand_in.issuer.removeprefix("http") if "HTTP" in issuer else stand_in.issuer)
    stand_in.answers["/demo/.well-known/openid-configuration"] = lambda _: said(
        {**stand_in.metadata(), "issuer": named}
    )
    obstacle, detail = obstacle_of(ClientCredentials(stand_in.where, ME, policy=PATIENT).get)
    assert (obstacle, detail) == (Obstacle.BAD_ANSWER, "the discovery document is for another issuer")
    assert stand_in.asked == []


@pytest.fixture
def dripping() -> Iterator[str]:
    """Yield the address of a server whose answers, header and all, come byte by byte without end."""
    ended = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not ended.wait(0.02):
                connection.sendall(b"x")

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=drip, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        ended.set()
        listening.shutdown(socket.SHUT_RDWR)


def test_an_answer_that_drips_is_given_up_and_its_connection_with_it(dripping):
    wire = Wire(transport=None, timeout_seconds=0.2, max_bytes=1000)
    assert obstacle_of(lambda: wire.get(f"{dripping}/x", None))[0] is Obstacle.TIMEOUT


class Canned(httpx2.BaseTransport):
    """A transport of one's own, which blocks, as a proxy's would."""

    def __init__(self, token: object) -> None:
        self.token = token
        self.sent: list[bytes] = []
        self.closed = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            found = {"issuer": "https://id.example.com/demo", "token_endpoint": "https://10.0.0.1/token"}
            return httpx2.Response(200, json=found)
        self.sent.append(request.read())
        return httpx2.Response(200, content=iter([json.dumps(self.token).encode()]))

    def close(self) -> None:
        self.closed += 1


def test_a_transport_of_ones_own_decides_itself_where_it_goes():
    transport = Canned({"access_token": "token-1", "token_type": "Bearer"})
    source = ClientCredentials("https://id.example.com/demo", ME, transport=lambda: transport)
    assert source.get().value == "token-1"
    assert (transport.sent, transport.closed) == ([b"grant_type=client_credentials"], 2)


def test_its_answers_are_bounded_too():
    transport = Canned({"x": "x" * 1000})
    policy = TokenPolicy(max_bytes=900, timeout=60)
    source = ClientCredentials("https://id.example.com/demo", ME, transport=lambda: transport, policy=policy)
    assert obstacle_of(source.get) == (Obstacle.BAD_ANSWER, "more than 900 bytes")
