"""FastAPI front end: `install` once for each application, `requires` beside each endpoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any

from fastapi import FastAPI, Request, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.responses import JSONResponse
from fastapi.security.base import SecurityBase

from tegata_verify.errors import AccessError
from tegata_verify.guard import Guard
from tegata_verify.permissions import build_requirement
from tegata_verify.principal import Principal
from tegata_verify.request import HttpRequest
from tegata_verify.verifier import Verifier


class _BearerScheme(SecurityBase):
    """Puts the bearer scheme into the OpenAPI document, so that Swagger UI offers Authorize; decides nothing."""

    def __init__(self) -> None:
        self.model = HTTPBearer(bearerFormat="JWT", description="An access token (RFC 9068), without the word Bearer")
        self.scheme_name = "AccessToken"

    async def __call__(self) -> None:
        return None


def install(app: FastAPI, verifier: Verifier | Guard, *, realm: str = "api") -> None:
    """Let `requires` use `verifier` in this application, and answer refusals with the challenges of RFC 6750 §3.

    An application mounted in another one needs its own call.
    """
    app.state.tegata_verify = verifier if isinstance(verifier, Guard) else Guard(verifier, realm=realm)
    app.add_exception_handler(AccessError, _answer_refusal)


def requires(
    *, scope: str | Collection[str] | None = None, role: str | Collection[str] | None = None
) -> Callable[..., Awaitable[Principal]]:
    """Return a dependency that gives the `Principal`, or refuses the request.

    All scopes are needed, any one of the roles is enough, and both must allow: see `build_requirement`. Without
    arguments any valid token will do. The principal is also kept as `request.state.principal`, for middleware.
    """
    requirement = build_requirement(scope=scope, role=role)
    documented = Security(_BearerScheme(), scopes=sorted(requirement.scopes))

    async def authorize(request: Request, _: None = documented) -> Principal:
        principal = await _find_guard(request).authorize(_describe(request), requirement)
        request.state.principal = principal
        return principal

    return authorize


def build_responses() -> dict[int | str, dict[str, Any]]:
    """Return the refusals for `responses=` of an application or router, so that its OpenAPI document names them."""
    members = {"error": {"type": "string"}, "error_description": {"type": "string"}}
    # Nothing is required: an application has other reasons to answer 400, in a form of its own.
    schema = {"type": "object", "properties": members}
    texts = {
        400: "The token was not sent in one Authorization header",
        401: "No access token, or one that is not valid here",
        403: "The token's scope or the caller's role does not allow this",
        503: "The issuer's keys cannot be had",
    }
    return {
        status: {"description": text, "content": {"application/json": {"schema": schema}}}
        for status, text in texts.items()
    }


async def _answer_refusal(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AccessError)
    refusal = _find_guard(request).refuse(error)
    answer = JSONResponse(refusal.body, refusal.status)
    for name, value in refusal.headers:
        answer.headers.append(name, value)
    return answer


def _describe(request: Request) -> HttpRequest:
    scope = request.scope
    return HttpRequest(
        method=request.method,
        url=str(request.url.replace(query="", fragment="")),
        headers=tuple(scope["headers"]),
        query_string=scope["query_string"],
        peer=request.client.host if request.client is not None else None,
    )


def _find_guard(request: Request) -> Guard:
    installed = getattr(request.app.state, "tegata_verify", None)
    if not isinstance(installed, Guard):
        raise RuntimeError("call tegata_verify.fastapi.install(app, verifier) where the application is made")
    return installed
