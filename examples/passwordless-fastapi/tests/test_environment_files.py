"""The three example files are settings that work, and hold no password but the local one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tegata_credentials.settings import DatabaseSettings

EXAMPLE = Path(__file__).parents[1]


def read(name: str) -> dict[str, str]:
    lines = (EXAMPLE / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize(
    ("name", "auth", "host"),
    [
        (".env.local.example", "password", "localhost"),
        (".env.staging.example", "managed_identity", "staging-db.postgres.database.azure.com"),
        (".env.production.example", "managed_identity", "prod-db.postgres.database.azure.com"),
    ],
)
def test_each_file_is_complete(name, auth, host):
    settings = DatabaseSettings.from_environment(read(name))
    assert (settings.auth, settings.host, settings.port) == (auth, host, 5432)
    assert (settings.password is None) == (auth != "password")


def test_the_lines_for_aws_work_in_place_of_those_for_azure():
    text = (EXAMPLE / ".env.production.example").read_text().partition("Production on AWS")[2]
    environ = dict(re.findall(r"^# (\w+)=(.+)$", text, re.MULTILINE))
    settings = DatabaseSettings.from_environment(environ)
    assert (settings.auth, settings.aws_region) == ("aws_iam", "ap-northeast-1")
    assert settings.options == (("sslrootcert", "/etc/ssl/rds/global-bundle.pem"),)


def test_the_pools_lines_are_the_defaults():
    shown = DatabaseSettings.from_environment(read(".env.production.example"))
    bare = DatabaseSettings.from_environment(
        {name: value for name, value in read(".env.production.example").items() if not name.startswith("DB_")}
    )
    assert shown == bare
