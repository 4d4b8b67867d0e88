"""An application that knows its users from the load balancer in front of it.

uvicorn app.main_app:app --port 8000
"""

from __future__ import annotations

import logging
import os
from functools import cache
from typing import Annotated

from fastapi import Depends, FastAPI
from pydantic import BaseModel

from app.cognito_utils import build_guard
from app.pages import add_pages
from tegata_verify import Guard, Principal
from tegata_verify.fastapi import build_responses, install, requires

ADMINISTRATORS = "admin"
"""The group of the user pool, or the role, whose members may see the report."""

User = Annotated[Principal, Depends(requires())]
Administrator = Annotated[Principal, Depends(requires(role=ADMINISTRATORS))]


class Profile(BaseModel):
    """Who the caller is: from the access token, and from what the load balancer says of the user."""

    subject: str
    client_id: str | None
    scopes: list[str]
    roles: list[str]
    email: str | None


class Report(BaseModel):
    """Something for administrators alone."""

    written_for: str
    batches: int


def create_app(guard: Guard, signed_out_url: str = "/") -> FastAPI:
    """Build the application around `guard`."""
    app = FastAPI(title="Plan B", responses=build_responses())
    install(app, guard)
    add_pages(app, signed_out_url)

    @app.get("/health", responses={})
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/me")
    async def me(user: User) -> Profile:
        email = user.identity.get("email")
        return Profile(
            subject=user.subject,
            client_id=user.client_id,
            scopes=sorted(user.scopes),
            roles=sorted(user.roles),
            email=email if isinstance(email, str) else None,
        )

    @app.get("/admin/report")
    async def report(administrator: Administrator) -> Report:
        return Report(written_for=administrator.subject, batches=7)

    return app


def log_refusals() -> None:
    """Say on standard error why a request was refused; uvicorn sets up its own loggers alone."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s:     %(message)s"))
    logger = logging.getLogger("tegata_verify")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


@cache
def make_app() -> FastAPI:
    """Return the application for this process's environment; servers ask for `app` more than once."""
    log_refusals()
    return create_app(build_guard(os.environ), os.environ.get("SIGNED_OUT_URL", "/"))


def __getattr__(name: str) -> FastAPI:
    # `app` is made when the server asks for it, so that tests can import this module without an environment.
    if name == "app":
        return make_app()
    raise AttributeError(name)
