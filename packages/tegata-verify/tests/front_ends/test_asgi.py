"""The ASGI middleware in front of Starlette and Litestar, with their own test clients and under uvicorn."""

from __future__ import annotations

import socket
import threading
from contextlib import asynccontextmanager

import httpx2
import litestar
import litestar.testing
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse

from tegata_verify import Guard, build_requirement
from tegata_verify.asgi import AccessMiddleware
from tegata_verify.path_rules import PathRule, PathRules
from tegata_verify.testing import TestIssuer

RULES = PathRules(
    [
        PathRule("/beers", build_requirement(scope="read"), methods={"GET"}),
        PathRule("/beers", build_requirement(scope="write"), methods={"POST"}),
        PathRule("/tap", build_requirement(scope="read")),
    ],
    public={"/health"},
)


@pytest.fixture(scope="module")
def issuer() -> TestIssuer:
    return TestIssuer()


def bearer(issuer: TestIssuer, scope: str = "read") -> dict[str, str]:
    return {"Authorization": f"Bearer {issuer.mint(scope=scope)}"}


def starlette_app(started: list[str]) -> Starlette:
    async def show(request):
        caller = getattr(request.state, "principal", None)
        return JSONResponse({"caller": caller and caller.subject, "shared": request.state.shared})

    async def tap(websocket):
        await websocket.accept()
        await websocket.send_text(websocket.state.principal.subject)
        await websocket.close()

    async def lifespan(app):
        started.append("up")
        yield {"shared": "yes"}
        started.append("down")

    routes = [Route(path, show, methods=["GET", "POST"]) for path in ("/beers", "/health", "/elsewhere")]
    routes += [WebSocketRoute("/tap", tap)]
    return Starlette(routes=routes, lifespan=asynccontextmanager(lifespan))


@pytest.fixture
def client(issuer):
    started: list[str] = []
    with TestClient(AccessMiddleware(starlette_app(started), Guard(issuer.verifier()), RULES)) as client:
        assert started == ["up"]
        yield client
    assert started == ["up", "down"]


@pytest.mark.parametrize(
    ("method", "path", "scope", "status"),
    [
        ("GET", "/beers", "read", 200),
        ("POST", "/beers", "write", 200),
        ("POST", "/beers", "read", 403),
        ("DELETE", "/beers", "read write", 403),
        ("GET", "/elsewhere", "read", 403),
        ("GET", "/elsewhere", None, 401),
        ("GET", "/beers", None, 401),
        ("GET", "/health", None, 200),
        ("GET", "/x/%2e%2e/health", None, 401),
    ],
)
def test_starlette_is_reached_as_the_rules_say(client, issuer, method, path, scope, status):
    headers = {} if scope is None else bearer(issuer, scope)
    answer = client.request(method, path, headers=headers)
    assert answer.status_code == status
    if status == 200:
        assert answer.json() == {"caller": "user-1" if scope else None, "shared": "yes"}
    if status == 401:
        assert answer.headers["www-authenticate"] == 'Bearer realm="api"'


def test_a_websocket_needs_a_token_too(client, issuer):
    with client.websocket_connect("/tap", headers=bearer(issuer)) as websocket:
        assert websocket.receive_text() == "user-1"
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/tap"):
        pass
    assert refused.value.status_code == 401


def test_litestar_is_reached_as_the_rules_say(issuer):
    @litestar.get("/beers")
    async def beers(request: litestar.Request) -> str:
        return request.state.principal.subject

    # By default Litestar sets up logging for the whole process, and with it for the tests that come after.
    plain = {"openapi_config": None, "logging_config": None}
    app = litestar.Litestar([beers], **plain)
    guarded = AccessMiddleware(app, Guard(issuer.verifier()), RULES)
    with TestClient(guarded) as client:
        assert client.get("/beers", headers=bearer(issuer)).text == "user-1"
        assert client.get("/beers").status_code == 401
    middleware = [lambda app: AccessMiddleware(app, Guard(issuer.verifier()), RULES)]
    inside = litestar.Litestar([beers], middleware=middleware, **plain)
    with litestar.testing.TestClient(inside) as client:
        assert client.get("/beers", headers=bearer(issuer)).text == "user-1"
        assert client.get("/beers").status_code == 401


def test_under_uvicorn(issuer):
    app = AccessMiddleware(starlette_app([]), Guard(issuer.verifier()), RULES)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        with httpx2.Client(base_url=base, trust_env=False, timeout=60) as http:
            assert http.get("/beers", headers=bearer(issuer)).json()["caller"] == "user-1"
            assert http.get("/beers").status_code == 401
            assert http.get("/health").status_code == 200
            assert http.get("/health%2f").status_code == 401
    finally:
        server.should_exit = True
        thread.join(60)
        listening.close()
