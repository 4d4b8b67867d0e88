"""Flask and Django under two WSGI servers, over real HTTP: a proof is compared with the path as it was sent.

Of the two only Werkzeug's tells that path; under the other one the decoded path is encoded again.
"""

from __future__ import annotations

import threading
from types import ModuleType
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx2
import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.http import JsonResponse
from django.test import override_settings
from django.urls import path
from flask import Flask, g, jsonify
from werkzeug.serving import WSGIRequestHandler as WerkzeugHandler
from werkzeug.serving import make_server as make_werkzeug

from tegata_verify import DpopNonces, DpopPolicy, SyncGuard
from tegata_verify import django as for_django
from tegata_verify import flask as for_flask
from tegata_verify.testing import TestDpopKey, TestIssuer

ISSUER, KEY = TestIssuer(), TestDpopKey()
BASE = "https://api.example.com/v1"
"""Under which clients know the service: a proxy ends TLS and takes the prefix away."""


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


class QuietWerkzeug(WerkzeugHandler):
    def log(self, *_):
        pass


def in_flask(guard):
    app, access = Flask("beers"), for_flask.Access(guard)
    access.install(app)
    show = access.requires(scope="read")(lambda name: jsonify(name=name, caller=g.principal.subject))
    app.add_url_rule("/beers/<path:name>", "beer", show)
    return app


def in_django(guard):
    show = for_django.Access(guard).requires(scope="read")(
        lambda request, name: JsonResponse({"name": name, "caller": request.principal.subject})
    )
    ADDRESSES.urlpatterns = [path("beers/<path:name>", show)]
    return WSGIHandler()


ADDRESSES = ModuleType("addresses")
SERVERS = {
    "wsgiref": lambda app: make_server("127.0.0.1", 0, app, handler_class=Quiet),
    "Werkzeug": lambda app: make_werkzeug("127.0.0.1", 0, app, threaded=True, request_handler=QuietWerkzeug),
}


@pytest.fixture(scope="module", params=[(make, server) for make in (in_flask, in_django) for server in SERVERS])
def service(request):
    make, server_name = request.param
    guard = SyncGuard(ISSUER.verifier(), dpop=DpopPolicy(BASE, nonces=DpopNonces()))
    with override_settings(ROOT_URLCONF=ADDRESSES):
        server = SERVERS[server_name](make(guard))
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        with httpx2.Client(base_url=f"http://127.0.0.1:{server.server_port}", trust_env=False, timeout=60) as http:
            yield http
        server.shutdown()
        thread.join(60)
        server.server_close()
    guard.close()


@pytest.mark.parametrize(
    ("sent", "name"),
    [("saison", "saison"), ("k%C3%B6lsch", "kölsch"), ("k%c3%b6lsch?page=2", "kölsch"), ("a%20b/%7Ec", "a b/~c")],
)
def test_a_proof_is_for_the_path_that_was_sent(service, sent, name):
    token = ISSUER.mint(scope="read", bound_to=KEY)
    proven = f"{BASE}/beers/{sent.partition('?')[0]}"
    asked = service.get(f"/beers/{sent}", headers=KEY.headers("GET", proven, token))
    assert (asked.status_code, asked.json()["error"]) == (401, "use_dpop_nonce")
    nonce = asked.headers["dpop-nonce"]
    answer = service.get(f"/beers/{sent}", headers=KEY.headers("GET", proven, token, nonce=nonce))
    assert (answer.status_code, answer.json()) == (200, {"name": name, "caller": "user-1"})
    assert answer.headers["dpop-nonce"]
    elsewhere = KEY.headers("GET", f"{BASE}/beers/another", token, nonce=nonce)
    assert service.get(f"/beers/{sent}", headers=elsewhere).json()["error"] == "invalid_dpop_proof"


def test_a_second_authorization_header_is_refused(service):
    twice = [("Authorization", value) for value in ISSUER.headers(scope="read").values()] * 2
    assert service.get("/beers/saison", headers=twice).status_code in (400, 401)
