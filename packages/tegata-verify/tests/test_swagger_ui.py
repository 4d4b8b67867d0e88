"""Swagger UI's Authorize, in a real browser: with a token, and by logging in with PKCE."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs

import flask_swagger_ui
import pytest
import uvicorn
from fastapi import Depends, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles
from playwright.sync_api import Browser, Page, sync_playwright

from tegata_verify.fastapi import OAuth2Docs, install, requires
from tegata_verify.testing import TestIssuer

pytestmark = pytest.mark.browser

# The page's files come from a package: nothing is fetched from elsewhere.
FILES = Path(flask_swagger_ui.__file__).parent / "dist"
PATIENCE_MS = 60_000
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def build(issuer: TestIssuer, origin: str) -> FastAPI:
    """An API, its documentation and a login that says yes, all in one origin."""
    app = FastAPI(docs_url=None)
    docs = OAuth2Docs(
        authorization_url=f"{origin}/authorize",
        token_url=f"{origin}/token",
        client_id="docs",
        scopes={"read": "Look"},
        resource="api",
    )
    install(app, issuer.verifier(), oauth2=docs)
    app.mount("/files", StaticFiles(directory=FILES))
    asked: dict[str, str] = {}

    @app.get("/beers", dependencies=[Depends(requires(scope="read"))])
    async def beers() -> str:
        return "Saison"

    @app.get("/docs", include_in_schema=False)
    async def documentation():
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Beers",
            swagger_js_url="/files/swagger-ui-bundle.js",
            swagger_css_url="/files/swagger-ui.css",
            swagger_favicon_url="data:,",
            oauth2_redirect_url="/files/oauth2-redirect.html",
            init_oauth=app.swagger_ui_init_oauth,
        )

    @app.get("/authorize", include_in_schema=False)
    async def authorize(request: Request):
        asked.update(request.query_params)
        return RedirectResponse(f"{asked['redirect_uri']}?code=once&state={asked['state']}")

    @app.post("/token", include_in_schema=False)
    async def token(request: Request):
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]
        assert (asked["code_challenge_method"], asked["resource"], form["code"]) == ("S256", "api", "once")
        return {"access_token": issuer.mint(scope="read"), "token_type": "Bearer", "expires_in": 300}

    return app


@contextmanager
def served(issuer: TestIssuer) -> Iterator[str]:
    config = uvicorn.Config(FastAPI(), host="127.0.0.1", port=0, log_level="error", lifespan="off")
    listener = config.bind_socket()
    listener.listen()  # who comes early waits
    origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config.app = build(issuer, origin)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield origin
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()


@pytest.fixture(scope="module")
def issuer() -> TestIssuer:
    return TestIssuer()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=QUIET, timeout=PATIENCE_MS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def origin(issuer) -> Iterator[str]:
    with served(issuer) as origin:
        yield origin


@pytest.fixture
def page(browser, origin) -> Iterator[Page]:
    """The documentation, in a browser that remembers nothing."""
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{origin}/docs")
        yield page


def call(page: Page) -> str:
    """Try the one operation, and return the status that the page shows."""
    page.click(".opblock-summary-control")
    page.click(".try-out__btn")
    page.click("button.execute")
    status = page.locator(".live-responses-table tr.response .response-col_status")
    status.wait_for()
    return status.inner_text().split()[0]


def test_without_authorize_the_call_is_refused(page):
    assert call(page) == "401"


def test_a_token_put_into_authorize_goes_with_the_call(page, issuer):
    page.click(".auth-wrapper .authorize")
    page.fill("#auth-bearer-value", issuer.mint(scope="read"))
    page.click(".auth-container:has(#auth-bearer-value) button.authorize")
    page.click(".close-modal")
    assert call(page) == "200"


def test_authorize_logs_in_by_code_and_pkce(page):
    page.click(".auth-wrapper .authorize")
    login = page.locator(".auth-container", has_text="authorizationCode")
    login.locator("button.authorize").click()
    login.locator("button", has_text="Logout").wait_for()
    page.click(".close-modal")
    assert call(page) == "200"
