"""An `AccessError` that an application raises itself becomes the same answer as the middleware's own."""

from __future__ import annotations

from contextlib import suppress

import anyio
import litestar
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse

from tegata_verify import (
    AccessError,
    Guard,
    InsufficientUserAuthentication,
    KeysUnavailable,
    Reason,
    build_requirement,
    check_permission,
)
from tegata_verify.asgi import AccessMiddleware, let_through
from tegata_verify.path_rules import PathRule, PathRules
from tegata_verify.testing import TestIssuer

pytestmark = pytest.mark.anyio

RULES = PathRules([PathRule("/", build_requirement())], public={"/open"})


def refuse_brewing(principal) -> None:
    check_permission(principal, build_requirement(scope="write"))


async def brew(request):
    refuse_brewing(request.state.principal)


async def open_to_all(request):
    raise InsufficientUserAuthentication(Reason.OLD_AUTHENTICATION, max_age=300)


async def away(request):
    raise KeysUnavailable(7)


async def broken(request):
    raise ValueError("a fault of the application")


async def sad(request):
    return PlainTextResponse("sorry", 500)


async def begun(request):
    async def body():
        yield b"so far "
        raise KeysUnavailable(7)

    return StreamingResponse(body())


async def begun_badly(request):
    async def body():
        yield b"so far "
        yield b"so bad"

    return StreamingResponse(body(), 500)


async def tap(websocket):
    if websocket.query_params.get("when") == "late":
        await websocket.accept()
        await websocket.send_text("one moment")
    refuse_brewing(websocket.state.principal)


@pytest.fixture(scope="module")
def issuer() -> TestIssuer:
    return TestIssuer()


@pytest.fixture(scope="module")
def bearer(issuer) -> dict[str, str]:
    return {"Authorization": f"Bearer {issuer.mint(scope='read')}"}


@pytest.fixture(scope="module")
def app(issuer):
    endpoints = {"/brew": brew, "/open": open_to_all, "/away": away, "/broken": broken, "/sad": sad}
    endpoints |= {"/begun": begun, "/begun-badly": begun_badly}
    routes = [Route(path, endpoint) for path, endpoint in endpoints.items()]
    return AccessMiddleware(Starlette(routes=[*routes, WebSocketRoute("/tap", tap)]), Guard(issuer.verifier()), RULES)


def test_a_lack_of_scope_is_403_with_the_scope(app, bearer):
    with TestClient(app) as client:
        answer = client.get("/brew", headers=bearer)
    assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")
    assert 'scope="write"' in answer.headers["www-authenticate"]
    assert answer.headers["content-length"] == str(len(answer.content))


def test_the_same_holds_on_a_public_path_and_for_every_kind(app, bearer):
    with TestClient(app) as client:
        login, away = client.get("/open"), client.get("/away", headers=bearer)
    assert (login.status_code, login.json()["error"]) == (401, "insufficient_user_authentication")
    assert (away.status_code, away.headers["retry-after"]) == (503, "7")


async def pass_on(request, call_next):
    return await call_next(request)


@pytest.mark.parametrize("where", ["inside", "around"])
def test_middleware_between_changes_nothing(issuer, bearer, where):
    more = [Middleware(BaseHTTPMiddleware, dispatch=pass_on)] if where == "inside" else []
    inner = Starlette(routes=[Route("/brew", brew)], middleware=more)
    between = inner if where == "inside" else GZipMiddleware(CORSMiddleware(inner, allow_origins=["*"]))
    with TestClient(AccessMiddleware(between, Guard(issuer.verifier()), RULES)) as client:
        assert client.get("/brew", headers=bearer).status_code == 403


def test_an_applications_own_500_is_its_own(app, bearer):
    with TestClient(app, raise_server_exceptions=False) as client:
        assert (client.get("/sad", headers=bearer).status_code, client.get("/sad", headers=bearer).text) == (
            500,
            "sorry",
        )
        assert client.get("/broken", headers=bearer).status_code == 500
        assert client.get("/begun-badly", headers=bearer).text == "so far so bad"
    with TestClient(app) as client, pytest.raises(ValueError, match="a fault of the application"):
        client.get("/broken", headers=bearer)


def test_after_the_beginning_of_an_answer_there_is_no_other(app, bearer):
    with TestClient(app) as client, pytest.raises(KeysUnavailable):
        client.get("/begun", headers=bearer)


def test_before_the_handshake_a_websocket_is_denied_and_later_the_error_is_the_applications(app, bearer):
    with TestClient(app) as client:
        with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/tap", headers=bearer):
            pass
        assert denied.value.status_code == 403
        with pytest.raises(AccessError):
            hear_twice(client, bearer)


