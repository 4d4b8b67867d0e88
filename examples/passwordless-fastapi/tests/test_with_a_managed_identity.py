"""As on Azure: the same application in a laboratory whose PostgreSQL checks the current token at each login."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import psycopg
import pytest
from passwordless_app import create_app
from starlette.testclient import TestClient

from tegata_credentials.settings import DatabaseSettings
from tegata_credentials.testing import Laboratory

HEALTHY = {"status": "healthy", "database": "connected", "auth_method": "managed_identity"}
UNHEALTHY = {"status": "unhealthy", "database": "disconnected", "auth_method": "managed_identity"}

Start = Callable[[], AbstractContextManager[TestClient]]


@pytest.fixture
def start(
    laboratory: Laboratory,
    judged: tuple[str, str],
    clean_environment: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Start]:
    """Start the application in the surroundings of a container in App Service; nothing it logs holds a token."""
    laboratory.reset()
    for name, value in laboratory.app_service().items():
        clean_environment.setenv(name, value)
    caplog.set_level(logging.DEBUG)

    @contextmanager
    def started() -> Iterator[TestClient]:
        settings = DatabaseSettings.from_environment({"USE_MANAGED_IDENTITY": "true", "DATABASE_URL": judged[0]})
        with TestClient(create_app(settings), raise_server_exceptions=False) as client:
            yield client

    yield started
    said = "\n".join(str(vars(record)) for record in caplog.records) + caplog.text
    assert laboratory.leaks_in(said) == []


@pytest.fixture
def cut(judged: tuple[str, str]) -> Callable[[], None]:
    """End every connection of the application, as a restart of the server would."""

    def end_all() -> None:
        with psycopg.connect(judged[1], autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid, 60000) from pg_stat_activity where usename = 'appuser'"
            )

    return end_all


def test_notes_are_kept_without_any_password(start, laboratory):
    with start() as client:
        assert client.post("/notes", json={"text": "手形"}).status_code == 201
        assert "手形" in [note["text"] for note in client.get("/notes").json()]
        assert client.get("/login").json() == {"role": "appuser", "auth_method": "managed_identity"}
        assert (client.get("/health/db").status_code, client.get("/health/db").json()) == (200, HEALTHY)
    assert len(laboratory.calls) == 1


def test_after_a_token_has_ended_the_next_connection_has_another_one(start, laboratory, cut):
    with start() as client:
        assert client.get("/login").status_code == 200
        laboratory.issuer.revoke_all()  # the server says no, though nobody here could know
        cut()
        assert client.get("/login").status_code == 200
        assert client.get("/health/db").json() == HEALTHY
    assert len(laboratory.calls) == 2


def test_without_an_identity_it_starts_says_unhealthy_and_recovers(start, laboratory):
    with ExitStack() as outage, start() as client:
        laboratory.go_down()
        outage.callback(laboratory.come_back)
        answer = client.get("/health/db")
        assert (answer.status_code, answer.json()) == (503, UNHEALTHY)
        assert client.get("/notes").status_code == 503
        outage.close()
        deadline = time.monotonic() + 120
        while client.get("/health/db").status_code != 200:  # the source pauses for a second after a failure
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert client.get("/notes").status_code == 200


def test_the_log_has_the_lines_that_tell_how_it_logs_in(start, caplog):
    with start() as client:
        client.get("/login")
    lines = [record for record in caplog.records if record.name == "tegata_credentials"]
    assert [line.getMessage() for line in lines] == [
        "database connection: Azure managed identity",
        "managed identity token acquired",
    ]
    assert {(line.username, line.host) for line in lines} == {("appuser", "127.0.0.1")}
