"""On a developer's machine: a real PostgreSQL, a password, no cloud."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from passwordless_app import create_app
from starlette.testclient import TestClient

from tegata_credentials.settings import DatabaseSettings

from .conftest import PASSWORD


@pytest.fixture(scope="module")
def client(password_url: str) -> Iterator[TestClient]:
    url = f"postgresql+asyncpg://appuser:{quote(PASSWORD, safe='')}@{password_url}"
    with TestClient(create_app(DatabaseSettings.from_environment({"DATABASE_URL": url}))) as client:
        yield client


def test_notes_are_kept_and_found_again(client):
    first = client.post("/notes", json={"text": "手形"})
    second = client.post("/notes", json={"text": "x'; drop table notes; --"})
    assert (first.status_code, second.status_code) == (201, 201)
    after = client.get("/notes", params={"after": first.json()["id"]}).json()
    assert after == [second.json()]
    assert first.json() in client.get("/notes").json()


@pytest.mark.parametrize("body", [b"{}", b'{"text":""}', b'{"text":"a\\u0000b"}', b'{"text":"\\ud800"}', b"[", b"\xff"])
def test_a_bad_note_is_refused_without_being_repeated(client, body):
    answer = client.post("/notes", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert '"input"' not in answer.text


def test_the_database_knows_the_application_by_its_role(client):
    assert client.get("/login").json() == {"role": "appuser", "auth_method": "password"}


def test_the_health_address_says_so(client):
    client.get("/login")  # it may take longer than the health address waits
    answer = client.get("/health/db")
    assert answer.status_code == 200
    assert answer.json() == {"status": "healthy", "database": "connected", "auth_method": "password"}


def test_a_wrong_password_is_unhealthy_and_nothing_is_told(password_url):
    url = f"postgresql+asyncpg://appuser:wrong-one@{password_url}"
    settings = DatabaseSettings.from_environment({"DATABASE_URL": url})
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        answer = client.get("/health/db")
        assert answer.status_code == 503
        assert answer.json() == {"status": "unhealthy", "database": "disconnected", "auth_method": "password"}
        for path in ("/notes", "/login"):
            shown = client.get(path)
            assert shown.status_code in (500, 503)
            assert "appuser" not in shown.text
            assert "wrong-one" not in shown.text


def test_an_unreachable_database_is_503_with_a_time_to_come_back():
    settings = DatabaseSettings.from_environment({"DATABASE_URL": "postgresql://appuser:x@127.0.0.1:1/app"})
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        assert client.get("/health/db").status_code == 503
        answer = client.get("/notes")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
