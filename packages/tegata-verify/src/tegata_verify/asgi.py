"""Pure ASGI middleware: asks for tokens in front of Starlette, Litestar and every other ASGI application."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

from tegata_verify.errors import AccessError, InsufficientScope, Reason, Refusal
from tegata_verify.guard import ANYBODY, Guard
from tegata_verify.path_rules import WEBSOCKET, PathRules
from tegata_verify.principal import Principal
from tegata_verify.request import HttpRequest, lower_headers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[Any]]

_IN_PATH = "/%:@!$&'()*+,;="  # RFC 3986 §3.3, beside letters and digits
_POLICY_VIOLATION = 1008  # RFC 6455 §7.4.1; before the handshake it becomes an answer of status 403


class AccessMiddleware:
    """Lets requests and WebSockets through to `app` as `rules` say; the principal is `scope["state"]["principal"]`.

    Put CORS middleware outside of it: a browser's preflight carries no token.

    >>> from tegata_verify import Guard, build_requirement
    >>> from tegata_verify.path_rules import PathRule
    >>> from tegata_verify.testing import TestIssuer
    >>> async def app(scope, receive, send): ...
    >>> rules = PathRules([PathRule("/", build_requirement(scope="read"))], public={"/health"})
    >>> guarded = AccessMiddleware(app, Guard(TestIssuer().verifier()), rules)
    """

    def __init__(self, app: Application, guard: Guard, rules: PathRules) -> None:
        self._app = app
        self._guard = guard
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; what is neither HTTP nor a WebSocket is none of our business."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        path, raw_path = scope["path"], scope.get("raw_path")
        answer = _Answer(send)
        if scope["type"] == "http" and (described := self._guard.describe(path)) is not None:
            await answer.send_whole(200, described.headers, described.body)
        elif self._rules.is_public(path, raw_path):
            await self._app(scope, receive, send)
        else:
            await self._serve_guarded(scope, receive, answer)

    async def _serve_guarded(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        request = describe(scope)
        try:
            principal = await self._authorize(scope, request)
        except AccessError as error:
            await _refuse(scope, receive, answer, self._guard.refuse(error))
            return
        answer.more = self._guard.answer_headers(request)
        await self._app({**scope, "state": {**scope.get("state", {}), "principal": principal}}, receive, answer)

    async def _authorize(self, scope: Scope, request: HttpRequest) -> Principal:
        method = WEBSOCKET if scope["type"] == "websocket" else scope["method"]
        requirement = self._rules.find(method, scope["path"], scope.get("raw_path"))
        principal = await self._guard.authorize(request, ANYBODY if requirement is None else requirement)
        if requirement is None:
            raise InsufficientScope(Reason.MISSING_PERMISSION, detail="no rule for this path and method")
        return principal


class _Answer:
    """Sends, and adds what a guard has to say to the beginning."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.more: tuple[tuple[str, str], ...] = ()

    async def __call__(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept") and self.more:
            message = {**message, "headers": [*message.get("headers", ()), *_encoded(self.more)]}
        await self._send(message)

    async def send_whole(
        self, status: int, headers: tuple[tuple[str, str], ...], body: bytes, kind: str = "http.response"
    ) -> None:
        await self({"type": f"{kind}.start", "status": status, "headers": _encoded(headers)})
        await self({"type": f"{kind}.body", "body": body})


def describe(scope: Scope) -> HttpRequest:
    """Return what a guard needs to know of an ASGI connection."""
    headers = lower_headers(scope["headers"])
    host = next((value.decode("latin-1") for name, value in headers if name == b"host"), "")
    client = scope.get("client")
    return HttpRequest(
        method=scope.get("method", "GET"),
        url=f"{scope.get('scheme', 'http')}://{host}{quote(scope['path'], safe=_IN_PATH)}",
        headers=headers,
        query_string=scope.get("query_string", b""),
        peer=client[0] if client else None,
        raw_path=scope.get("raw_path"),
    )


async def _refuse(scope: Scope, receive: Receive, answer: _Answer, refusal: Refusal) -> None:
    body = json.dumps(refusal.body).encode()
    headers = (*refusal.headers, ("Content-Type", "application/json"), ("Content-Length", str(len(body))))
    if scope["type"] == "http":
        await answer.send_whole(refusal.status, headers, body)
        return
    await receive()  # the handshake, which is answered now
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await answer.send_whole(refusal.status, headers, body, "websocket.http.response")
    else:
        await answer({"type": "websocket.close", "code": _POLICY_VIOLATION})


def _encoded(headers: tuple[tuple[str, str], ...]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
