"""A span for each request, by the conventions of OpenTelemetry ("Semantic conventions for HTTP spans").

Left out of them on purpose: path, query, user agent, and whose address it was. A path is somebody's text, which may be
a token that was put in the wrong place; `http.route` says the same in our words. Host and scheme are those of the
base URL: what a request calls us is its own invention.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from tegata.api.addresses import Network, is_within
from tegata.api.http import Receive, Scope, Send
from tegata.telemetry.spans import OAUTH_ERROR, TENANT, Attributes, Incoming, Span, Tracer

_SPAN = "tegata.span"
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE", "QUERY"})
# What load balancers and collectors ask every few seconds would be most of what is stored, and tells nobody anything.
UNTRACED = frozenset({"/livez", "/readyz", "/healthz", "/health/db", "/actuator/health", "/metrics"})

_App = Callable[[Scope, Receive, Send], Awaitable[None]]


def tell_tenant(scope: Scope, tenant: object) -> None:
    """Say in the request's span which tenant was found."""
    span: Span | None = scope.get(_SPAN)
    if span is not None:
        span.set(TENANT, str(tenant))


def tell_error(scope: Scope, code: str | None) -> None:
    """Say in the request's span which error was answered, in the words of the protocol."""
    span: Span | None = scope.get(_SPAN)
    if span is not None and code is not None:
        span.set(OAUTH_ERROR, code)


class TracedRequests:
    """An ASGI application with a span for each request of another one.

    `name_of` gives one of few names for a path. `trusted`: whose word about a trace is continued.
    """

    def __init__(
        self,
        app: _App,
        name_of: Callable[[str], str],
        tracer: Tracer,
        *,
        base_url: str,
        trusted: tuple[Network, ...] = (),
    ) -> None:
        self._app = app
        self._name_of = name_of
        self._tracer = tracer
        self._trusted = trusted
        parts = urlsplit(base_url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        self._of_all: Attributes = {
            "url.scheme": parts.scheme,
            "server.address": parts.hostname or "",
            "server.port": port,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = self._name_of(scope["path"])
        if name in UNTRACED:
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        route = _route(name, scope["path"])
        attributes = {**self._of_all, "http.request.method": method}
        if route is not None:
            attributes["http.route"] = route
        said = "HTTP" if method == "_OTHER" else method
        with self._tracer.request(f"{said} {route}" if route else said, attributes, self._incoming(scope)) as span:
            scope[_SPAN] = span

            async def noting(message: MutableMapping[str, Any]) -> None:
                if message["type"] == "http.response.start":
                    _note(span, message["status"])
                await send(message)

            await self._app(scope, receive, noting)

    def _incoming(self, scope: Scope) -> Incoming:
        client = scope.get("client")
        return Incoming(scope["headers"], client is not None and is_within(client[0], self._trusted))


def _note(span: Span, status: int) -> None:
    span.set("http.response.status_code", status)
    if status >= 500:
        span.fail(str(status))


def _route(name: str, path: str) -> str | None:
    """Return the address with words of ours in the place of what varies; None where there is nothing."""
    if name == "other":
        return None
    if name.startswith("/"):
        return f"{name}{{file}}" if name.endswith("/") else name
    # RFC 8414 §3.1 has the tenant at the end.
    return f"/{name}/{{tenant}}" if path.startswith(f"/{name}/") else f"/{{tenant}}/{name}"
