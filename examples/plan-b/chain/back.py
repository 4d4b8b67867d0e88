"""Stands in for the back load balancer where one is needed that misbehaves, or that tells what reached it."""

from __future__ import annotations

import base64
import hashlib
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Seen(NamedTuple):
    """One request that arrived."""

    method: str
    path: str
    headers: list[tuple[str, str]]


class Back(ThreadingHTTPServer):
    """What it does is in the path.

    `/status/503` answers with that status, `/slow` when the block ends, `/break` never, `/half` half of what it
    announced, `/websocket` takes the connection over if that is asked for, and sends back what comes; anything else is
    answered with 200.
    `requests` and `connections` say what arrived, `server_names` what TLS clients asked for (RFC 6066 §3).
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Seen] = []
        self.server_names: list[str | None] = []
        self.connections = 0
        self.ended = threading.Event()
        self._tls = tls
        if tls is not None:
            tls.sni_callback = lambda connection, name, context: self.server_names.append(name)
        super().__init__((host, port), _Answering)

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection; the handshake happens in the thread that serves it."""
        connection, address = super().get_request()
        self.connections += 1
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the client has gone, or was not content with the certificate."""

    def count(self, path: str) -> int:
        """Return how many requests for `path` have arrived."""
        return sum(seen.path == path for seen in self.requests)

    def __enter__(self) -> Back:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()


class _Answering(BaseHTTPRequestHandler):
    server: Back
    protocol_version = "HTTP/1.1"
    timeout = 300  # longer than nginx keeps a connection that nobody uses

    def setup(self) -> None:
        super().setup()
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.do_handshake()

    def answer(self) -> None:
        self.server.requests.append(Seen(self.command, self.path, list(self.headers.items())))
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        kind, _, word = self.path.strip("/").partition("/")
        if kind == "break":
            self.close_connection = True
        elif kind == "half":
            self.send_response(200)
            self.send_header("Content-Length", "20")
            self.end_headers()
            self.wfile.write(b"half of it")
            self.close_connection = True
        elif kind == "websocket" and "Upgrade" in self.headers:
            self.take_over(self.headers["Upgrade"])
        else:
            if kind == "slow":
                self.server.ended.wait(300)
            self.tell(int(word) if kind == "status" else 200)

    def tell(self, status: int) -> None:
        body = b"said by the back"
        self.send_response(status)
        self.send_header("Retry-After", "7")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def take_over(self, protocol: str) -> None:
        """RFC 6455 §4.2.2, whatever the protocol, then an echo of bytes."""
        digest = hashlib.sha1(self.headers["Sec-WebSocket-Key"].encode() + _MAGIC, usedforsecurity=False).digest()
        self.send_response(101)
        self.send_header("Upgrade", protocol)
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(digest).decode())
        self.end_headers()
        self.close_connection = True
        while data := self.connection.recv(4096):
            self.connection.sendall(data)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer
