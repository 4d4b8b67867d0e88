"""The developer's pages: in development only, and never in production."""

from __future__ import annotations

import pytest

from tegata.app import Development
from tegata.testing.relying_party import Browser, Page, RelyingParty
from tegata.testing.server import serving
from tegata.web.developer import DeveloperPages
from tegata.web.pages import Command, LandingClient, LandingPage, LandingTenant, LandingUser, PlaygroundPage

pytestmark = pytest.mark.anyio

LANDING = LandingPage(
    base_url="http://127.0.0.1:8080",
    tenants=(
        LandingTenant(
            "acme",
            "http://127.0.0.1:8080/acme",
            users=(LandingUser("taro", "a demo password", name="山田 <太郎>"),),
            clients=(LandingClient("acme-web", "a demo secret", "client_secret_basic"),),
        ),
    ),
    commands=(Command("Ask for the keys", "curl http://127.0.0.1:8080/acme/jwks"),),
)
PLAYGROUND = PlaygroundPage(
    issuer="http://127.0.0.1:8080/acme",
    authorization_endpoint="/acme/authorize",
    token_endpoint="/acme/token",
    userinfo_endpoint="/acme/userinfo",
    end_session_endpoint="/acme/end_session",
    client_id="spa",
    redirect_uri="http://127.0.0.1:8080/playground",
    api_uri="/example-api/recipes",
)
PAGES = DeveloperPages(LANDING, PLAYGROUND)


async def test_the_console_shows_what_is_no_secret_in_development() -> None:
    async with serving(base_url="http://127.0.0.1:8080", development=Development(PAGES)) as server:
        reply = await server.request("GET", "/")
        assert reply.status == 200
        for text in ("a demo password", "a demo secret", "curl http://127.0.0.1:8080/acme/jwks"):
            assert text in reply.text
        assert "<太郎>" not in reply.text
        assert reply.header("cache-control") == "no-store"


async def test_the_playground_may_run_its_script_and_call_this_server_only() -> None:
    async with serving(base_url="http://127.0.0.1:8080", development=Development(PAGES)) as server:
        policy = (await server.request("GET", "/playground")).header("content-security-policy") or ""
        assert "script-src 'self'" in policy
        assert "connect-src 'self'" in policy
        assert "unsafe" not in policy


async def test_the_pages_are_read_only_and_leave_the_tenants_alone() -> None:
    async with serving(base_url="http://127.0.0.1:8080", development=Development(PAGES)) as server:
        assert (await server.request("POST", "/", fields={})).status == 405
        assert (await server.request("POST", "/playground", fields={})).status == 405
        own = RelyingParty(server, "own")
        assert "code" in await own.authorize(Browser(server))


async def test_production_has_no_such_pages() -> None:
    async with serving() as server:
        for path in ("/", "/playground"):
            reply = await server.request("GET", path)
            assert reply.status == 404
            assert Page(reply).texts["error-code"] == "not_found"


async def test_production_refuses_to_have_them() -> None:
    with pytest.raises(ValueError, match="development only"):
        async with serving(development=Development(PAGES), environment="production"):
            pass  # never reached
