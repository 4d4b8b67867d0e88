"""The same little service behind each front end, and one way to ask them all.

`GET /beers` needs the scope `read`, `POST /beers` the scope `write`, `GET /cellar` a login of the class `mfa`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import litestar
from django.http import JsonResponse
from django.test import Client, override_settings
from django.urls import path
from fastapi import Depends, FastAPI, Request
from flask import Flask, g
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tegata_verify import Guard, SyncGuard, build_requirement
from tegata_verify import django as for_django
from tegata_verify import flask as for_flask
from tegata_verify.asgi import AccessMiddleware
from tegata_verify.fastapi import install, requires
from tegata_verify.path_rules import PathRule, PathRules

Headers = list[tuple[str, str]]

HOST = "https://api.test"
NEEDED = {
    ("GET", "/beers"): {"scope": "read"},
    ("POST", "/beers"): {"scope": "write"},
    ("GET", "/cellar"): {"acr": "mfa"},
}
RULES = PathRules(
    [PathRule(where, build_requirement(**needed), methods={method}) for (method, where), needed in NEEDED.items()]
)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: Any

    def all(self, name: str) -> list[str]:
        return [value for found, value in self.headers if found.lower() == name]


Ask = Callable[[str, str, Headers], Answer]
FrontEnd = Callable[[Callable[[], Guard], Callable[[], SyncGuard]], Ask]


def in_fastapi(guard: Callable[[], Guard], _: object) -> Ask:
    app = FastAPI()
    install(app, guard())

    def show(request: Request) -> dict[str, str]:
        return {"caller": request.state.principal.subject}

    for (method, where), needed in NEEDED.items():
        app.add_api_route(where, show, methods=[method], dependencies=[Depends(requires(**needed))])
    return _through_asgi(app)


def in_starlette(guard: Callable[[], Guard], _: object) -> Ask:
    async def show(request: StarletteRequest) -> JSONResponse:
        return JSONResponse({"caller": request.state.principal.subject})

    routes = [Route(where, show, methods=["GET", "POST"]) for where in ("/beers", "/cellar")]
    return _through_asgi(AccessMiddleware(Starlette(routes=routes), guard(), RULES))


def in_litestar(guard: Callable[[], Guard], _: object) -> Ask:
    @litestar.route(["/beers", "/cellar"], http_method=["GET", "POST"], status_code=200)
    async def show(request: litestar.Request) -> dict[str, str]:
        return {"caller": request.state.principal.subject}

    app = litestar.Litestar([show], openapi_config=None, logging_config=None)
    return _through_asgi(AccessMiddleware(app, guard(), RULES))


def in_flask(_: object, guard: Callable[[], SyncGuard]) -> Ask:
    access, app = for_flask.Access(guard()), Flask("beers")
    access.install(app)

    def show() -> dict[str, str]:
        return {"caller": g.principal.subject}

    for (method, where), needed in NEEDED.items():
        app.add_url_rule(where, f"{method} {where}", access.requires(**needed)(show), methods=[method])

    def ask(method: str, where: str, headers: Headers) -> Answer:
        answer = app.test_client().open(where, method=method, headers=headers, base_url=HOST)
        return Answer(answer.status_code, list(answer.headers), answer.json)

    return ask


def in_django(_: object, guard: Callable[[], SyncGuard]) -> Ask:
    def show(request: Any) -> JsonResponse:
        return JsonResponse({"caller": request.principal.subject})

    return _through_django(for_django.Access(guard()), show)


def in_django_threads(_: object, guard: Callable[[], SyncGuard]) -> Ask:
    async def show(request: Any) -> JsonResponse:
        return JsonResponse({"caller": request.principal.subject})

    return _through_django(for_django.Access(guard()), show)


def in_django_asyncio(guard: Callable[[], Guard], _: object) -> Ask:
    async def show(request: Any) -> JsonResponse:
        return JsonResponse({"caller": request.principal.subject})

    return _through_django(for_django.Access(guard()), show)


FRONT_ENDS: dict[str, FrontEnd] = {
    "FastAPI": in_fastapi,
    "Starlette": in_starlette,
    "Litestar": in_litestar,
    "Flask": in_flask,
    "Django": in_django,
    "Django, async views in threads": in_django_threads,
    "Django, async views": in_django_asyncio,
}


def _through_asgi(app: Any) -> Ask:
    client = TestClient(app, base_url=HOST)

    def ask(method: str, where: str, headers: Headers) -> Answer:
        answer = client.request(method, where, headers=headers)
        return Answer(answer.status_code, answer.headers.multi_items(), answer.json())

    return ask


def _through_django(access: for_django.Access, show: Callable[..., Any]) -> Ask:
    views = {key: access.requires(**needed)(show) for key, needed in NEEDED.items()}

    def choose(request: Any) -> Any:
        return views[request.method, request.path](request)

    async def choose_async(request: Any) -> Any:
        return await views[request.method, request.path](request)

    chosen = choose_async if inspect.iscoroutinefunction(show) else choose
    addresses = ModuleType("addresses")
    addresses.urlpatterns = [*access.urls(), *(path(where, chosen) for where in ("beers", "cellar"))]

    def ask(method: str, where: str, headers: Headers) -> Answer:
        joined: dict[str, str] = {}
        for name, value in headers:
            joined[name] = f"{joined[name]},{value}" if name in joined else value  # as WSGI servers do
        with override_settings(ROOT_URLCONF=addresses):
            answer = Client(headers={"host": "api.test"}).generic(method, where, headers=joined, secure=True)
        return Answer(answer.status_code, list(answer.items()), json.loads(answer.content))

    return ask
