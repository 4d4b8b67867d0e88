"""The Django decorator on plain and async views, with Django's own test clients and under wsgiref."""

from __future__ import annotations

import threading
from types import ModuleType
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx2
import pytest
from django.http import JsonResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path

from tegata_verify import Guard, SyncGuard
from tegata_verify.django import Access
from tegata_verify.testing import TestIssuer

pytestmark = pytest.mark.anyio

ISSUER = TestIssuer()
ACCESS = Access(SyncGuard(ISSUER.verifier()))
ASYNC_ACCESS = Access(Guard(ISSUER.verifier()))


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@ACCESS.requires(scope="read")
def plain(request, name):
    return JsonResponse({"name": name, "caller": request.principal.subject})


@ACCESS.requires(scope="read")
async def threaded(request, name):
    return JsonResponse({"name": name, "caller": request.principal.subject})


@ASYNC_ACCESS.requires(scope="read")
async def awaited(request, name):
    return JsonResponse({"name": name, "caller": request.principal.subject})


URLS = ModuleType("urls")
URLS.urlpatterns = [path(f"{view.__name__}/<name>", view) for view in (plain, threaded, awaited)]


@pytest.fixture(autouse=True)
def addresses():
    with override_settings(ROOT_URLCONF=URLS):
        yield


VIEWS = ["plain", "threaded", "awaited"]


def headers(scope: str | None) -> dict[str, str]:
    return {} if scope is None else {"Authorization": f"Bearer {ISSUER.mint(scope=scope)}"}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(("scope", "status"), [("read", 200), ("write", 403), (None, 401)])
def test_a_view_is_reached_with_its_scope_under_wsgi(view, scope, status):
    answer = Client().get(f"/{view}/saison", headers=headers(scope))
    assert answer.status_code == status
    if status == 200:
        assert answer.json() == {"name": "saison", "caller": "user-1"}
    else:
        assert answer.headers["www-authenticate"].startswith('Bearer realm="api"')


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(("scope", "status"), [("read", 200), ("write", 403), (None, 401)])
async def test_a_view_is_reached_with_its_scope_under_asgi(view, scope, status):
    answer = await AsyncClient().get(f"/{view}/saison", headers=headers(scope))
    assert answer.status_code == status


def test_a_plain_view_cannot_wait_for_an_async_guard():
    with pytest.raises(TypeError, match="SyncGuard"):
        ASYNC_ACCESS.requires()(lambda request: None)


def test_under_wsgiref():
    from django.core.handlers.wsgi import WSGIHandler

    with make_server("127.0.0.1", 0, WSGIHandler(), handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/plain/saison"
        try:
            with httpx2.Client(trust_env=False, timeout=60) as http:
                assert http.get(url, headers=headers("read")).status_code == 200
                assert http.get(url).status_code == 401
        finally:
            server.shutdown()
            thread.join(60)
