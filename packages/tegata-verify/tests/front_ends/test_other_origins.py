"""What browsers of other origins need: preflights without a token, and refusals that they can read (Fetch §3.2)."""

from __future__ import annotations

import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tegata_verify import Guard, ProtectedResource, build_requirement
from tegata_verify.asgi import AccessMiddleware
from tegata_verify.fastapi import install, requires
from tegata_verify.path_rules import PathRule, PathRules
from tegata_verify.testing import TestIssuer

PAGE = "https://app.example.com"
BASE = "https://api.test"
METADATA = "/.well-known/oauth-protected-resource"
RULES = PathRules([PathRule("/beers", build_requirement(scope="read"))], public={"/health"})
PREFLIGHT = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "authorization,mcp-protocol-version",
}


@pytest.fixture(scope="module")
def guard() -> Guard:
    return Guard(TestIssuer().verifier(), resource=ProtectedResource(BASE))


async def beers(request):
    return JSONResponse([request.method])


def plain_app() -> Starlette:
    return Starlette(routes=[Route(path, beers, methods=["GET", "POST", "OPTIONS"]) for path in ("/beers", METADATA)])


def permissive(app) -> CORSMiddleware:
    return CORSMiddleware(
        app,
        allow_origins=[PAGE],
        allow_headers=["*"],
        expose_headers=["WWW-Authenticate", "DPoP-Nonce"],
    )


def client_of(app) -> TestClient:
    return TestClient(app, base_url=BASE)


def test_with_cors_outside_a_page_may_ask_and_reads_the_challenge(guard):
    with client_of(permissive(AccessMiddleware(plain_app(), guard, RULES))) as client:
        preflight = client.options("/beers", headers=PREFLIGHT)
        refused = client.get("/beers", headers={"Origin": PAGE})
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, PAGE)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)
    assert "WWW-Authenticate" in refused.headers["access-control-expose-headers"]
    assert "resource_metadata" in refused.headers["www-authenticate"]


def test_with_cors_inside_the_application_may_answer_preflights_alone(guard):
    inner = permissive(plain_app())
    with client_of(AccessMiddleware(inner, guard, RULES, preflights=inner)) as client:
        assert client.options("/beers", headers=PREFLIGHT).headers["access-control-allow-origin"] == PAGE
        assert client.get("/beers", headers={"Origin": PAGE}).status_code == 401


def test_without_cors_a_preflight_is_permitted_nothing_and_does_not_reach_the_application(guard):
    with client_of(AccessMiddleware(plain_app(), guard, RULES)) as client:
        answer = client.options("/beers", headers=PREFLIGHT)
    assert (answer.status_code, answer.content) == (204, b"")
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("missing", ["Origin", "Access-Control-Request-Method"])
def test_options_that_are_no_preflight_need_a_token(guard, missing):
    inner = plain_app()
    headers = {name: value for name, value in PREFLIGHT.items() if name != missing}
    with client_of(AccessMiddleware(inner, guard, RULES, preflights=inner)) as client:
        assert client.options("/beers", headers=headers).status_code == 401
        assert client.get("/beers", headers=PREFLIGHT).status_code == 401
        bad = client.options("/beers", headers={**PREFLIGHT, "Authorization": "Bearer of-nothing"})
    assert bad.status_code == 401


def fastapi_app(guard: Guard) -> FastAPI:
    app = FastAPI()
    install(app, guard)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=[PAGE],
        allow_headers=["*"],
        expose_headers=["WWW-Authenticate", "DPoP-Nonce"],
    )
    app.get("/beers", dependencies=[Depends(requires(scope="read"))])(lambda: "Saison")
    return app


def test_in_fastapi_a_page_may_ask_and_reads_the_challenge(guard):
    client = client_of(fastapi_app(guard))
    assert client.options("/beers", headers=PREFLIGHT).headers["access-control-allow-origin"] == PAGE
    refused = client.get("/beers", headers={"Origin": PAGE})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)
    assert "WWW-Authenticate" in refused.headers["access-control-expose-headers"]


def bare_fastapi(guard: Guard) -> FastAPI:
    app = FastAPI()
    install(app, guard)
    return app


@pytest.mark.parametrize(
    "build", [bare_fastapi, lambda guard: AccessMiddleware(plain_app(), guard, RULES)], ids=["fastapi", "asgi"]
)
def test_the_description_is_for_pages_of_every_origin_also_after_a_preflight(guard, build):
    with client_of(build(guard)) as client:
        preflight = client.options(METADATA, headers=PREFLIGHT)
        found = client.get(METADATA, headers={"Origin": PAGE, "MCP-Protocol-Version": "2025-11-25"})
        head = client.head(METADATA)
    assert preflight.status_code == 200
    for answer in (preflight, found):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-allow-headers"] == "*"
    assert found.json()["resource"] == BASE
    assert (head.status_code, head.content) == (200, b"")


def test_the_description_is_only_read(guard):
    with client_of(AccessMiddleware(plain_app(), guard, RULES)) as client:
        assert client.post(METADATA).status_code == 401
    assert client_of(bare_fastapi(guard)).post(METADATA).status_code == 405
