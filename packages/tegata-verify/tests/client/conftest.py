"""A stand-in for an authorization server and for a service behind it, on loopback; its judge of assertions is PyJWT."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import pytest

from tegata_verify.client import AuthorizationServer, Surroundings, TokenPolicy

PATIENT = TokenPolicy(timeout=60)


@dataclass
class Said:
    """One HTTP answer."""

    document: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None

    @property
    def content(self) -> bytes:
        return self.body if self.body is not None else json.dumps(self.document).encode()


@dataclass
class Heard:
    """One HTTP request, as it came over the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    certificate: dict[str, Any] | None

    @property
    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode(), keep_blank_values=True)

    @property
    def basic(self) -> tuple[str, str]:
        client_id, _, secret = base64.b64decode(self.headers["authorization"][6:]).decode().partition(":")
        return unquote_plus(client_id), unquote_plus(secret)

    @property
    def token(self) -> str:
        return self.headers["authorization"].split(" ")[1]


class StandIn:
    """Answers each path with a function of the request; numbers the tokens it gives. While `gate` is unset it waits."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.heard: list[Heard] = []
        self.gate = threading.Event()
        self.gate.set()
        self.given = 0
        self.lifetime: Any = 300
        self.more: dict[str, Any] = {}
        self.answers: dict[str, Callable[[Heard], Said]] = {
            "/demo/.well-known/openid-configuration": lambda _: Said(self.metadata()),
            "/demo/token": self.give,
        }
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def respond(self) -> None:
                certificate = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
                headers = {name.lower(): value for name, value in self.headers.items()}
                heard = Heard(self.command, self.path, headers, self.read_body(), certificate)
                stand_in.heard.append(heard)
                stand_in.gate.wait(60)
                answer = stand_in.answers.get(self.path.partition("?")[0], lambda _: Said({}, 404))(heard)
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(answer.content)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.content)

            def read_body(self) -> bytes:
                if self.headers.get("transfer-encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("content-length") or 0))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            do_GET = do_POST = do_PUT = respond

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.base = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.server.server_port}"
        self.issuer = f"{self.base}/demo"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def where(self) -> AuthorizationServer:
        return AuthorizationServer(self.issuer, allow_loopback_http=True)

    @property
    def asked(self) -> list[Heard]:
        """The token requests."""
        return [heard for heard in self.heard if heard.path == "/demo/token"]

    def metadata(self) -> dict[str, Any]:
        return {"issuer": self.issuer, "token_endpoint": f"{self.issuer}/token"}

    def give(self, _: Heard) -> Said:
        self.given += 1
        answer = {"access_token": f"token-{self.given}", "token_type": "Bearer", "expires_in": self.lifetime}
        return Said({name: value for name, value in {**answer, **self.more}.items() if value is not None})

    def close(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Time:
    """Clocks set by hand, and no chance."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    @property
    def around(self) -> Surroundings:
        return Surroundings(clock=self, ticks=self, chance=lambda: 0.0)


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    server = StandIn()
    yield server
    server.close()


@pytest.fixture
def service() -> Iterator[StandIn]:
    """A service that is called with tokens."""
    server = StandIn()
    yield server
    server.close()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def said() -> type[Said]:
    return Said


@pytest.fixture
def new_stand_in() -> Iterator[Callable[..., StandIn]]:
    made: list[StandIn] = []

    def make(tls: ssl.SSLContext | None = None) -> StandIn:
        made.append(StandIn(tls))
        return made[-1]

    yield make
    for server in made:
        server.close()
