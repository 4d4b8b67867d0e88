"""From settings to logins: which way in has a token, a pooler, a bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from tegata.cli.failures import USAGE, CommandFailure
from tegata.cli.surroundings import Surroundings
from tegata.cli.ways_in import checked_target_of, listening_target, passwords_of, serving_limits, serving_target
from tegata.settings import Settings

REMOTE = "postgresql://tegata_app@db.example.com/tegata?sslmode=verify-full"
DIRECT = "postgresql://tegata_app@direct.example.com/tegata?sslmode=verify-full"


def read(**environ: str) -> Settings:
    return Settings.from_environment({"DATABASE_URL": REMOTE, **environ})


def test_passwords_stand_in_urls_unless_tokens_are_chosen() -> None:
    assert passwords_of(read()) is None
    assert serving_target(read()).auth_method == "password"
    for environ in ({"USE_MANAGED_IDENTITY": "true"}, {"DATABASE_AUTH": "managed_identity"}):
        assert serving_target(read(**environ)).auth_method == "managed_identity"
    assert serving_target(read(TEGATA_DATABASE_AUTH="aws_iam")).auth_method == "aws_iam"


def test_the_listener_has_the_same_source_and_never_the_pooler() -> None:
    settings = read(
        TEGATA_DATABASE_AUTH="aws_iam",
        TEGATA_DATABASE_TRANSACTION_POOLER="true",
        TEGATA_DATABASE_LISTEN_URL=DIRECT,
    )
    serving = serving_target(settings)
    listening = listening_target(settings, serving)
    assert (serving.host, serving.transaction_pooler) == ("db.example.com", True)
    assert (listening.host, listening.transaction_pooler) == ("direct.example.com", False)
    assert listening.passwords is serving.passwords
    assert listening_target(read(), serving_target(read())) == serving_target(read())


def test_the_pool_is_what_the_settings_say() -> None:
    limits = serving_limits(
        read(DB_POOL_SIZE="5", DB_MAX_OVERFLOW="3", DB_POOL_RECYCLE="600", DB_POOL_PRE_PING="false")
    )
    assert (limits.size, limits.age_seconds, limits.check_after_seconds) == (8, 600.0, None)
    assert serving_limits(read()).check_after_seconds == 30.0


def test_operators_are_refused_what_the_server_is_refused() -> None:
    settings = Settings.from_environment(
        {"TEGATA_MAINTENANCE_DATABASE_URL": "postgresql://tegata_maint:hush@db.example.com/tegata"}
    )
    with pytest.raises(CommandFailure, match="TEGATA_MAINTENANCE_DATABASE_URL") as refused:
        checked_target_of(settings, "maintenance_database_url")
    assert refused.value.exit_code == USAGE
    assert "hush" not in str(refused.value)


def test_an_administrators_password_is_used_beside_tokens() -> None:
    url = "postgresql://admin:hush@db.example.com/postgres?sslmode=verify-full"
    settings = read(USE_MANAGED_IDENTITY="true", TEGATA_BOOTSTRAP_DATABASE_URL=url)
    target = checked_target_of(settings, "bootstrap_database_url")
    assert (target.password, target.passwords) == ("hush", None)


def test_the_doctor_looks_from_the_application_role_past_a_pooler(tmp_path: Path) -> None:
    environ = {"DATABASE_URL": REMOTE, "TEGATA_HOME": str(tmp_path)}
    pooled = {"TEGATA_DATABASE_TRANSACTION_POOLER": "true", "TEGATA_DATABASE_LISTEN_URL": DIRECT}
    straight, past = (Surroundings.read(found).application() for found in (environ, environ | pooled))
    assert straight is not None
    assert past is not None
    assert (straight.host, past.host) == ("db.example.com", "direct.example.com")
