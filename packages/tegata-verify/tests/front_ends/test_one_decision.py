"""Several requirements on one request: it is let in once, and each requirement holds."""

from __future__ import annotations

from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from tegata_verify import DpopPolicy, Guard, Principal, build_requirement
from tegata_verify.asgi import AccessMiddleware
from tegata_verify.fastapi import install, requires
from tegata_verify.path_rules import PathRule, PathRules
from tegata_verify.testing import TestDpopKey, TestIssuer

HOST = "https://api.test"
ISSUER = TestIssuer()
KEY = TestDpopKey()
RULES = PathRules([PathRule("/", build_requirement())])


def build_guard() -> Guard:
    return Guard(ISSUER.verifier(), dpop=DpopPolicy(HOST))


def build_app(guard: Guard) -> FastAPI:
    app, router = FastAPI(), APIRouter(dependencies=[Depends(requires())])
    install(app, guard)

    @router.get("/beers", dependencies=[Depends(requires(scope="read"))])
    async def beers(caller: Annotated[Principal, Depends(requires(role="brewer"))]) -> str:
        return caller.subject

    @router.websocket("/tap", dependencies=[Depends(requires(scope="read"))])
    async def tap(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(websocket.state.principal.subject)
        await websocket.close()

    app.include_router(router)
    return app


def proof(where: str = "/beers", **wish) -> dict[str, str]:
    return KEY.headers("GET", f"{HOST}{where}", ISSUER.mint(bound_to=KEY, **wish))


def guarded_twice(guard: Guard) -> AccessMiddleware:
    return AccessMiddleware(build_app(guard), guard, RULES)


@pytest.mark.parametrize("build", [build_app, guarded_twice], ids=["three dependencies", "behind the middleware too"])
def test_a_proof_serves_all_requirements_of_its_request_and_no_other_request(build):
    client = TestClient(build(build_guard()), base_url=HOST)
    good = proof(scope="read", roles=["brewer"])
    assert client.get("/beers", headers=good).json() == "user-1"
    assert client.get("/beers", headers=good).json()["error"] == "invalid_dpop_proof"
    assert client.get("/beers").status_code == 401


@pytest.mark.parametrize("build", [build_app, guarded_twice], ids=["three dependencies", "behind the middleware too"])
@pytest.mark.parametrize("wish", [{"scope": "read"}, {"roles": ["brewer"]}, {}], ids=str)
def test_each_requirement_holds(build, wish):
    answer = TestClient(build(build_guard()), base_url=HOST).get("/beers", headers=proof(**wish))
    assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")


def test_a_websocket_too():
    client = TestClient(build_app(build_guard()), base_url=HOST)
    with client.websocket_connect("/tap", headers=proof("/tap", scope="read")) as socket:
        assert socket.receive_text() == "user-1"


def test_what_another_guard_has_decided_counts_for_nothing():
    outer, other = build_guard(), TestIssuer("https://other.test", audience="https://other-api.test")
    inner = build_app(Guard(other.verifier(), dpop=DpopPolicy(HOST)))
    client = TestClient(AccessMiddleware(inner, outer, RULES), base_url=HOST)
    answer = client.get("/beers", headers=proof(scope="read", roles=["brewer"]))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")


def test_a_decision_is_about_one_request_though_its_scope_be_copied():
    guard = build_guard()
    inner = build_app(guard)

    async def batch(scope, receive, send):
        wanted = [header for header in scope["headers"] if header[0] != b"authorization"]
        await inner({**scope, "path": "/beers", "raw_path": b"/beers", "headers": wanted}, receive, send)

    client = TestClient(AccessMiddleware(batch, guard, RULES), base_url=HOST)
    bearer = ISSUER.headers(scope="read", roles=["brewer"])
    assert client.get("/batch", headers=bearer).status_code == 401


def test_rules_inside_a_mounted_application_are_about_the_whole_path():
    async def show(request):
        return JSONResponse(request.state.principal.subject)

    def mount(prefix):
        rules = PathRules([PathRule(f"{prefix}/beers", build_requirement(scope="read"))], public={f"{prefix}/health"})
        inner = AccessMiddleware(Starlette(routes=[Route("/beers", show)]), Guard(ISSUER.verifier()), rules)
        return TestClient(Starlette(routes=[Mount("/api", inner)]), base_url=HOST)

    bearer = ISSUER.headers(scope="read")
    assert mount("/api").get("/api/beers", headers=bearer).json() == "user-1"
    assert mount("").get("/api/beers", headers=bearer).status_code == 403
    assert mount("").get("/api/health").status_code == 401


@pytest.mark.parametrize("where", ["around the application", "around its middleware", "among its middleware"])
@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
def test_an_application_s_root_path_is_no_way_around_a_rule(where):
    app, guard = FastAPI(root_path="/api"), Guard(ISSUER.verifier())
    app.get("/admin")(lambda: "secret")
    rules = PathRules([PathRule("/", build_requirement()), PathRule("/admin", build_requirement(role="admin"))])
    if where == "among its middleware":
        app.add_middleware(AccessMiddleware, guard=guard, rules=rules)
        client = TestClient(app, base_url=HOST)
    else:
        inner = app if where == "around the application" else GZipMiddleware(app)
        client = TestClient(AccessMiddleware(inner, guard, rules), base_url=HOST)
    asked = [client.get(path, headers=ISSUER.headers()).status_code for path in ("/admin", "/api/admin")]
    assert asked == [403, 403]
    assert client.get("/admin", headers=ISSUER.headers(roles=["admin"])).json() == "secret"
