"""The seed's variables, their contradictions, and that no message repeats what was written."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.pool import NullPool

from tegata_credentials.settings import DatabaseSettings, SettingsError

PASSWORDLESS = "postgresql+asyncpg://appuser@db.example.postgres.database.azure.com/app"
ON_RDS = "postgresql+asyncpg://appuser@shop.abcdefghijkl.eu-west-1.rds.amazonaws.com/app"
WITH_PASSWORD = "postgresql+asyncpg://appuser:geheim-pa55@localhost:5432/app"


def read(**environ: str) -> DatabaseSettings:
    return DatabaseSettings.from_environment(environ)


def problems(**environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(**environ)
    assert "geheim" not in f"{caught.value} {caught.value!r} {caught.value.problems}"
    return [problem.name for problem in caught.value.problems]


def test_the_local_example_means_a_password():
    settings = read(USE_MANAGED_IDENTITY="false", DATABASE_URL=WITH_PASSWORD)
    assert (settings.auth, settings.password) == ("password", "geheim-pa55")
    assert (settings.host, settings.port, settings.user, settings.database) == ("localhost", 5432, "appuser", "app")


@pytest.mark.parametrize("chosen", [{"USE_MANAGED_IDENTITY": "true"}, {"DATABASE_AUTH": "managed_identity"}])
def test_both_words_for_the_managed_identity_mean_the_same(chosen):
    settings = read(DATABASE_URL=PASSWORDLESS, **chosen)
    assert settings.auth == "managed_identity"
    assert settings == read(DATABASE_URL=PASSWORDLESS, USE_MANAGED_IDENTITY="True", DATABASE_AUTH="Managed_Identity")


def test_the_pool_has_the_defaults_of_the_seed():
    settings = read(DATABASE_URL=WITH_PASSWORD)
    found = settings.pool_size, settings.max_overflow, settings.pool_recycle, settings.pool_pre_ping
    assert found == (5, 10, 1800, True)


def test_the_pool_is_set_by_the_names_of_the_seed():
    settings = read(
        DATABASE_URL=WITH_PASSWORD,
        DB_POOL_SIZE="7",
        DB_MAX_OVERFLOW="0",
        DB_POOL_RECYCLE="-1",
        DB_POOL_PRE_PING="off",
    )
    found = settings.pool_size, settings.max_overflow, settings.pool_recycle, settings.pool_pre_ping
    assert found == (7, 0, -1, False)


def test_names_of_clouds_are_taken_from_where_their_tools_look():
    settings = read(DATABASE_URL=ON_RDS, DATABASE_AUTH="aws_iam", AWS_DEFAULT_REGION="eu-west-1")
    assert settings.aws_region == "eu-west-1"
    assert read(DATABASE_URL=WITH_PASSWORD, AWS_REGION="a", AWS_DEFAULT_REGION="b").aws_region == "a"
    assert read(DATABASE_URL=PASSWORDLESS, USE_MANAGED_IDENTITY="1", AZURE_CLIENT_ID="c").azure_client_id == "c"


@pytest.mark.parametrize(
    ("expected", "environ"),
    [
        (["no_url"], {}),
        (["no_url"], {"DATABASE_URL": " "}),
        (["auth_unknown"], {"DATABASE_URL": WITH_PASSWORD, "DATABASE_AUTH": "geheim"}),
        (
            ["auth_contradicts"],
            {"DATABASE_URL": PASSWORDLESS, "DATABASE_AUTH": "managed_identity", "USE_MANAGED_IDENTITY": "false"},
        ),
        (
            ["auth_contradicts"],
            {"DATABASE_URL": ON_RDS, "DATABASE_AUTH": "aws_iam", "USE_MANAGED_IDENTITY": "true"},
        ),
        (
            ["auth_contradicts"],
            {"DATABASE_URL": WITH_PASSWORD, "DATABASE_AUTH": "password", "USE_MANAGED_IDENTITY": "true"},
        ),
        (["password_in_url"], {"DATABASE_URL": WITH_PASSWORD, "USE_MANAGED_IDENTITY": "true"}),
        (["password_in_url"], {"DATABASE_URL": ON_RDS.replace("@", ":geheim@"), "DATABASE_AUTH": "aws_iam"}),
        (["password_in_url"], {"DATABASE_URL": f"{ON_RDS}?password=geheim", "DATABASE_AUTH": "aws_iam"}),
        (["password_missing"], {"DATABASE_URL": PASSWORDLESS}),
        (["several_hosts"], {"DATABASE_URL": "postgresql://u@a,b/d", "DATABASE_AUTH": "managed_identity"}),
        (["url_incomplete"], {"DATABASE_URL": "postgresql://h/d", "DATABASE_AUTH": "managed_identity"}),
        (["url_incomplete"], {"DATABASE_URL": "postgresql://u@/d", "DATABASE_AUTH": "aws_iam"}),
        (["rds_endpoint_missing"], {"DATABASE_URL": PASSWORDLESS, "DATABASE_AUTH": "aws_iam"}),
        (["rds_endpoint_missing"], {"DATABASE_URL": "postgresql://u@rds.amazonaws.com/d", "DATABASE_AUTH": "aws_iam"}),
        (["region_missing"], {"DATABASE_URL": ON_RDS, "DATABASE_AUTH": "aws_iam", "RDS_ENDPOINT": "10.0.0.1"}),
        (["url_unreadable"], {"DATABASE_URL": "mysql://u:geheim@h/d"}),
        (["url_unreadable"], {"DATABASE_URL": "host=h user=u password=geheim"}),
        (["url_unreadable"], {"DATABASE_URL": "postgresql://u:geheim#1@h/d"}),
        (["url_unreadable"], {"DATABASE_URL": "postgresql://u:x@h/d#geheim"}),
        (["url_unreadable"], {"DATABASE_URL": "postgresql://u:geheim/1@h/d"}),
        (["url_unreadable"], {"DATABASE_URL": "postgresql://u:geheim@1@h/d"}),
        (["url_unreadable"], {"DATABASE_URL": "postgresql://u:geheim@h:99999999/d"}),
        (["url_unreadable"], {"DATABASE_URL": "postgresql://u:geheim@h:port/d"}),
        (["url_unreadable"], {"DATABASE_URL": f"{PASSWORDLESS}?sslmode=verify-full&sslmode=disable"}),
        (["url_unreadable"], {"DATABASE_URL": f"{WITH_PASSWORD}?user=geheim"}),
        (["no_number"], {"DATABASE_URL": WITH_PASSWORD, "DB_POOL_SIZE": "0"}),
        (["no_number"], {"DATABASE_URL": WITH_PASSWORD, "DB_POOL_SIZE": "geheim"}),
        (["no_number"], {"DATABASE_URL": WITH_PASSWORD, "DB_MAX_OVERFLOW": "-1"}),
        (["no_number"], {"DATABASE_URL": WITH_PASSWORD, "DB_POOL_RECYCLE": "1e3"}),
        (["no_switch"], {"DATABASE_URL": WITH_PASSWORD, "DB_POOL_PRE_PING": "geheim"}),
        (["no_switch"], {"DATABASE_URL": WITH_PASSWORD, "USE_MANAGED_IDENTITY": "maybe"}),
        (["no_number", "no_url"], {"DB_POOL_SIZE": "many"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_meant_is_refused_by_name(expected, environ):
    assert problems(**environ) == expected


def test_no_setting_at_all_reaches_no_database():
    assert problems(USE_MANAGED_IDENTITY="true") == ["no_url"]


def test_a_password_shows_nowhere_but_in_its_field():
    settings = read(DATABASE_URL=WITH_PASSWORD)
    assert "geheim" not in repr(settings)
    assert settings.url("asyncpg") == "postgresql+asyncpg://appuser@localhost:5432/app"


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u@/d?host=/run/My%20Sockets",
        "postgresql://u@%2Frun%2FMy%20Sockets/d",
        "postgresql:///d?host=/run/My Sockets&user=u",
    ],
)
def test_a_socket_keeps_the_letters_of_its_path_and_needs_no_password(text):
    settings = read(DATABASE_URL=text)
    assert (settings.host, settings.user, settings.database) == ("/run/My Sockets", "u", "d")
    assert read(DATABASE_URL=settings.url()) == settings


def test_a_client_certificate_stands_in_for_a_password():
    assert read(DATABASE_URL="postgresql://u@h/d?sslcert=/run/c.pem&sslkey=/run/k.pem").password is None


def test_options_may_hold_a_secret_and_are_not_shown():
    assert "geheim" not in repr(read(DATABASE_URL="postgresql://u@h/d?sslcert=/run/c.pem&sslpassword=geheim"))


def test_the_engines_have_the_pool_of_the_settings():
    settings = read(DATABASE_URL=WITH_PASSWORD, DB_POOL_SIZE="3", DB_MAX_OVERFLOW="4", DB_POOL_RECYCLE="60")
    for engine in (settings.create_async_engine().sync_engine, settings.create_engine()):
        pool = engine.pool
        assert (pool.size(), pool._max_overflow, pool._recycle, pool._pre_ping) == (3, 4, 60, True)
        assert "geheim" not in f"{engine!r} {engine.url!r} {engine.url.render_as_string(hide_password=False)}"


def test_an_option_of_the_caller_goes_before_a_setting():
    settings = read(DATABASE_URL=WITH_PASSWORD)
    assert settings.create_engine(pool_size=1).pool.size() == 1
    assert isinstance(settings.create_engine(poolclass=NullPool).pool, NullPool)
    assert isinstance(settings.create_async_engine(poolclass=NullPool).pool, NullPool)


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


@given(NAMES, NAMES, st.sampled_from(["h", "10.0.0.1", "::1", "db.example.com"]), st.integers(1, 65535))
def test_an_address_survives_being_written_and_read(user, database, host, port):
    made = DatabaseSettings(host, port, user, database, "managed_identity", options=(("sslrootcert", "/a b&c=d"),))
    assert read(DATABASE_URL=made.url(), DATABASE_AUTH="managed_identity") == made


@given(st.text(max_size=40), st.sampled_from(["password", "aws_iam"]))
def test_any_text_is_read_or_refused(text, auth):
    with suppress(SettingsError):
        assert read(DATABASE_URL=f"postgresql://{text}", DATABASE_AUTH=auth).user
