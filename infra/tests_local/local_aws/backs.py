"""Two addresses of a back load balancer with HTTPS, which say where they are and what came."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tegata_credentials.testing import free_port
from tegata_credentials.testing.authority import Authority

CERTIFIED = "back.plan-b.internal"
FIRST, SECOND = "127.0.0.1", "127.0.0.2"


@dataclass(frozen=True, slots=True)
class Backs:
    """Their port, and the authority of their certificate, which is for `CERTIFIED`."""

    port: int
    authority: Path


class _Back(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        oidc = self.headers.get("X-Amzn-Oidc-Data", "")
        body = f"{self.connection.getsockname()[0]} {self.path} {oidc}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def running_backs(directory: Path) -> Iterator[Backs]:
    """Serve at both addresses."""
    authority = Authority(directory)
    context = authority.issue("back", CERTIFIED).context()
    port = free_port()
    with (
        ThreadingHTTPServer((FIRST, port), _Back) as first,
        ThreadingHTTPServer((SECOND, port), _Back) as second,
    ):
        for server in (first, second):
            server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield Backs(port, authority.root)
        for server in (first, second):
            server.shutdown()
