"""Pure ASGI middleware: asks for tokens in front of Starlette, Litestar and every other ASGI application."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NoReturn
from urllib.parse import quote

from tegata_verify.errors import AccessError, InsufficientScope, Reason, Refusal
from tegata_verify.guard import ANYBODY, Guard
from tegata_verify.path_rules import WEBSOCKET, PathRules
from tegata_verify.permissions import Requirement
from tegata_verify.principal import Principal
from tegata_verify.protected_resource import Description
from tegata_verify.request import HttpRequest, lower_headers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[Any]]

_IN_PATH = "/%:@!$&'()*+,;="  # RFC 3986 §3.3, beside letters and digits
_BEGINNINGS = ("http.response.start", "websocket.accept", "websocket.close", "websocket.http.response.start")
_KNOWN = "tegata_verify.known"  # where a connection's scope has who let in what, and whom
_MOST_LAYERS = 32
POLICY_VIOLATION = 1008
"""How a refused WebSocket is closed: RFC 6455 §7.4.1. Before the handshake it becomes an answer of status 403."""


class AccessMiddleware:
    """Lets requests and WebSockets through to `app` as `rules` say; the principal is `scope["state"]["principal"]`.

    An `AccessError` that leaves `app` becomes the right answer too. Starlette's 500 for it is held back; a framework
    that keeps errors to itself, as Litestar does, needs `exception_handlers={AccessError: let_through}`.

    Put CORS middleware outside of it, so that pages of other origins can read its refusals. A browser's preflight
    carries no token: where CORS middleware is inside, `preflights` is the application that answers them, and else they
    are answered without a permission.

    >>> from tegata_verify import Guard, build_requirement
    >>> from tegata_verify.path_rules import PathRule
    >>> from tegata_verify.testing import TestIssuer
    >>> async def app(scope, receive, send): ...
    >>> rules = PathRules([PathRule("/", build_requirement(scope="read"))], public={"/health"})
    >>> guarded = AccessMiddleware(app, Guard(TestIssuer().verifier()), rules)
    """

    def __init__(
        self, app: Application, guard: Guard, rules: PathRules, *, preflights: Application | None = None
    ) -> None:
        self._app = app
        self._guard = guard
        self._rules = rules
        self._preflights = preflights or _permit_nothing
        self._root_path = _find_root_path(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection. Raises `ValueError` for a kind that no rule could be about."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] not in ("http", "websocket"):
            raise ValueError(f"a connection of the kind {scope['type']!r} cannot be guarded")
        described = self._describe_service(scope)
        if described is not None:
            body = b"" if scope["method"] == "HEAD" else described.body
            await _Answer(receive, send).send_whole(200, described.headers, body)
        elif is_preflight(scope):
            await self._preflights(scope, receive, send)
        else:
            await self._serve(scope, _Answer(receive, send))

    def _describe_service(self, scope: Scope) -> Description | None:
        is_reading = scope["type"] == "http" and scope["method"] in ("GET", "HEAD", "OPTIONS")
        return self._guard.describe(scope["path"]) if is_reading else None

    async def _serve(self, scope: Scope, answer: _Answer) -> None:
        try:
            if not self._rules.is_public(scope["path"], scope.get("raw_path")):
                request = describe(scope)
                principal = await self._authorize(scope, request)
                answer.more = self._guard.answer_headers(request)
                scope = {**scope, "state": {**scope.get("state", {}), "principal": principal}}
            await self._app(scope, answer.receive, answer)
        except AccessError as error:
            if answer.has_begun:
                raise
            await answer.refuse(scope, self._guard.refuse(error))
        except Exception:
            await answer.release()
            raise
        await answer.release()

    async def _authorize(self, scope: Scope, request: HttpRequest) -> Principal:
        method = WEBSOCKET if scope["type"] == "websocket" else scope["method"]
        root_paths = (scope.get("root_path", ""), self._root_path)
        requirement = self._rules.find(method, scope["path"], scope.get("raw_path"), root_paths=root_paths)
        principal = await authorize(self._guard, scope, request, ANYBODY if requirement is None else requirement)
        if requirement is None:
            raise InsufficientScope(Reason.MISSING_PERMISSION, detail="no rule for this path and method")
        return principal


async def authorize(guard: Guard, scope: Scope, request: HttpRequest, requirement: Requirement) -> Principal:
    """Return who acts on a connection; several who ask the same guard about one are told of one decision.

    Raises an `AccessError`. What a proof or an issuer says is judged once, each requirement by itself. A scope that was
    copied for another request, as for the parts of a batch, says nothing about that one.
    """
    decided_by, decided, principal = scope.get(_KNOWN, (None, None, None))
    if decided_by is guard and decided == request:
        guard.permit(principal, request, requirement)
    else:
        principal = await guard.authorize(request, requirement)
        scope[_KNOWN] = guard, request, principal
    found: Principal = principal
    return found


def let_through(request: object, error: AccessError) -> NoReturn:
    """Raise a framework's `AccessError` again, as its handler for them, so that `AccessMiddleware` can answer it."""
    raise error


