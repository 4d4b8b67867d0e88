"""FastAPI front end: `install` once for each application, `requires` beside each endpoint."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.responses import JSONResponse
from fastapi.security.base import SecurityBase

from tegata_verify.bearer import parse_bearer
from tegata_verify.errors import AccessError, build_refusal
from tegata_verify.permissions import build_requirement, check_permission
from tegata_verify.principal import Principal
from tegata_verify.verifier import Verifier

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Installed:
    verifier: Verifier
    realm: str


class _BearerScheme(SecurityBase):
    """Puts the bearer scheme into the OpenAPI document, so that Swagger UI offers Authorize; decides nothing."""

    def __init__(self) -> None:
        self.model = HTTPBearer(bearerFormat="JWT", description="An access token (RFC 9068), without the word Bearer")
        self.scheme_name = "AccessToken"

    async def __call__(self) -> None:
        return None


def install(app: FastAPI, verifier: Verifier, *, realm: str = "api") -> None:
    """Let `requires` use `verifier` in this application, and answer refusals with the challenges of RFC 6750 §3.

    An application mounted in another one needs its own call.
    """
    app.state.tegata_verify = _Installed(verifier, realm)
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
        installed = _find_installed(request)
        token = parse_bearer(request.scope["headers"], request.scope["query_string"])
        principal = await installed.verifier.verify(token)
        check_permission(principal, requirement)
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
    _log.info("request refused: %s", error.reason, extra={"reason": str(error.reason), "detail": error.detail})
    refusal = build_refusal(error, realm=_find_installed(request).realm)
    return JSONResponse(refusal.body, refusal.status, dict(refusal.headers))


def _find_installed(request: Request) -> _Installed:
    installed = getattr(request.app.state, "tegata_verify", None)
    if not isinstance(installed, _Installed):
        raise RuntimeError("call tegata_verify.fastapi.install(app, verifier) where the application is made")
    return installed
