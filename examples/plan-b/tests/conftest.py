"""The application as a server process, its issuer and its load balancer's keys on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]

Start = Callable[[Mapping[str, str]], AbstractContextManager[str]]
Published = dict[str, bytes | dict[str, object]]

sys.path.insert(0, str(HERE))


@pytest.fixture(scope="session")
def published() -> Published:
    """What the web server below answers, by path."""
    return {}


@pytest.fixture(scope="session")
def base(published: Published) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            document = published.get(self.path)
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(403 if document is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def start(settings: Mapping[str, str]) -> Iterator[str]:
    """Run the README's command with `settings`; give the server's address, or what it said when it did not start."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("COGNITO", "TEGATA"))}
    command = [sys.executable, "-m", "uvicorn", "app.main_app:app", "--port", "0"]
    with subprocess.Popen(
        command, cwd=HERE, env={**inherited, **settings}, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = []
        try:
            for line in process.stderr:
                said.append(line)
                if "running on" in line:
                    yield line.split("running on ")[1].split(" ")[0]
                    break
            else:
                yield "".join(said)
        finally:
            process.terminate()
            process.stderr.read()


@pytest.fixture(scope="session")
def server() -> Start:
    return start
