"""The client of the Model Context Protocol's SDK finds its way in from a challenge alone."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from fastapi import Depends, FastAPI
from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

from tegata_verify import Guard, ProtectedResource
from tegata_verify.fastapi import install, requires
from tegata_verify.testing import TestIssuer

pytestmark = pytest.mark.anyio

CALLBACK = "http://localhost:9000/callback"


class Network(httpx2.AsyncBaseTransport):
    """The service at api.test, and an authorization server that lets everybody in."""

    def __init__(self, issuer: TestIssuer, app: FastAPI) -> None:
        self.issuer = issuer
        self.app = httpx2.ASGITransport(app)
        self.seen: list[str] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.seen.append(f"{request.method} {request.url.host}{request.url.path}")
        if request.url.host == "api.test":
            return await self.app.handle_async_request(request)
        base = self.issuer.issuer
        if request.url.path.startswith("/.well-known/oauth-authorization-server"):
            return httpx2.Response(
                200,
                request=request,
                json={
                    "issuer": base,
                    "authorization_endpoint": f"{base}/authorize",
                    "token_endpoint": f"{base}/token",
                    "registration_endpoint": f"{base}/register",
                    "response_types_supported": ["code"],
                    "code_challenge_methods_supported": ["S256"],
                },
            )
        if request.url.path.endswith("/register"):
            made = {"client_id": "mcp", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"}
            return httpx2.Response(201, request=request, json=made)
        if request.url.path.endswith("/token"):
            form = parse_qs((await request.aread()).decode())
            token = self.issuer.mint(scope="tools", audience=form["resource"][0], client_id="mcp")
            answer = {"access_token": token, "token_type": "Bearer", "expires_in": 300, "scope": "tools"}
            return httpx2.Response(200, request=request, json=answer)
        return httpx2.Response(404, request=request)


class Memory:
    """Keeps what the client learns."""

    tokens = None
    client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Person:
    """Follows the client's redirect and says yes."""

    asked: str = ""

    async def go(self, url: str) -> None:
        self.asked = url

    async def come_back(self) -> AuthorizationCodeResult:
        (state,) = parse_qs(urlsplit(self.asked).query)["state"]
        return AuthorizationCodeResult(code="code", state=state)


async def test_a_client_that_knows_only_the_address_gets_in():
    issuer = TestIssuer(audience="https://api.test/mcp")
    app = FastAPI()
    resource = ProtectedResource("https://api.test/mcp", scopes_supported=["tools"])
    install(app, Guard(issuer.verifier(), resource=resource))

    @app.post("/mcp", dependencies=[Depends(requires(scope="tools"))])
    async def call() -> str:
        return "called"

    network, person = Network(issuer, app), Person()
    provider = OAuthClientProvider(
        "https://api.test/mcp",
        OAuthClientMetadata(redirect_uris=[CALLBACK], token_endpoint_auth_method="none"),
        Memory(),
        person.go,
        person.come_back,
    )
    async with httpx2.AsyncClient(auth=provider, transport=network) as client:
        answer = await client.post("https://api.test/mcp")

    assert (answer.status_code, answer.json()) == (200, "called")
    assert network.seen[:2] == ["POST api.test/mcp", "GET api.test/.well-known/oauth-protected-resource/mcp"]
    query = parse_qs(urlsplit(person.asked).query)
    assert query["resource"] == ["https://api.test/mcp"]
    assert query["scope"] == ["tools"]
