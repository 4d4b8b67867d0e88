"""The address space of the server: which handler answers which path, for which tenant.

`/{tenant}/{endpoint}`, the well-known documents in both forms (path appended, path inserted), and exact paths that
belong to no tenant.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from tegata.api.addresses import Network, client_address
from tegata.api.errors import Render, guarded
from tegata.api.http import NO_STORE, Receive, Request, Response, Scope, Send, check_size, json_response, send_response
from tegata.api.traces import tell_tenant
from tegata.crypto.digests import new_identifier
from tegata.flows.directory import Directory, LoadedTenant
from tegata.protocol.errors import Refused
from tegata.telemetry.audit import Origin

TenantHandler = Callable[[Request, LoadedTenant], Awaitable[Response]]
PlainHandler = Callable[[Request], Awaitable[Response]]

_WELL_KNOWN = ".well-known"
# Any page may read these: they are public, or they need a credential that no cookie carries.
_CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"WWW-Authenticate, Retry-After"),
)


@dataclass(frozen=True, slots=True)
class Route:
    """What answers at one endpoint of every tenant: a handler for each method; HEAD follows GET."""

    methods: Mapping[str, TenantHandler]
    render: Render
    cross_origin: bool = False


class Router:
    """The ASGI application of Tegata without its lifespan."""

    def __init__(
        self,
        directory: Directory,
        endpoints: Mapping[str, Route],
        exact: Mapping[str, PlainHandler],
        prefixes: Mapping[str, PlainHandler],
        *,
        render: Render,
        trusted_proxies: tuple[Network, ...],
        security_headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self._directory = directory
        self._endpoints = endpoints
        self._exact = exact
        self._prefixes = prefixes
        self._render = render
        self._trusted = trusted_proxies
        self._security_headers = security_headers

    @property
    def endpoints(self) -> Mapping[str, Route]:
        """What answers below every tenant."""
        return self._endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = check_size(scope)
        if response is None:
            request = Request(scope, receive, self._origin(scope))
            response = await self._respond(request)
        if self._security_headers:
            response = response.with_headers(*self._security_headers)
        await send_response(response, send, head=scope["method"] == "HEAD")

    def name_of(self, path: str) -> str:
        """Return which address of the server a path is, without its tenant: one of few, such as "token"."""
        prefix, (_, endpoint) = path[: path.find("/", 1) + 1], _split(path)
        if path in self._exact:
            return path
        if prefix in self._prefixes:
            return prefix
        return endpoint if endpoint in self._endpoints else "other"

    def _origin(self, scope: Scope) -> Origin:
        peer = scope["client"][0] if scope.get("client") else None
        if peer is not None and self._trusted:
            lines = [value.decode("latin-1") for key, value in scope["headers"] if key == b"x-forwarded-for"]
            peer = client_address(peer, lines, self._trusted)
        return Origin(peer, new_identifier())

    async def _respond(self, request: Request) -> Response:
        path = request.path
        if b"%2f" in (request.scope.get("raw_path") or b"").lower():
            # The decoded path would have a separator more (RFC 3986 §2.2) than what a proxy in front has judged.
            return self._render(request, _not_found())
        plain = self._exact.get(path) or self._prefixes.get(path[: path.find("/", 1) + 1])
        if plain is not None:
            if request.method not in {"GET", "HEAD"}:
                return _method_not_allowed(["GET"])
            return await guarded(request, lambda: plain(request), self._render)
        name, endpoint = _split(path)
        route = self._endpoints.get(endpoint)
        if route is None:
            return self._render(request, _not_found())
        if request.method == "OPTIONS" and route.cross_origin:
            return _preflight(route)
        handler = route.methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            return _method_not_allowed(route.methods)
        response = await guarded(request, lambda: self._at_tenant(request, name, handler), route.render)
        return response.with_headers(*_CORS) if route.cross_origin else response

    async def _at_tenant(self, request: Request, name: str, handler: TenantHandler) -> Response:
        loaded = await self._directory.find_tenant(name)
        if loaded is None:
            raise _not_found()
        tell_tenant(request.scope, loaded.tenant.tenant_id)
        return await handler(request, loaded)


def _split(path: str) -> tuple[str, str]:
    """Return (tenant, endpoint). `/.well-known/X/{tenant}` (RFC 8414 §3.1) and `/{tenant}/.well-known/X` are one."""
    first, _, rest = path[1:].partition("/")
    if first == _WELL_KNOWN:
        document, _, tenant = rest.partition("/")
        return tenant, f"{_WELL_KNOWN}/{document}"
    return first, rest


def _not_found() -> Refused:
    return Refused("not_found", "there is nothing at this address", "not_found", status=404)


def _method_not_allowed(methods: Mapping[str, TenantHandler] | list[str]) -> Response:
    """RFC 9110 §15.5.6."""
    response = json_response({"error": "invalid_request", "error_description": "the method is not allowed here"}, 405)
    return response.with_headers((b"allow", _allowed(methods)))


def _preflight(route: Route) -> Response:
    return Response(
        204,
        b"",
        (
            *_CORS,
            NO_STORE,
            (b"access-control-allow-methods", _allowed(route.methods)),
            (b"access-control-allow-headers", b"Authorization, Content-Type"),
            (b"access-control-max-age", b"600"),
        ),
    )


def _allowed(methods: Mapping[str, TenantHandler] | list[str]) -> bytes:
    names = [*methods, *(["HEAD"] if "GET" in methods else [])]
    return ", ".join(names).encode()
