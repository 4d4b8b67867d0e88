"""Permissions, step-up and the documentation of a FastAPI application."""

from __future__ import annotations

import time

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from openapi_spec_validator import validate
from starlette.testclient import TestClient, WebSocketDenialResponse

from tegata_verify import AccessPolicy, Guard
from tegata_verify.fastapi import OAuth2Docs, find_open_endpoints, install, requires
from tegata_verify.testing import TestIssuer

POLICY = AccessPolicy(
    roles={"viewer": ["*:read"], "brewer": ["beers:*"]},
    scopes={
        "read": {"methods": ["GET"], "permissions": ["*:read"]},
        "write": {"methods": ["POST", "WEBSOCKET"], "permissions": ["beers:*"]},
    },
)
DOCS = OAuth2Docs(
    authorization_url="https://id.test/authorize",
    token_url="https://id.test/token",
    client_id="docs",
    scopes={"read": "Look"},
)


@pytest.fixture(scope="module")
def issuer():
    return TestIssuer()


def build(guard: Guard, **options) -> FastAPI:
    app, router = FastAPI(), APIRouter()
    install(app, guard, **options)

    @router.get("/beers", dependencies=[Depends(requires(scope="read", permission="beers:read"))])
    async def look() -> str:
        return "Saison"

    @router.post("/beers", dependencies=[Depends(requires(permission="beers:brew", acr="mfa", max_age=300))])
    async def brew() -> str:
        return "brewing"

    @router.websocket("/live")
    async def live(socket: WebSocket, _: object = Depends(requires(permission="beers:watch"))) -> None:
        await socket.accept()
        await socket.send_text("bubbles")
        await socket.close()

    app.include_router(router, prefix="/api")
    return app


@pytest.fixture
def client(issuer):
    return TestClient(build(Guard(issuer.verifier(), policy=POLICY), oauth2=DOCS))


def bearer(issuer, **options):
    return {"Authorization": f"Bearer {issuer.mint(**options)}"}


@pytest.mark.parametrize(
    ("scope", "roles", "status"), [("read", ["viewer"], 200), ("read", [], 403), ("write", ["brewer"], 403)]
)
def test_the_policy_decides_behind_a_router(client, issuer, scope, roles, status):
    assert client.get("/api/beers", headers=bearer(issuer, scope=scope, roles=roles)).status_code == status


def test_a_delicate_act_wants_a_fresh_and_strong_login(client, issuer):
    may = {"scope": "write", "roles": ["brewer"]}
    now = int(time.time())
    weak = client.post("/api/beers", headers=bearer(issuer, **may, claims={"acr": "pwd", "auth_time": now}))
    old = client.post("/api/beers", headers=bearer(issuer, **may, claims={"acr": "mfa", "auth_time": now - 3600}))
    good = client.post("/api/beers", headers=bearer(issuer, **may, claims={"acr": "mfa", "auth_time": now}))
    assert [answer.status_code for answer in (weak, old, good)] == [401, 401, 200]
    for answer in (weak, old):
        assert answer.json()["error"] == "insufficient_user_authentication"
        assert 'acr_values="mfa", max_age="300"' in answer.headers["www-authenticate"]


def test_a_websocket_is_guarded_before_it_opens(client, issuer):
    with client.websocket_connect("/api/live", headers=bearer(issuer, scope="write", roles=["brewer"])) as socket:
        assert socket.receive_text() == "bubbles"
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect("/api/live", headers=bearer(issuer, scope="read", roles=["brewer"])),
    ):
        pass
    assert refused.value.status_code == 403
    assert 'error="insufficient_scope"' in refused.value.headers["www-authenticate"]


def test_with_a_policy_no_application_starts_with_an_endpoint_open_by_mistake(issuer):
    app = build(Guard(issuer.verifier(), policy=POLICY))
    app.add_api_route("/forgotten", lambda: "open")
    assert find_open_endpoints(app) == ["GET /forgotten"]
    with pytest.raises(RuntimeError, match=r"GET /forgotten"), TestClient(app):
        pass
    with pytest.raises(RuntimeError, match=r"GET /forgotten"):
        TestClient(app).get("/api/beers")


def test_what_is_named_public_stays_open(issuer):
    app = build(Guard(issuer.verifier(), policy=POLICY), public=["/health"])
    app.add_api_route("/health", lambda: "well")
    with TestClient(app) as client:
        assert client.get("/health").status_code == 200
        assert client.get("/api/beers").status_code == 401


def test_a_mounted_application_answers_for_itself(issuer):
    outer = build(Guard(issuer.verifier(), policy=POLICY))
    outer.mount("/inner", build(Guard(issuer.verifier(), policy=POLICY)))
    assert find_open_endpoints(outer) == []
    outer.mount("/bare", FastAPI())
    assert find_open_endpoints(outer) == ["ANY /bare"]


def test_a_host_header_that_is_none_is_no_error(client, issuer):
    headers = bearer(issuer, scope="read", roles=["viewer"]) | {"Host": "[::1"}
    assert client.get("/api/beers", headers=headers).status_code == 200


def test_the_document_is_valid_openapi_and_offers_both_ways_in(client):
    document = client.get("/openapi.json").json()
    validate(document)
    assert document["components"]["securitySchemes"]["Login"] == {"type": "oauth2", "flows": DOCS.flows}
    assert document["paths"]["/api/beers"]["get"]["security"] == [{"AccessToken": ["read"]}, {"Login": ["read"]}]
    assert client.get("/openapi.json").json() == document


def test_swagger_ui_logs_in_with_pkce(client):
    page = client.get("/docs").text
    assert '"usePkceWithAuthorizationCodeGrant": true' in page
    assert '"clientId": "docs"' in page
