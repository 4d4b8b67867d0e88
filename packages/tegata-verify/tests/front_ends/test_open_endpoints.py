"""Which views of Flask and Django ask for no token: a decorator that was forgotten is found by a test."""

from __future__ import annotations

from functools import wraps
from types import ModuleType

import pytest
from django.http import HttpResponse
from django.test import override_settings
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views import View
from flask import Flask
from flask.views import MethodView

from tegata_verify import Guard, ProtectedResource, SyncGuard
from tegata_verify import django as for_django
from tegata_verify import flask as for_flask
from tegata_verify.testing import TestIssuer

HERE = ProtectedResource("https://api.test/beers")


@pytest.fixture(scope="module")
def guard():
    made = SyncGuard(TestIssuer().verifier(), resource=HERE)
    yield made
    made.close()


def logged(view):
    @wraps(view)
    def wrapped(*args, **kwargs):
        return view(*args, **kwargs)

    return wrapped


def test_in_flask(guard):
    access, app = for_flask.Access(guard), Flask("beers")
    access.install(app)

    class Cellar(MethodView):
        decorators = (access.requires(scope="read"),)

        def get(self) -> str:
            return "dark"

    class Yard(MethodView):
        def post(self) -> str:
            return "bright"

    app.get("/beers/<name>")(logged(access.requires(scope="read")(lambda name: name)))
    app.add_url_rule("/cellar", view_func=Cellar.as_view("cellar"))
    app.add_url_rule("/yard", view_func=Yard.as_view("yard"))
    app.get("/health", endpoint="health")(logged(lambda: "ok"))
    assert for_flask.find_open_endpoints(app) == ["GET /health", "POST /yard"]
    assert [app.test_client().get(place).status_code for place in ("/health", "/cellar", "/beers/x")] == [200, 401, 401]


def test_in_django(guard):
    access, asynchronous = for_django.Access(guard), for_django.Access(Guard(TestIssuer().verifier()))

    @method_decorator(access.requires(scope="read"), name="dispatch")
    class Cellar(View):
        def get(self, request):
            return HttpResponse("dark")

    class Yard(View):
        def get(self, request):
            return HttpResponse("bright")

    @asynchronous.requires(scope="read")
    async def brew(request):
        return HttpResponse("brewing")

    beers = [
        path("<name>", logged(access.requires(scope="read")(lambda request, name: None))),
        path("", Yard.as_view()),
    ]
    urls = ModuleType("urls_of_open_endpoints")
    urls.urlpatterns = [
        path("beers/", include(beers)),
        path("brew", brew),
        path("cellar", Cellar.as_view()),
        path("health", logged(lambda request: HttpResponse("ok"))),
        *access.urls(),
    ]
    with override_settings(ROOT_URLCONF=urls):
        assert for_django.find_open_endpoints() == ["beers/", "health"]
