"""The README's command: a real server process that fetches its keys from a real issuer over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from tegata_verify.testing import TestIssuer

HERE = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def served_issuer() -> Iterator[TestIssuer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            document = issuer.documents().get(f"{base}{self.path}")
            body = json.dumps(document).encode()
            self.send_response(200 if document else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        base = f"http://127.0.0.1:{server.server_port}"
        issuer = TestIssuer(f"{base}/demo", audience="beer-development-service")
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield issuer
        server.shutdown()


@pytest.fixture(scope="module")
def base_url(served_issuer: TestIssuer) -> Iterator[str]:
    environment = {**os.environ, "ISSUER": served_issuer.issuer, "AUDIENCE": "other,beer-development-service"}
    command = ["uvicorn", "--factory", "resource_server:create_app_from_environment", "--port", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", *command], cwd=HERE, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "running on" in line:
                yield line.split("running on ")[1].split(" ")[0]
                break
        process.terminate()
        process.stderr.read()


def test_the_served_api_takes_tokens_of_the_served_issuer(base_url: str, served_issuer: TestIssuer):
    stranger = TestIssuer(served_issuer.issuer, audience=served_issuer.audience)
    with httpx2.Client(base_url=base_url, trust_env=False, timeout=60) as client:
        assert client.get("/whoami").status_code == 401
        token = served_issuer.mint(scope="read", roles={"viewer"})
        shown = client.get("/whoami", headers={"Authorization": f"Bearer {token}"})
        assert (shown.status_code, shown.json()["tenant"]) == (200, "demo")
        assert client.get("/experiments", headers={"Authorization": f"bearer  {token}"}).json() == []
        assert client.get("/whoami", headers={"Authorization": f"Bearer {stranger.mint()}"}).status_code == 401
        assert client.get(f"/whoami?access_token={token}").status_code == 400
