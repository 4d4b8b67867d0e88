"""A web server of documents: what an issuer and a load balancer publish about their keys."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Read = Callable[[str], "bytes | dict[str, Any] | None"]
"""What stands at a path, None if nothing."""


class Documents:
    """Answers GET with what the first of `sources` knows; `fetches` counts, by path."""

    def __init__(self) -> None:
        self.sources: list[Read] = []
        self.fetches: Counter[str] = Counter()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.fetches[self.path] += 1
                found = owner.read(self.path)
                self.send_response(404 if found is None else 200)
                self.send_header("Content-Length", str(len(found or b"")))
                self.end_headers()
                self.wfile.write(found or b"")

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def read(self, path: str) -> bytes | None:
        """Return what stands at `path`."""
        for source in self.sources:
            found = source(path)
            if found is not None:
                return found if isinstance(found, bytes) else json.dumps(found).encode()
        return None

    def __enter__(self) -> Documents:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
