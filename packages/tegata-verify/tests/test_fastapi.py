"""The FastAPI front end as its callers see it."""

from __future__ import annotations

import logging
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Request
from starlette.testclient import TestClient

from tegata_verify import Principal, Verifier
from tegata_verify.fastapi import build_responses, install, requires
from tegata_verify.testing import TestIssuer


@pytest.fixture(scope="module")
def issuer():
    return TestIssuer()


def build(verifier: Verifier, **options) -> FastAPI:
    app = FastAPI(responses=build_responses())
    install(app, verifier, **options)

    @app.get("/open")
    async def open_to_all() -> str:
        return "open"

    @app.get("/any")
    async def any_token(caller: Annotated[Principal, Depends(requires())], request: Request) -> list[str]:
        return [caller.subject, request.state.principal.subject]

    @app.get("/write", dependencies=[Depends(requires(scope="write", role={"editor", "admin"}))])
    async def write() -> str:
        return "written"

    @app.get("/both", dependencies=[Depends(requires(scope="read")), Depends(requires(scope={"write", "admin"}))])
    def both() -> str:
        return "both"

    return app


@pytest.fixture
def client(issuer):
    return TestClient(build(issuer.verifier(), realm="test"))


def bearer(issuer, **options):
    return {"Authorization": f"Bearer {issuer.mint(**options)}"}


def test_a_valid_token_gives_the_principal(client, issuer):
    response = client.get("/any", headers=bearer(issuer, subject="me"))
    assert (response.status_code, response.json()) == (200, ["me", "me"])


def test_what_is_not_protected_stays_open(client):
    assert client.get("/open").status_code == 200


def test_without_a_token_the_challenge_is_bare(client):
    response = client.get("/any")
    assert response.status_code == 401
    assert response.headers.get_list("www-authenticate") == ['Bearer realm="test"']


@pytest.mark.parametrize(
    ("scope", "roles", "status"),
    [
        ("write", ["editor"], 200),
        ("write", ["admin"], 200),
        ("write", [], 403),
        ("", ["editor"], 403),
        ("read", ["admin"], 403),
    ],
)
def test_scope_and_role_must_both_allow(client, issuer, scope, roles, status):
    assert client.get("/write", headers=bearer(issuer, scope=scope, roles=roles)).status_code == status


@pytest.mark.parametrize(("scope", "status"), [("read write admin", 200), ("read write", 403), ("write admin", 403)])
def test_several_requirements_add_up(client, issuer, scope, status):
    assert client.get("/both", headers=bearer(issuer, scope=scope)).status_code == status


def test_each_refusal_has_its_status_and_challenge(client, issuer):
    token = issuer.mint()
    good = {"Authorization": f"Bearer {token}"}
    answers = {
        "garbage": client.get("/any", headers={"Authorization": "Bearer x.y.z"}),
        "expired": client.get("/any", headers=bearer(issuer, lifetime_seconds=-60)),
        "two headers": client.get("/any", headers=[("Authorization", f"Bearer {token}")] * 2),
        "in the query": client.get("/any", params={"access_token": token}),
        "in both": client.get("/any", params={"access_token": token}, headers=good),
        "basic": client.get("/any", headers={"Authorization": "Basic dTpw"}),
    }
    assert {name: answer.status_code for name, answer in answers.items()} == {
        "garbage": 401,
        "expired": 401,
        "two headers": 400,
        "in the query": 400,
        "in both": 400,
        "basic": 401,
    }
    assert answers["garbage"].json()["error"] == "invalid_token"
    assert answers["expired"].json()["error_description"] == "The access token expired"
    assert 'error="invalid_request"' in answers["two headers"].headers["www-authenticate"]
    assert all(answer.headers["cache-control"] == "no-store" for answer in answers.values())


def test_keys_that_cannot_be_had_are_503_with_retry_after(issuer):
    client = TestClient(build(Verifier(issuer.rules, transport=TestIssuer("https://elsewhere.test").transport)))
    response = client.get("/any", headers=bearer(issuer))
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    assert "www-authenticate" not in response.headers


def test_the_reason_goes_to_the_log_and_not_to_the_caller(client, issuer, caplog):
    with caplog.at_level(logging.INFO, "tegata_verify.guard"):
        response = client.get("/any", headers=bearer(issuer, audience="another-service"))
    told = [record.reason for record in caplog.records if record.name == "tegata_verify.guard"]
    assert told == ["wrong_audience"]
    assert "audience" not in response.text + response.headers["www-authenticate"]
    assert response.status_code == 401


def test_no_token_reaches_the_log(client, issuer, caplog):
    token = issuer.mint(audience="another-service")
    with caplog.at_level(logging.DEBUG, "tegata_verify"):
        client.get("/any", headers={"Authorization": f"Bearer {token}"})
    assert caplog.records
    assert not any(part in caplog.text for part in token.split("."))


def test_an_application_without_install_fails_loudly():
    app = FastAPI()

    @app.get("/any", dependencies=[Depends(requires())])
    async def any_token() -> None: ...

    with pytest.raises(RuntimeError, match="install"):
        TestClient(app).get("/any")


def test_two_applications_of_one_process_trust_different_issuers(issuer):
    other = TestIssuer("https://issuer.test/other")
    first, second = TestClient(build(issuer.verifier())), TestClient(build(other.verifier()))
    assert first.get("/any", headers=bearer(issuer)).status_code == 200
    assert second.get("/any", headers=bearer(issuer)).status_code == 401
    assert second.get("/any", headers=bearer(other)).status_code == 200


def test_a_mounted_application_has_its_own_verifier(issuer):
    outer, inner = build(issuer.verifier()), build(TestIssuer("https://issuer.test/other").verifier())
    outer.mount("/inner", inner)
    client = TestClient(outer)
    assert client.get("/any", headers=bearer(issuer)).status_code == 200
    assert client.get("/inner/any", headers=bearer(issuer)).status_code == 401


def test_the_openapi_document_lets_swagger_ui_offer_authorize(client):
    document = client.get("/openapi.json").json()
    assert document["components"]["securitySchemes"] == {
        "AccessToken": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "An access token (RFC 9068), without the word Bearer",
        }
    }
    assert document["paths"]["/any"]["get"]["security"] == [{"AccessToken": []}]
    assert document["paths"]["/write"]["get"]["security"] == [{"AccessToken": ["write"]}]
    assert set(document["paths"]["/both"]["get"]["security"][0]["AccessToken"]) == {"read", "write", "admin"}
    assert "security" not in document["paths"]["/open"]["get"]
    assert {"400", "401", "403", "503"} <= set(document["paths"]["/any"]["get"]["responses"])


def test_a_requirement_that_names_nothing_fails_where_it_is_written():
    with pytest.raises(ValueError, match="names nothing"):
        requires(scope="")
