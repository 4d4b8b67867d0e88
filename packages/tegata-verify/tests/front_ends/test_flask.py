"""The Flask decorator, with Flask's own test client and under wsgiref."""

from __future__ import annotations

import threading
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx2
import pytest
from flask import Flask, g

from tegata_verify import SyncGuard
from tegata_verify.flask import Access
from tegata_verify.testing import TestIssuer


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def issuer() -> TestIssuer:
    return TestIssuer()


@pytest.fixture
def app(issuer):
    guard = SyncGuard(issuer.verifier())
    access, app = Access(guard), Flask("beers")
    access.install(app)

    @app.get("/beers/<name>")
    @access.requires(scope="read")
    def beer(name: str) -> dict[str, str]:
        return {"name": name, "caller": g.principal.subject}

    yield app
    guard.close()


@pytest.mark.parametrize(("scope", "status"), [("read", 200), ("write", 403), (None, 401)])
def test_a_view_is_reached_with_its_scope(app, issuer, scope, status):
    headers = {} if scope is None else {"Authorization": f"Bearer {issuer.mint(scope=scope)}"}
    answer = app.test_client().get("/beers/saison", headers=headers)
    assert answer.status_code == status
    if status == 200:
        assert answer.json == {"name": "saison", "caller": "user-1"}
    else:
        assert answer.headers["www-authenticate"].startswith('Bearer realm="api"')


def test_two_authorization_headers_and_tokens_in_the_address_are_refused(app, issuer):
    token = issuer.mint(scope="read")
    client = app.test_client()
    twice = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
    assert client.get("/beers/x", headers=twice).status_code == 400
    assert client.get(f"/beers/x?access_token={token}").status_code == 400


def test_under_wsgiref(app, issuer):
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/beers/saison"
        try:
            with httpx2.Client(trust_env=False, timeout=60) as http:
                assert (
                    http.get(url, headers={"Authorization": f"Bearer {issuer.mint(scope='read')}"}).status_code == 200
                )
                assert http.get(url).status_code == 401
        finally:
            server.shutdown()
            thread.join(60)
