"""One page for people: who they are, what they may do, and what is refused. It asks the same paths as any client."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, Response
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from tegata_verify import Principal
from tegata_verify.fastapi import requires

_FOLDER = Path(__file__).parent / "static"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}

SESSION_COOKIES = [f"AWSELBAuthSessionCookie-{shard}" for shard in range(4)]
"""Where the front load balancer keeps its session, in up to four parts."""


def add_pages(app: FastAPI, signed_out_url: str = "/") -> None:
    """Serve the page at `/`. Signing out ends the load balancer's session and goes on to `signed_out_url`.

    With Cognito that is its logout endpoint: otherwise it logs the same user in again without a question. AWS,
    "Authenticate users using an Application Load Balancer", section "Authentication logout".
    """
    app.mount("/static", StaticFiles(directory=_FOLDER))

    @app.get("/", include_in_schema=False)
    async def index(_: Annotated[Principal, Depends(requires())]) -> Response:
        return FileResponse(_FOLDER / "index.html", headers=_HEADERS)

    @app.post("/sign-out", include_in_schema=False)
    async def sign_out() -> Response:
        answer = RedirectResponse(signed_out_url, 303)
        for name in SESSION_COOKIES:
            answer.delete_cookie(name, path="/", secure=False, httponly=True)
        return answer
