"""The log says how a program logs in and how it went, in the words of the reference; a token is in none of it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tegata_credentials.errors import IdentityUnavailable
from tegata_credentials.settings import DatabaseSettings
from tegata_credentials.testing import Answer, Laboratory
from tegata_credentials.testing.leaks import text_of

REFERENCE = (Path(__file__).parents[3] / "docs/reference/credentials.md").read_text()


@pytest.fixture
def said(
    clean_environment: pytest.MonkeyPatch, lab: Laboratory, caplog: pytest.LogCaptureFixture
) -> Iterator[pytest.LogCaptureFixture]:
    """Everything that is logged at any level in a container of App Service, looked through for tokens at the end."""
    for name, value in {**lab.app_service(), **lab.aws()}.items():
        clean_environment.setenv(name, value)
    with caplog.at_level(logging.DEBUG):
        yield caplog
    everything = [json.dumps(vars(record), default=repr) + record.getMessage() for record in caplog.records]
    assert lab.leaks_in("\n".join([caplog.text, *everything])) == []


def settings_for(database: Any, **environ: str) -> DatabaseSettings:
    return DatabaseSettings.from_environment(
        {"DATABASE_URL": f"{database.url('app')}?sslrootcert={database.root}", **environ}
    )


def ours(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, dict[str, object]]]:
    kept = ("username", "host", "auth_method", "reason")
    return [
        (record.levelname, record.getMessage(), {name: vars(record)[name] for name in kept if name in vars(record)})
        for record in caplog.records
        if record.name == "tegata_credentials"
    ]


METHODS = [
    (
        {"USE_MANAGED_IDENTITY": "true"},
        "managed_identity",
        ["database connection: Azure managed identity", "managed identity token acquired"],
    ),
    (
        {"DATABASE_AUTH": "aws_iam", "RDS_ENDPOINT": "127.0.0.1", "AWS_REGION": "ap-northeast-1"},
        "aws_iam",
        ["database connection: AWS IAM authentication", "AWS IAM token acquired"],
    ),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("environ", "method", "lines"), METHODS, ids=["azure", "aws"])
async def test_a_token_is_announced_with_user_and_host(said, database, environ, method, lines):
    source = settings_for(database, **environ).password_source()
    assert await source.current()
    await source.close()
    where = {"username": "app", "host": "127.0.0.1", "auth_method": method}
    assert ours(said) == [("INFO", line, where) for line in lines]
    assert all(line in REFERENCE for line in lines)


@pytest.mark.parametrize(("environ", "method", "lines"), METHODS, ids=["azure", "aws"])
def test_threads_say_the_same(said, database, environ, method, lines):
    source = settings_for(database, **environ).sync_password_source()
    assert source.current()
    source.close()
    where = {"username": "app", "host": "127.0.0.1", "auth_method": method}
    assert ours(said) == [("INFO", line, where) for line in lines]


def test_a_password_is_announced_and_not_shown(said, database):
    url = database.url("app").replace("app@", "app:old-secret-pa55@")
    source = DatabaseSettings.from_environment({"DATABASE_URL": url}).sync_password_source()
    assert source.current() == "old-secret-pa55"
    where = {"username": "app", "host": "127.0.0.1", "auth_method": "password"}
    assert ours(said) == [("INFO", "database connection: password authentication", where)]
    assert "old-secret" not in said.text + repr([vars(record) for record in said.records])
    assert "database connection: password authentication" in REFERENCE


ANSWERS = {
    "a refusal": Answer(400, {"error": "invalid_request", "error_description": "Identity not found"}),
    "garbage": Answer(200, b"<html>", "text/html"),
    "half an answer": Answer(200, {"access_token": None}),
    "an outage": Answer(503, {"error": "down"}),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_failure_is_said_with_its_reason_and_nothing_of_the_answer(said, database, lab, answer):
    lab.identity.behaviour.answer = answer
    source = settings_for(database, USE_MANAGED_IDENTITY="true").sync_password_source()
    with pytest.raises(IdentityUnavailable) as caught:
        source.current()
    source.close()
    level, line, extra = ours(said)[-1]
    assert (level, line, extra["reason"]) == ("ERROR", "managed identity token failed", caught.value.reason)
    assert lab.leaks_in(text_of(caught.value)) == []
    assert "managed identity token failed" in REFERENCE


@pytest.mark.anyio
async def test_an_answer_that_holds_a_token_in_the_wrong_place_stays_out_of_the_log(said, database, lab):
    token = lab.issuer.issue("11111111-1111-4111-8111-111111111111").value
    lab.identity.behaviour.answer = Answer(400, {"error": token, "error_description": token})
    source = settings_for(database, USE_MANAGED_IDENTITY="true").password_source()
    with pytest.raises(IdentityUnavailable) as caught:
        await source.current()
    await source.close()
    assert lab.leaks_in(text_of(caught.value)) == []
    lines = [record for record in said.records if record.name.startswith("tegata_credentials")]
    assert lab.leaks_in("\n".join(json.dumps(vars(record), default=repr) for record in lines)) == []
    said.clear()  # what the SDK itself logs of a refusal at level DEBUG is its own; see the reference


def test_the_reference_names_the_logger_and_every_line_of_it():
    source = (Path(__file__).parents[1] / "src/tegata_credentials/settings.py").read_text()
    for line in re.findall(r'"(database connection: [^"]+)"', source):
        assert f"`{line}`" in REFERENCE
    assert "`tegata_credentials`" in REFERENCE
