"""Several decorators on one view of Django or Flask: a proof serves them all, and each requirement holds."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest
from django.http import JsonResponse
from django.test import Client, override_settings
from django.urls import path
from flask import Flask, jsonify, request

from tegata_verify import DpopNonces, DpopPolicy, Guard, SyncGuard
from tegata_verify import django as for_django
from tegata_verify import flask as for_flask
from tegata_verify.testing import TestDpopKey, TestIssuer

HOST = "https://api.test"
NONCES = DpopNonces()
KEY = TestDpopKey()
ISSUER = TestIssuer()


def twice(access, view):
    return access.requires(scope="read")(access.requires(role="brewer")(view))


def in_flask(guard):
    access, app = for_flask.Access(guard), Flask("beers")
    access.install(app)
    app.add_url_rule("/beers", "beers", twice(access, lambda: jsonify("Saison")))

    def ask(headers):
        answer = app.test_client().get("/beers", headers=headers, base_url=HOST)
        return answer.status_code, answer.headers.get_all("dpop-nonce")

    return ask


def in_django(guard):
    async def beers(request):
        return JsonResponse("Saison", safe=False)

    view = (lambda request: JsonResponse("Saison", safe=False)) if isinstance(guard, SyncGuard) else beers
    addresses = ModuleType("addresses")
    addresses.urlpatterns = [path("beers", twice(for_django.Access(guard), view))]

    def ask(headers):
        with override_settings(ROOT_URLCONF=addresses):
            answer = Client(headers={"host": "api.test"}).get("/beers", headers=headers, secure=True)
        return answer.status_code, [answer["dpop-nonce"]]

    return ask


@pytest.mark.parametrize(
    ("build", "kind"),
    [(in_flask, SyncGuard), (in_django, SyncGuard), (in_django, Guard)],
    ids=["Flask", "Django", "Django with asyncio"],
)
def test_a_proof_serves_all_decorators_of_its_request_and_no_other_request(build, kind):
    guard = kind(ISSUER.verifier(), dpop=DpopPolicy(HOST, nonces=NONCES))
    ask = build(guard)

    def proof(**wish):
        token = ISSUER.mint(bound_to=KEY, **wish)
        return KEY.headers("GET", f"{HOST}/beers", token, nonce=guard.parts.dpop.nonce(KEY.clock()))

    good = proof(scope="read", roles=["brewer"])
    status, nonces = ask(good)
    assert (status, len(nonces)) == (200, 1)
    assert ask(good)[0] == 401
    for narrow in ({"scope": "read"}, {"roles": ["brewer"]}):
        assert ask(proof(**narrow))[0] == 403
    if not inspect.iscoroutinefunction(guard.authorize):
        guard.close()


def test_a_decision_is_about_one_request_though_its_environment_be_copied():
    guard = SyncGuard(ISSUER.verifier())
    access, app = for_flask.Access(guard), Flask("beers")
    access.install(app)
    view = access.requires(scope="read")(lambda: jsonify("Saison"))
    app.add_url_rule("/beers", "beers", view)

    @app.get("/batch")
    @access.requires(scope="read")
    def batch():
        part = {name: value for name, value in request.environ.items() if name != "HTTP_AUTHORIZATION"}
        with app.request_context({**part, "PATH_INFO": "/beers", "RAW_URI": "/beers", "REQUEST_URI": "/beers"}):
            return app.full_dispatch_request()

    answer = app.test_client().get("/batch", headers=ISSUER.headers(scope="read"), base_url=HOST)
    guard.close()
    assert answer.status_code == 401
