"""FastAPI front end: `install` once for each application, `requires` beside each endpoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Security, WebSocket
from fastapi.dependencies.models import Dependant
from fastapi.openapi.models import HTTPBearer
from fastapi.requests import HTTPConnection
from fastapi.responses import JSONResponse, Response
from fastapi.routing import iter_route_contexts
from fastapi.security.base import SecurityBase

from tegata_verify.asgi import POLICY_VIOLATION, describe
from tegata_verify.asgi import authorize as decide
from tegata_verify.errors import AccessError
from tegata_verify.guard import Guard
from tegata_verify.permissions import build_requirement
from tegata_verify.principal import Principal
from tegata_verify.verifier import Verifier

__all__ = [
    "OAuth2Docs",
    "build_responses",
    "find_guard",
    "find_open_endpoints",
    "install",
    "requires",
    "serve_description",
]

BEARER = "AccessToken"
LOGIN = "Login"


class AccessTokenScheme(SecurityBase):
    """Puts the bearer scheme into the OpenAPI document, so that Swagger UI offers Authorize; decides nothing.

    Example:

        Security(AccessTokenScheme(), scopes=["read"])
    """

    def __init__(self) -> None:
        self.model = HTTPBearer(bearerFormat="JWT", description="An access token (RFC 9068), without the word Bearer")
        self.scheme_name = BEARER

    async def __call__(self) -> None:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2Docs:
    """Where people who read the documentation log in: the authorization code flow with PKCE (RFC 7636).

    The issuer must know a public client whose redirect URI is `{your service}/docs/oauth2-redirect`, and its token
    endpoint must answer programs in browsers of your origin (CORS). `client_id` saves the reader from typing it,
    `scopes` maps each scope to what it is for, and `resource` is asked for by RFC 8707, by default what the guard
    describes. There is no place for a secret: the page would give it to everybody.

    >>> OAuth2Docs(authorization_url="https://id.example.com/authorize", token_url="https://id.example.com/token").flows
    {'authorizationCode': {'authorizationUrl': 'https://id.example.com/authorize', \
'tokenUrl': 'https://id.example.com/token', 'scopes': {}}}
    """

    authorization_url: str
    token_url: str
    refresh_url: str | None = None
    client_id: str = ""
    scopes: Mapping[str, str] = field(default_factory=dict)
    resource: str | None = None

    @property
    def flows(self) -> dict[str, Any]:
        """The member `flows` of the security scheme. OpenAPI 3.1 §4.8.28."""
        flow: dict[str, Any] = {"authorizationUrl": self.authorization_url, "tokenUrl": self.token_url}
        if self.refresh_url is not None:
            flow["refreshUrl"] = self.refresh_url
        return {"authorizationCode": {**flow, "scopes": dict(self.scopes)}}


def install(
    app: FastAPI,
    verifier: Verifier | Guard,
    *,
    realm: str = "api",
    public: Collection[str] | None = None,
    oauth2: OAuth2Docs | None = None,
) -> None:
    """Let `requires` use `verifier` in this application, and answer refusals with the challenges of RFC 6750 §3.

    With a `Guard` that has a policy, or with `public` given, nothing is open by mistake: the application does not start
    with an endpoint that has no `requires` and whose path is not in `public`. `oauth2` adds a login to Swagger UI's
    Authorize. A guard's description of the service (RFC 9728) is served. An application mounted in another one needs
    its own call.
    """
    guard = verifier if isinstance(verifier, Guard) else Guard(verifier, realm=realm)
    app.state.tegata_verify = guard
    # For WebSockets the handler may have answered by itself already, which the type does not know.
    app.add_exception_handler(AccessError, _answer_refusal)  # type: ignore[arg-type]
    serve_description(app, guard)
    if public is not None or guard.parts.policy is not None:
        app.add_middleware(_EndpointCheck, owner=app, public=frozenset(public or ()))
    if oauth2 is not None:
        _document_oauth2(app, oauth2, guard.parts.resource.resource if guard.parts.resource is not None else None)


def requires(
    *,
    scope: str | Collection[str] | None = None,
    role: str | Collection[str] | None = None,
    permission: str | Collection[str] | None = None,
    tenant: str | Collection[str] | None = None,
    acr: str | Collection[str] | None = None,
    max_age: int | None = None,
) -> Callable[..., Awaitable[Principal]]:
    """Return a dependency that gives the `Principal`, or refuses the request; for WebSockets as well.

    All scopes and permissions are needed, any one of the roles, tenants and `acr` is enough, and all of them must
    allow: see `build_requirement`. Without arguments any valid token will do, unless the guard has a policy. The
    principal is also kept as `request.state.principal`, for middleware.
    """
    requirement = build_requirement(
        scope=scope, role=role, permission=permission, tenant=tenant, acr=acr, max_age=max_age
    )
    documented = Security(AccessTokenScheme(), scopes=sorted(requirement.scopes))

    async def authorize(connection: HTTPConnection, response: Response, _: None = documented) -> Principal:
        guard, request = find_guard(connection), describe(connection.scope)
        principal = await decide(guard, connection.scope, request, requirement)
        connection.state.principal = principal
        for name, value in guard.answer_headers(request):
            response.headers[name] = value
        return principal

    return authorize


def serve_description(app: FastAPI, guard: Guard) -> None:
    """Serve the guard's description of the service, if it has one, where RFC 9728 §3.1 puts it.

    `install` does it; only where that application is mounted in another one, the outer one needs this call, because
    the address is counted from the host's root.
    """
    resource = guard.parts.resource
    if resource is None:
        return

    async def show(request: Request) -> Response:
        description = guard.describe(resource.metadata_path)
        assert description is not None
        return Response(description.body, headers=dict(description.headers))

    app.add_route(resource.metadata_path, show, ["GET", "OPTIONS"], include_in_schema=False)


def build_responses() -> dict[int | str, dict[str, Any]]:
    """Return the refusals for `responses=` of an application or router, so that its OpenAPI document names them."""
    members = {"error": {"type": "string"}, "error_description": {"type": "string"}}
    # Nothing is required: an application has other reasons to answer 400, in a form of its own.
    schema = {"type": "object", "properties": members}
    texts = {
        400: "The token was not sent in one Authorization header",
        401: "No access token, one that is not valid here, or a login that is not strong or recent enough",
        403: "The token's scope or the caller's role does not allow this",
        503: "The issuer's keys cannot be had",
    }
    return {
        status: {"description": text, "content": {"application/json": {"schema": schema}}}
        for status, text in texts.items()
    }


def find_guard(connection: HTTPConnection) -> Guard:
    """Return the guard that `install` gave the application, for code that asks it or its policy in the middle."""
    installed = getattr(connection.app.state, "tegata_verify", None)
    if not isinstance(installed, Guard):
        raise RuntimeError("call tegata_verify.fastapi.install(app, verifier) where the application is made")
    return installed


async def _answer_refusal(connection: HTTPConnection, error: Exception) -> Response | None:
    assert isinstance(error, AccessError)
    refusal = find_guard(connection).refuse(error)
    if isinstance(connection, WebSocket) and "websocket.http.response" not in connection.scope.get("extensions", {}):
        await connection.close(POLICY_VIOLATION)
        return None
    answer = JSONResponse(refusal.body, refusal.status)
    for name, value in refusal.headers:
        answer.headers.append(name, value)
    return answer


def _document_oauth2(app: FastAPI, docs: OAuth2Docs, resource: str | None) -> None:
    """Offer the login beside the bearer token, at every endpoint; what the application set itself stays."""
    asked_for = docs.resource or resource
    login: dict[str, Any] = {"usePkceWithAuthorizationCodeGrant": True, "clientId": docs.client_id}
    if asked_for is not None:
        login["additionalQueryStringParams"] = {"resource": asked_for}
    app.swagger_ui_init_oauth = login | (app.swagger_ui_init_oauth or {})
    # FastAPI's own way to extend the document.
    app.openapi = _with_login(app.openapi, docs)  # type: ignore[method-assign]


def _with_login(build: Callable[[], dict[str, Any]], docs: OAuth2Docs) -> Callable[[], dict[str, Any]]:
    def openapi() -> dict[str, Any]:
        document = build()
        schemes = document.get("components", {}).get("securitySchemes", {})
        # FastAPI hands out the same document each time.
        if BEARER in schemes and LOGIN not in schemes:
            schemes[LOGIN] = {"type": "oauth2", "flows": docs.flows}
            for path in document["paths"].values():
                for operation in path.values():
                    _offer_login(operation)
        return document

    return openapi


def _offer_login(operation: Any) -> None:
    demands = operation.get("security", []) if isinstance(operation, dict) else []
    demands += [{LOGIN: demand[BEARER]} for demand in demands if BEARER in demand]


def find_open_endpoints(app: FastAPI) -> list[str]:
    """Return what an application answers without asking for a token, such as `GET /health`; FastAPI's own pages aside.

    A mounted application that has been given to `install` answers for itself.
    """
    own = {app.openapi_url, app.docs_url, app.redoc_url, app.swagger_ui_oauth2_redirect_url}
    guard = getattr(app.state, "tegata_verify", None)
    if isinstance(guard, Guard) and guard.parts.resource is not None:
        own.add(guard.parts.resource.metadata_path)
    found = []
    for route in iter_route_contexts(app.routes):
        mounted = getattr(getattr(route.route, "app", None), "state", None)
        is_guarded = _asks(getattr(route, "dependant", None)) or hasattr(mounted, "tegata_verify")
        if not is_guarded and route.path not in own:
            found.append(f"{' '.join(sorted(route.methods or ())) or 'ANY'} {route.path}")
    return found


class _EndpointCheck:
    """Lets an application start only if every endpoint asks for a token or is known to be open."""

    def __init__(self, app: Any, owner: FastAPI, public: frozenset[str]) -> None:
        self._app = app
        self._owner = owner
        self._public = public
        self._checked: set[str] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        # Once before the start, and once more with the first request, for endpoints that the start adds.
        if (kind := "start" if scope["type"] == "lifespan" else "request") not in self._checked:
            found = [name for name in find_open_endpoints(self._owner) if name.partition(" ")[2] not in self._public]
            if found:
                raise RuntimeError(f"without `requires`, and not in `public`: {', '.join(found)}")
            self._checked.add(kind)
        await self._app(scope, receive, send)


def _asks(dependant: Dependant | None) -> bool:
    return any(
        isinstance(inner.call, AccessTokenScheme) or _asks(inner)
        for inner in (dependant.dependencies if dependant is not None else ())
    )
