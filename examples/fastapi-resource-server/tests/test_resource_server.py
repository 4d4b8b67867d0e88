"""Who may do what in the example, and that nothing in it grows without bound."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

BODY = {"title": "Saison, 24 °C", "notes": "酵母 3711"}
ROLES = ["researcher", "developer", "evaluator", "viewer", "admin"]


def create(client, bearer) -> str:
    response = client.post("/experiments", json=BODY, headers=bearer("write", "researcher"))
    assert response.status_code == 201
    return response.headers["location"]


@pytest.mark.parametrize("role", [*ROLES, None])
def test_any_role_reads_with_the_scope_read(client, bearer, role):
    place = create(client, bearer)
    headers = bearer("read", *filter(None, [role]))
    assert [found["title"] for found in client.get("/experiments", headers=headers).json()] == [BODY["title"]]
    assert client.get(place, headers=headers).json()["notes"] == BODY["notes"]


@pytest.mark.parametrize("scope", ["", "write", "admin", "reader", "READ"])
def test_nobody_reads_without_the_scope_read(client, bearer, scope):
    response = client.get("/experiments", headers=bearer(scope, *ROLES))
    assert response.status_code == 403
    assert 'error="insufficient_scope"' in response.headers["www-authenticate"]
    assert 'scope="read"' in response.headers["www-authenticate"]


@pytest.mark.parametrize(
    ("scope", "role", "allowed"),
    [
        ("write", "researcher", True),
        ("write", "developer", True),
        ("write", "admin", True),
        ("write", "evaluator", False),
        ("write", "viewer", False),
        ("write", None, False),
        ("read", "researcher", False),
        ("admin", "admin", False),
    ],
)
def test_a_write_needs_scope_and_role(client, bearer, scope, role, allowed):
    place = create(client, bearer)
    headers = bearer(scope, *filter(None, [role]))
    calls = [
        client.post("/experiments", json=BODY, headers=headers),
        client.put(place, json=BODY, headers=headers),
        client.patch(place, json={"status": "done"}, headers=headers),
        client.delete(place, headers=headers),
    ]
    assert [call.status_code for call in calls] == ([201, 200, 200, 204] if allowed else [403] * 4)


@pytest.mark.parametrize(("role", "status"), [("evaluator", 201), ("admin", 201), ("researcher", 403), ("viewer", 403)])
def test_an_evaluation_needs_an_evaluator(client, bearer, role, status):
    place = create(client, bearer)
    response = client.post(f"{place}/evaluations", json={"score": 8}, headers=bearer("write", role))
    assert response.status_code == status
    shown = client.get(f"{place}/evaluations", headers=bearer("read")).json()
    assert [found["score"] for found in shown] == ([8] if status == 201 else [])


@pytest.mark.parametrize(
    ("scope", "role", "status"),
    [("admin", "admin", 200), ("admin", "researcher", 403), ("write", "admin", 403), ("read write", "admin", 403)],
)
def test_administration_needs_scope_and_role_admin(client, bearer, scope, role, status):
    create(client, bearer)
    assert client.delete("/admin/experiments", headers=bearer(scope, role)).status_code == status
    left = client.get("/experiments", headers=bearer("read")).json()
    assert len(left) == (0 if status == 200 else 1)


def test_whoami_shows_the_principal(client, bearer, issuer):
    shown = client.get("/whoami", headers=bearer("write read", "viewer", "admin")).json()
    assert shown == {
        "issuer": issuer.issuer,
        "tenant": "demo",
        "subject": "user-1",
        "client_id": "client-1",
        "is_service": False,
        "scopes": ["read", "write"],
        "roles": ["admin", "viewer"],
    }


def test_a_token_for_several_services_is_accepted(client, bearer, issuer):
    audience = [issuer.audience, "fermentation-research-service"]
    assert client.get("/whoami", headers=bearer(audience=audience)).status_code == 200
    assert client.get("/whoami", headers=bearer(audience=audience[1:])).status_code == 401


def test_without_a_token_every_operation_but_the_documents_is_refused(app: FastAPI, client):
    operations = [
        (method, path) for path, item in client.get("/openapi.json").json()["paths"].items() for method in item
    ]
    assert len(operations) >= 9
    for method, path in operations:
        response = client.request(method, path.replace("{experiment_id}", "1"), json={})
        assert response.status_code == 401, (method, path)
        assert response.headers["www-authenticate"] == 'Bearer realm="experiments"'


def test_a_change_touches_only_what_was_sent(client, bearer):
    place, headers = create(client, bearer), bearer("read write", "developer")
    changed = client.patch(place, json={"status": "done"}, headers=headers).json()
    assert changed == {**client.get(place, headers=headers).json(), **BODY, "status": "done", "created_by": "user-1"}
    replaced = client.put(place, json={"title": "Kölsch"}, headers=headers).json()
    assert (replaced["title"], replaced["status"], replaced["notes"]) == ("Kölsch", "planned", "")


@pytest.mark.parametrize(
    "body", [b"{}", b'{"title":""}', b'{"title":"\\ud800"}', b'{"title":"a","id":7}', b"[", b"\xff"]
)
def test_a_bad_body_is_refused_without_being_repeated(client, bearer, body):
    headers = {**bearer("write", "researcher"), "Content-Type": "application/json"}
    response = client.post("/experiments", content=body, headers=headers)
    assert response.status_code in (400, 422)
    assert '"input"' not in response.text


def test_a_large_body_is_refused_even_before_the_token_is_asked_for(client, bearer):
    for headers in ({}, bearer("write", "researcher")):
        assert client.post("/experiments", content=b"x" * 70_000, headers=headers).status_code == 413


def test_memory_is_bounded(client, bearer, monkeypatch):
    monkeypatch.setattr("resource_server.MAX_EXPERIMENTS", 3)
    monkeypatch.setattr("resource_server.MAX_EVALUATIONS", 2)
    headers = bearer("read write", "admin")
    statuses = [client.post("/experiments", json=BODY, headers=headers).status_code for _ in range(5)]
    assert statuses == [201, 201, 201, 409, 409]
    path = "/experiments/1/evaluations"
    assert [client.post(path, json={"score": 1}, headers=headers).status_code for _ in range(3)] == [201, 201, 409]
    client.delete("/experiments/1", headers=headers)
    assert client.post("/experiments", json=BODY, headers=headers).json()["id"] == 4
    assert client.get(path, headers=headers).status_code == 404


def test_a_list_is_read_page_by_page(client, bearer):
    for _ in range(5):
        create(client, bearer)
    headers, seen, after = bearer("read"), [], 0
    while page := client.get("/experiments", params={"limit": 2, "after": after}, headers=headers).json():
        seen += [found["id"] for found in page]
        after = seen[-1]
    assert seen == [1, 2, 3, 4, 5]


def test_it_works_mounted_under_a_prefix_of_another_application(app: FastAPI, bearer):
    client = TestClient(Starlette(routes=[Mount("/example-api", app)]))
    document = client.get("/example-api/openapi.json").json()
    assert document["servers"] == [{"url": "/example-api"}]
    assert "/example-api/openapi.json" in client.get("/example-api/docs").text
    assert client.get("/example-api/whoami").headers["www-authenticate"] == 'Bearer realm="experiments"'
    created = client.post("/example-api/experiments", json=BODY, headers=bearer("write", "researcher"))
    assert client.get(created.headers["location"], headers=bearer("read")).json()["title"] == BODY["title"]


def test_the_document_offers_authorize_and_names_the_scopes(client):
    document = client.get("/openapi.json").json()
    (name, scheme), *_ = document["components"]["securitySchemes"].items()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert document["paths"]["/experiments"]["get"]["security"] == [{name: ["read"]}]
    assert document["paths"]["/admin/experiments"]["delete"]["security"] == [{name: ["admin"]}]