def hear_twice(client, headers) -> None:
    with client.websocket_connect("/tap?when=late", headers=headers) as socket:
        assert socket.receive_text() == "one moment"
        socket.receive_text()


def test_a_plain_application_needs_nothing(issuer, bearer):
    async def app(scope, receive, send):
        refuse_brewing(scope["state"]["principal"])

    client = TestClient(AccessMiddleware(app, Guard(issuer.verifier()), RULES))
    assert client.get("/", headers=bearer).status_code == 403


def test_litestar_lets_it_through_when_told_to(issuer, bearer):
    @litestar.get("/brew")
    async def brew_there(request: litestar.Request) -> str:
        refuse_brewing(request.state.principal)
        return "brewed"

    inner = litestar.Litestar([brew_there], openapi_config=None, exception_handlers={AccessError: let_through})
    with TestClient(AccessMiddleware(inner, Guard(issuer.verifier()), RULES)) as client:
        answer = client.get("/brew", headers=bearer)
    assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")


async def test_a_connection_of_an_unknown_kind_does_not_slip_past(issuer):
    reached = []

    async def app(scope, receive, send):
        reached.append(scope["type"])

    guarded = AccessMiddleware(app, Guard(issuer.verifier()), RULES)
    await guarded({"type": "lifespan"}, None, None)
    with pytest.raises(ValueError, match="webtransport"):
        await guarded({"type": "webtransport", "path": "/brew", "headers": []}, None, None)
    assert reached == ["lifespan"]


@pytest.mark.parametrize("path", ["/\ud800", "", "*"], ids=ascii)
async def test_a_path_that_is_none_is_refused_as_any_other(issuer, path):
    async def app(scope, receive, send):
        raise AssertionError("reached")

    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": [(b"host", b"\xff")], "query_string": b""}
    await AccessMiddleware(app, Guard(issuer.verifier()), RULES)(scope, None, send)
    assert [message.get("status") for message in sent] == [401, None]


async def test_who_listens_on_after_a_500_does_not_keep_it_from_the_client(issuer):
    sent, has_answer = [], anyio.Event()

    async def listening(scope, receive, send):
        await PlainTextResponse("sorry", 500)(scope, receive, send)
        assert (await receive())["type"] == "http.disconnect"

    async def receive():
        await has_answer.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message["type"])
        if message["type"] == "http.response.body":
            has_answer.set()

    scope = {"type": "http", "method": "GET", "path": "/open", "headers": []}
    with anyio.fail_after(60):
        await AccessMiddleware(listening, Guard(issuer.verifier()), RULES)(scope, receive, send)
    assert sent == ["http.response.start", "http.response.body"]


@pytest.mark.parametrize("handled", [None, ValueError("a fault of the application")], ids=["own", "after a fault"])
async def test_a_500_does_not_wait_for_what_the_application_does_afterwards(issuer, handled):
    sent, has_answer, has_ended = [], anyio.Event(), []

    async def afterwards():
        await has_answer.wait()
        has_ended.append(True)

    async def sad(request):
        if handled is not None:
            raise handled
        return PlainTextResponse("sorry", 500, background=BackgroundTask(afterwards))

    async def on_fault(request, error):
        return PlainTextResponse("sorry", 500, background=BackgroundTask(afterwards))

    async def send(message):
        sent.append(message.get("status") or message["body"])
        if message["type"] == "http.response.body":
            has_answer.set()

    app = Starlette(routes=[Route("/open", sad)], exception_handlers={Exception: on_fault})
    scope = {"type": "http", "method": "GET", "path": "/open", "headers": []}
    with anyio.fail_after(60), suppress(ValueError):
        await AccessMiddleware(app, Guard(issuer.verifier()), RULES)(scope, None, send)
    assert (sent, has_ended) == ([500, b"sorry"], [True])


@pytest.mark.parametrize("afterwards", ["raises", "says no more"])
async def test_a_500_that_the_application_sends_because_of_an_access_error_is_its_own_unless_it_raises_that(
    issuer, afterwards
):
    sent = []

    async def app(scope, receive, send):
        try:
            raise KeysUnavailable(7)
        except AccessError:
            await PlainTextResponse("sorry", 500)(scope, receive, send)
            if afterwards == "raises":
                raise

    async def send(message):
        sent.append(message.get("status"))

    scope = {"type": "http", "method": "GET", "path": "/open", "headers": []}
    await AccessMiddleware(app, Guard(issuer.verifier()), RULES)(scope, None, send)
    assert sent == [503 if afterwards == "raises" else 500, None]
