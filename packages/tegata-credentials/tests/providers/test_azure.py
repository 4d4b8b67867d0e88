"""Azure's SDK against an endpoint of ours: which identity it asks for, how it fails, and that it forgets."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tegata_credentials import CredentialError, IdentityUnavailable, SyncTokenSource, TokenSource
from tegata_credentials.azure import (
    POSTGRES_SCOPE,
    default_credential,
    managed_identity,
    sync_default_credential,
    sync_managed_identity,
)

pytestmark = pytest.mark.anyio

SECRET = "secret-token-in-a-broken-answer"


def test_the_system_assigned_identity_is_asked_for_a_postgres_token(platform, endpoint):
    fetched = sync_managed_identity().fetch()
    path, query, headers = endpoint.requests[0]
    assert fetched.value == "token-1"
    assert query["resource"] == POSTGRES_SCOPE.removesuffix("/.default")
    assert not {"client_id", "object_id", "principal_id", "mi_res_id", "msi_res_id"} & set(query)
    if platform == "App Service":
        assert (path, query["api-version"], headers["x-identity-header"]) == ("/msi/token", "2019-08-01", "the-header")
    else:
        assert (path, headers["metadata"]) == ("/metadata/identity/oauth2/token", "true")


@pytest.mark.parametrize(
    ("named", "parameters"),
    [
        pytest.param({"client_id": "c-1"}, {"client_id"}, id="client id"),
        pytest.param({"object_id": "o-1"}, {"object_id", "principal_id"}, id="object id"),
        pytest.param({"resource_id": "/subscriptions/r-1"}, {"mi_res_id", "msi_res_id"}, id="resource id"),
    ],
)
def test_a_user_assigned_identity_is_named(platform, endpoint, named, parameters):
    sync_managed_identity(**named).fetch()
    query = endpoint.requests[0][1]
    assert {query[name] for name in parameters if name in query} == set(named.values())


def test_two_names_for_one_identity_are_refused():
    with pytest.raises(CredentialError, match="one of client_id, object_id and resource_id"):
        sync_managed_identity("c-1", object_id="o-1")


def test_each_fetch_brings_a_token_that_the_sdk_did_not_have(platform, endpoint):
    provider = sync_managed_identity()
    assert [provider.fetch().value for _ in range(3)] == ["token-1", "token-2", "token-3"]
    provider.discard()
    assert provider.fetch().value == "token-4"


def test_an_endpoint_that_repeats_its_token_is_asked_no_more_than_twice(platform, endpoint):
    said = endpoint.answer(1)
    endpoint.answer = lambda number: said
    provider = sync_managed_identity()
    assert [provider.fetch().value for _ in range(3)] == ["token-1"] * 3
    assert len(endpoint.requests) <= 4


async def test_a_rejected_token_is_replaced_although_the_sdk_would_keep_it(platform, endpoint):
    source = TokenSource(managed_identity(), auth_method="managed_identity")
    await source.rejected(await source.current())
    assert await source.current() == "token-2"
    await source.close()


def test_threads_have_the_same(platform, endpoint):
    source = SyncTokenSource(sync_managed_identity(), auth_method="managed_identity")
    source.rejected(source.current())
    assert source.current() == "token-2"
    source.close()


@pytest.mark.parametrize(
    ("status", "body", "reason", "most_calls"),
    [
        pytest.param(500, b'{"error": "e"}', "failing", 2, id="500"),
        pytest.param(503, b"", "failing", 2, id="503 without a body"),
        pytest.param(429, b'{"error": "e"}', "failing", 2, id="429"),
        pytest.param(410, b'{"error": "e"}', "failing", 2, id="410"),
        pytest.param(400, b'{"error": "invalid_request", "error_description": "x"}', "refused", 1, id="400"),
        pytest.param(403, b'{"error": "e"}', "refused", 1, id="403"),
        pytest.param(200, b"", "bad_answer", 1, id="an empty answer"),
        pytest.param(200, f"<html>{SECRET}".encode(), "bad_answer", 1, id="HTML"),
        pytest.param(200, f'["{SECRET}"]'.encode(), "bad_answer", 1, id="a list"),
        pytest.param(200, f'{{"note": "{SECRET}"}}'.encode(), "bad_answer", 1, id="no token in it"),
        pytest.param(200, f'{{"access_token": "{SECRET}"}}'.encode(), "bad_answer", 1, id="a token without an end"),
        pytest.param(
            200,
            f'{{"access_token": "{SECRET}", "expires_in": "soon", "expires_on": "later"}}'.encode(),
            "bad_answer",
            1,
            id="an end that is no number",
        ),
        pytest.param(200, f'{{"access_token": "{SECRET}", "expi'.encode(), "bad_answer", 1, id="cut off in the middle"),
        pytest.param(200, b'{"access_token": "", "expires_in": "3600"}', "bad_answer", 1, id="an empty token"),
        pytest.param(200, b'{"access_token": 7, "expires_in": "3600"}', "bad_answer", 1, id="a number for a token"),
        pytest.param(200, b"\xff\xfe", "bad_answer", 1, id="no text at all"),
    ],
)
def test_a_failure_has_one_word_and_repeats_no_answer(platform, endpoint, caplog, status, body, reason, most_calls):
    caplog.set_level(logging.DEBUG)
    endpoint.answer = lambda number: (status, body)
    with pytest.raises(IdentityUnavailable) as caught:
        sync_managed_identity().fetch()
    assert caught.value.reason == reason
    assert caught.value.status == (None if status == 200 else status)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert len(endpoint.requests) <= most_calls
    assert SECRET not in repr(caught.value) + str(caught.value) + "".join(str(vars(r)) for r in caplog.records)


def test_no_token_is_in_the_sdks_log(platform, endpoint, caplog):
    caplog.set_level(logging.DEBUG)
    sync_managed_identity().fetch()
    assert caplog.records
    assert "token-1" not in "".join(f"{record.getMessage()}{vars(record)}" for record in caplog.records)


def test_after_a_failure_the_next_fetch_asks_again(platform, endpoint):
    provider = sync_managed_identity()
    endpoint.answer = lambda number: (500, b"{}")
    with pytest.raises(IdentityUnavailable):
        provider.fetch()
    endpoint.answer = type(endpoint)().answer
    assert provider.fetch().value.startswith("token-")


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"IDENTITY_ENDPOINT": "http://127.0.0.1:1/msi", "IDENTITY_HEADER": "h"}, id="App Service"),
        pytest.param({"AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:1"}, id="IMDS"),
        pytest.param({"AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://nobody.invalid"}, id="a name that does not resolve"),
    ],
)
def test_an_endpoint_that_is_not_there_is_unreachable(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(IdentityUnavailable) as caught:
        sync_managed_identity().fetch()
    assert caught.value.reason == "unreachable"


def test_workload_identity_is_recognised_by_its_variables(monkeypatch, tmp_path: Path):
    (tmp_path / "federated").write_text("assertion")
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "federated"))
    monkeypatch.setenv("AZURE_CLIENT_ID", "c-1")
    monkeypatch.setenv("AZURE_TENANT_ID", "t-1")
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "https://127.0.0.1:1")
    with pytest.raises(IdentityUnavailable) as caught:
        sync_managed_identity().fetch()
    assert caught.value.reason == "unreachable"  # it went for Entra, not for a metadata service


def test_a_developers_az_login_is_used(monkeypatch, tmp_path: Path):
    program = tmp_path / "az"
    answer = '{"accessToken": "from-the-cli", "expires_on": 1999999999, "expiresOn": "2033-05-18 03:33:19.000000"}'
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    provider = sync_default_credential(exclude_managed_identity_credential=True)
    assert provider.fetch().value == "from-the-cli"
    assert provider.fetch().expires_at == 1_999_999_999.0


def test_nobody_logged_in_is_not_configured(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(IdentityUnavailable) as caught:
        sync_default_credential(exclude_managed_identity_credential=True).fetch()
    assert caught.value.reason == "not_configured"
    assert "az login" in caught.value.hint


def test_the_default_credential_finds_a_managed_identity(platform, endpoint):
    assert sync_default_credential(managed_identity_client_id="c-1").fetch().value.startswith("token-")
    assert endpoint.requests[-1][1]["client_id"] == "c-1"


async def test_asyncio_finds_it_too(platform, endpoint):
    provider = default_credential()
    assert (await provider.fetch()).value.startswith("token-")
    await provider.close()


def test_a_provider_shows_no_token(platform, endpoint):
    provider = sync_managed_identity()
    fetched = provider.fetch()
    assert "token-1" not in repr(provider) + repr(fetched) + repr(vars(provider)) + repr(managed_identity())
