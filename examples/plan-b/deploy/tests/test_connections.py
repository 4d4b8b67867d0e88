"""WebSocket through the whole chain, connections that are kept, and TLS to the back."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from chain import UNUSED, Back, FrontLoadBalancer, Names

from tegata_credentials.testing.authority import Authority
from tegata_verify.testing import TestAlb, TestIssuer

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
HOST = "back.plan-b.internal"


@pytest.fixture(scope="module")
def running(start_nginx) -> Iterator[SimpleNamespace]:
    with ExitStack() as stack:
        names, back = stack.enter_context(Names()), stack.enter_context(Back())
        nginx = start_nginx(back_port=back.server_port, resolver_port=names.port)
        front = FrontLoadBalancer(
            ("127.0.0.1", nginx.port), TestAlb(TestIssuer()), lambda name, password: None, unauthenticated="allow"
        )
        yield SimpleNamespace(back=back, nginx=nginx, front=stack.enter_context(front))


def open_websocket(port: int) -> tuple[socket.socket, str, bytes]:
    """Return the connection after the upgrade, what was answered, and what the key must be answered with (RFC 6455)."""
    key = base64.b64encode(os.urandom(16))
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(
        b"GET /websocket HTTP/1.1\r\nHost: plan-b.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += receive(connection, 1)
    expected = base64.b64encode(hashlib.sha1(key + MAGIC).digest())
    return connection, answer.decode(), expected


def receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        assert part, "the other side has closed"
        data += part
    return data


@pytest.mark.parametrize("protocol", ["h2c", "websocket, h2c", "websocketx", "TLS/1.2"])
def test_no_other_protocol_than_websocket_passes_unseen(running, protocol: str) -> None:
    headers = {"Upgrade": protocol, "Connection": "Upgrade", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    with httpx2.Client(trust_env=False, timeout=60) as client:
        assert client.get(f"http://127.0.0.1:{running.nginx.port}/websocket", headers=headers).status_code == 200
    assert "upgrade" not in {name.lower() for name, _ in running.back.requests[-1].headers}


@pytest.mark.parametrize("part", ["nginx", "front"])
def test_a_websocket_goes_through(running, part: str) -> None:
    connection, answer, expected = open_websocket(getattr(running, part).port)
    with closing(connection):
        status, *lines = answer.splitlines()
        assert status.startswith("HTTP/1.1 101 ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        assert headers["sec-websocket-accept"] == expected.decode()
        for size in (1, 125, 100_000):
            frame = os.urandom(size)
            connection.sendall(frame)
            assert receive(connection, size) == frame


def test_a_websocket_lives_on_when_nginx_is_reloaded(running) -> None:
    connection, _, _ = open_websocket(running.front.port)
    with closing(connection):
        running.nginx.reload()
        connection.sendall(b"still there")
        assert receive(connection, 11) == b"still there"


def test_without_an_upgrade_none_is_asked_for(running) -> None:
    httpx2.get(f"{running.front.url}/plain", trust_env=False, verify=UNUSED, timeout=60)
    headers = {name.lower(): value for name, value in running.back.requests[-1].headers}
    assert "upgrade" not in headers
    assert "upgrade" not in headers.get("connection", "")


def test_the_back_learns_who_asked_and_how(running) -> None:
    httpx2.get(
        f"{running.front.url}/who",
        headers={"X-Forwarded-For": "203.0.113.9"},
        trust_env=False,
        verify=UNUSED,
        timeout=60,
    )
    headers = {name.lower(): value for name, value in running.back.requests[-1].headers}
    assert headers["x-forwarded-for"] == "203.0.113.9, 127.0.0.1, 127.0.0.1"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["host"] == "127.0.0.1"


def test_a_name_with_underscores_does_not_arrive(running) -> None:
    """To a WSGI application it would be the same name as with hyphens."""
    headers = {"X_Amzn_Oidc_Data": "x", "X_Client_Cert": "x", "X-Kept": "x"}
    httpx2.get(f"{running.nginx.url}/names", headers=headers, trust_env=False, verify=UNUSED, timeout=60)
    arrived = {name.lower() for name, _ in running.back.requests[-1].headers}
    assert "x-kept" in arrived
    assert not any("_" in name for name in arrived)


def test_the_connection_of_the_front_is_kept(running) -> None:
    before = running.front.connections
    # By itself this client leaves a connection that it has not used for five seconds.
    kept = httpx2.Limits(keepalive_expiry=600)
    with httpx2.Client(base_url=running.front.url, trust_env=False, verify=UNUSED, timeout=60, limits=kept) as browser:
        for _ in range(20):
            browser.get("/").raise_for_status()
    assert running.front.connections == before + 1


@pytest.mark.parametrize(("kept", "connections"), [(0, 20), (4, 1)])
def test_connections_to_the_back_are_kept_if_that_is_wanted(start_nginx, kept: int, connections: int, count) -> None:
    """Without, each request asks for the address; with, the name is looked up when nginx starts."""
    with Names() as names, Back() as back:
        nginx = start_nginx(
            back_host="127.0.0.1" if kept else HOST,
            back_port=back.server_port,
            resolver_port=names.port,
            back_keepalive=kept,
        )
        with httpx2.Client(base_url=nginx.url, trust_env=False, verify=UNUSED, timeout=60) as client:
            for _ in range(20):
                client.get("/").raise_for_status()
        count(f"Plan B: {kept} connections to the back kept", requests=20, connections=back.connections)
        assert back.connections == connections


TLS = {
    "its authority and its name": ({}, 200),
    "another name that it was told to expect": ({"back_certificate_name": "other.example"}, 502),
    "a name of its certificate that it was told to expect": ({"back_certificate_name": "alias.plan-b.internal"}, 200),
    "a name that is not in the certificate": ({"back_host": "elsewhere.plan-b.internal"}, 502),
    "another authority": ({"back_ca": "other"}, 502),
    "connections kept": ({"back_host": "localhost", "back_keepalive": 2, "back_certificate_name": HOST}, 200),
}


@pytest.fixture(scope="module")
def tls_back(tmp_path_factory) -> Iterator[SimpleNamespace]:
    directory = tmp_path_factory.mktemp("authorities")
    good, other = Authority(directory, "Good"), Authority(directory, "Other")
    context = good.issue("back", HOST, "alias.plan-b.internal").context()
    with Names() as names, Back(tls=context) as back:
        yield SimpleNamespace(names=names, back=back, good=good.root, other=other.root)


def copied(directory: Path, root: Path) -> str:
    """Put an authority where nginx can read it."""
    return str((directory / root.name).write_bytes(root.read_bytes()) and directory / root.name)


@pytest.mark.parametrize("case", TLS)
def test_the_back_is_known_by_its_authority_and_its_name(start_nginx, tls_back, case: str) -> None:
    given, expected = TLS[case]
    root = getattr(tls_back, given.get("back_ca", "good"))
    arrived = len(tls_back.back.requests)
    nginx = start_nginx(
        lambda directory: {**given, "back_ca": copied(directory, root)},
        back_port=tls_back.back.server_port,
        resolver_port=tls_back.names.port,
    )
    answer = httpx2.get(f"{nginx.url}/", trust_env=False, verify=UNUSED, timeout=60)
    assert answer.status_code == expected
    # Before it knows whom it speaks with, it says nothing: the request holds tokens.
    assert len(tls_back.back.requests) == arrived + (expected == 200)
    asked_for = given.get("back_certificate_name") or given.get("back_host") or HOST
    assert tls_back.back.server_names[-1] == asked_for


def test_a_back_without_tls_is_refused(start_nginx, tls_back) -> None:
    with Back() as plain:
        nginx = start_nginx(
            lambda directory: {"back_ca": copied(directory, tls_back.good)},
            back_port=plain.server_port,
            resolver_port=tls_back.names.port,
        )
        assert httpx2.get(f"{nginx.url}/", trust_env=False, verify=UNUSED, timeout=60).status_code == 502
        assert plain.requests == []