def is_preflight(scope: Scope) -> bool:
    """Tell whether a browser asks if it may send a request, which it does without a token (Fetch §3.2.2, §4.8)."""
    if scope["type"] != "http" or scope["method"] != "OPTIONS":
        return False
    names = {name.lower() for name, _ in scope["headers"]}
    return {b"origin", b"access-control-request-method"} <= names and b"authorization" not in names


class _Answer:
    """Sends what the application says, adds to its beginning what a guard has to say, and knows how far it got.

    A complete answer of status 500 that is sent while an `AccessError` is handled is held back until the application
    has ended, or waits for the client to go: that error may come after it. Starlette sends such answers, and raises
    the error again. Any other goes out at once, whatever the application does afterwards.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._held: list[Message] = []
        self._has_connected = False
        self.has_begun = False
        self.more: tuple[tuple[str, str], ...] = ()

    async def __call__(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept") and self.more:
            message = {**message, "headers": [*message.get("headers", ()), *_encoded(self.more)]}
        self._held.append(message)
        is_fault = message["type"] == "http.response.start" and message["status"] == 500
        is_held = is_fault and isinstance(sys.exc_info()[1], AccessError)
        is_end = message["type"] == "http.response.body" and not message.get("more_body", False)
        if not (is_held or (len(self._held) == 2 and is_end)):
            await self.release()

    async def receive(self) -> Message:
        """Receive for the application."""
        if len(self._held) == 2:  # a complete answer: who listens on is told nothing before the client has it
            await self.release()
        message = await self._receive()
        self._has_connected = True
        return message

    async def release(self) -> None:
        """Send what was held back."""
        held, self._held = self._held, []
        for message in held:
            self.has_begun = self.has_begun or message["type"] in _BEGINNINGS
            await self._send(message)

    async def refuse(self, scope: Scope, refusal: Refusal) -> None:
        """Answer with a refusal, in place of what was held back."""
        self._held.clear()
        self.more = ()
        body = json.dumps(refusal.body).encode()
        headers = (*refusal.headers, ("Content-Type", "application/json"), ("Content-Length", str(len(body))))
        if scope["type"] == "http":
            await self.send_whole(refusal.status, headers, body)
            return
        if not self._has_connected:
            await self._receive()  # the handshake, which is answered now
        if "websocket.http.response" in (scope.get("extensions") or {}):
            await self.send_whole(refusal.status, headers, body, "websocket.http.response")
        else:
            await self._send({"type": "websocket.close", "code": POLICY_VIOLATION})

    async def send_whole(
        self, status: int, headers: tuple[tuple[str, str], ...], body: bytes, kind: str = "http.response"
    ) -> None:
        """Send a complete answer."""
        await self._send({"type": f"{kind}.start", "status": status, "headers": _encoded(headers)})
        await self._send({"type": f"{kind}.body", "body": body})


async def _permit_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    # The browser then says that there is no permission, and not that a token is missing.
    await _Answer(receive, send).send_whole(204, (), b"")


def describe(scope: Scope) -> HttpRequest:
    """Return what a guard needs to know of an ASGI connection."""
    headers = lower_headers(scope["headers"])
    host = next((value.decode("latin-1") for name, value in headers if name == b"host"), "")
    client = scope.get("client")
    path = quote(scope["path"], safe=_IN_PATH, errors="surrogatepass")
    return HttpRequest(
        method=scope.get("method", "GET"),
        url=f"{scope.get('scheme', 'http')}://{host}{path}",
        headers=headers,
        query_string=scope.get("query_string", b""),
        peer=client[0] if client else None,
        raw_path=scope.get("raw_path"),
    )


def _find_root_path(app: Any) -> str:
    # FastAPI's own, which it takes off a path that begins with it, and which the server knows nothing of. Middleware
    # around it has it, as is usual, in `app`.
    for _ in range(_MOST_LAYERS):
        root_path = getattr(app, "root_path", None)
        if isinstance(root_path, str) and root_path:
            return root_path
        app = getattr(app, "app", None)
    return ""


def _encoded(headers: tuple[tuple[str, str], ...]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
