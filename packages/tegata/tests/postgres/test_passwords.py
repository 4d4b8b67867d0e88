"""Which name and region a token of AWS is signed for, and what an operator is told who has left them open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tegata.cli.ways_in import serving_target
from tegata.postgres.passwords import Identity, IssuedPasswords
from tegata.settings import Settings
from tegata_credentials.errors import CredentialError

pytestmark = pytest.mark.anyio

RDS = "tegata.abcdefghijkl.eu-west-1.rds.amazonaws.com"
URL = "postgresql://tegata_app@server.postgres.database.azure.com/tegata"
IN_CHINA = "tegata.abcdefghijkl.rds.cn-north-1.amazonaws.com.cn"


@pytest.fixture
async def passwords(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[IssuedPasswords]:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "example")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    issued = IssuedPasswords("aws_iam", Identity(aws_endpoint=RDS))
    yield issued
    await issued.close()


@pytest.mark.parametrize(
    ("host", "signed", "region"),
    [
        (RDS, RDS, "eu-west-1"),
        (IN_CHINA, IN_CHINA, "cn-north-1"),
        ("db.example.com", RDS, "eu-west-1"),
    ],
    ids=["its own name", "its own name in China", "another name"],
)
async def test_a_token_is_signed_for_the_name_that_aws_gave(
    passwords: IssuedPasswords, host: str, signed: str, region: str
) -> None:
    """The setting is for hosts of other names: a reader beside it keeps its own."""
    for token in (
        await passwords.source(host, 5432, "tegata_app").current(),
        passwords.sync_source(host, 5432, "tegata_app").current(),
    ):
        parts = urlsplit(f"https://{token}")
        assert parts.hostname == signed
        assert f"/{region}/rds-db/" in parse_qs(parts.query)["X-Amz-Credential"][0]


async def test_a_host_that_aws_has_not_named_is_refused_with_the_setting_that_helps() -> None:
    passwords = IssuedPasswords("aws_iam")
    for ask in (passwords.source, passwords.sync_source):
        with pytest.raises(CredentialError, match="TEGATA_DATABASE_AWS_ENDPOINT"):
            ask("db.example.com", 5432, "tegata_app")


async def test_a_token_of_azure_has_nothing_to_do_with_names() -> None:
    passwords = IssuedPasswords("managed_identity")
    assert passwords.source("db.example.com", 5432, "tegata_app").auth_method == "managed_identity"
    await passwords.close()


async def test_an_operator_who_has_logged_in_with_az_needs_no_managed_identity(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "az"
    answer = '{"accessToken": "from-the-cli", "expires_on": 1999999999, "expiresOn": "2033-05-18 03:33:19.000000"}'
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "AZURE_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)
    settings = Settings.from_environment(
        {"USE_MANAGED_IDENTITY": "true", "AZURE_TOKEN_CREDENTIALS": "AzureCliCredential", "DATABASE_URL": URL}
    )
    target = serving_target(settings)
    assert target.passwords is not None
    login = (target.host, target.port, target.user)
    assert await target.passwords.source(*login).current() == "from-the-cli"
    assert target.passwords.sync_source(*login).current() == "from-the-cli"
    await target.passwords.close()
