"""An identity endpoint in both of Azure's forms, on loopback."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest


@dataclass
class IdentityEndpoint:
    """Answers what `answer` says: a status and a body. Notes the query and the headers of each request."""

    url: str = ""
    requests: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)
    answer: Callable[[int], tuple[int, bytes]] = field(default=lambda number: (200, token(f"token-{number}")))

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.requests.append((parts.path, query, {name.lower(): value for name, value in request.headers.items()}))
        status, body = self.answer(len(self.requests))
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


def token(value: str, lives: float = 3600.0) -> bytes:
    ends = {"expires_on": str(int(time.time() + lives)), "expires_in": str(int(lives))}
    return json.dumps({"access_token": value, "resource": "r", "token_type": "Bearer", **ends}).encode()


@pytest.fixture
def endpoint() -> Iterator[IdentityEndpoint]:
    found = IdentityEndpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.serve(self)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def clean(clean_environment: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(params=["App Service", "IMDS"])
def platform(request: pytest.FixtureRequest, endpoint: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "App Service":
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{endpoint.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "the-header")
    else:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", endpoint.url)
    return request.param
