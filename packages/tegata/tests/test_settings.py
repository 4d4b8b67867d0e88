"""Settings: read once, refused with the setting's name and the cure, and never with a secret's value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tegata.crypto.envelope import new_master_key
from tegata.settings import PREFIX, Settings, SettingsError, check_for_production, unknown_names, way_problem

KEY = new_master_key()
SAFE = {
    "TEGATA_BASE_URL": "https://id.example.com",
    "TEGATA_DATABASE_URL": "postgresql://tegata_app:hush@db.example/tegata?sslmode=verify-full",
    "TEGATA_MASTER_KEY": KEY,
}
SECRETS = (
    "database_url",
    "database_reader_url",
    "database_listen_url",
    "maintenance_database_url",
    "migration_database_url",
    "master_key",
)


def read(environ: dict[str, str] | None = None, **overrides: Any) -> Settings:
    return Settings.from_environment(environ or {}, **overrides)


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        read(environ)
    return refused.value.problems


def production_problems(**changes: str | None) -> list[str]:
    environ = {name: value for name, value in {**SAFE, **changes}.items() if value is not None}
    try:
        check_for_production(read(environ))
    except SettingsError as error:
        return error.problems
    return []


def test_the_defaults_are_for_production() -> None:
    settings = read()
    assert settings.environment == "production"
    assert not settings.allow_loopback_http
    assert not settings.allow_insecure_base_url
    assert not settings.allow_unverified_database_tls
    assert settings.trusted_proxies == ()
    assert settings.metrics_networks == ()
    assert settings.host == "127.0.0.1"
    assert all(getattr(settings, name) is None for name in SECRETS)


def test_every_setting_is_described_and_secrets_have_no_default() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        if name in SECRETS:
            assert field.default is None


def test_settings_are_read_from_their_names_and_aliases() -> None:
    settings = read({"TEGATA_PORT": "0", "DB_POOL_SIZE": "7", "DATABASE_URL": "postgresql://x", "PORT": "1"})
    assert (settings.port, settings.database_pool_size) == (0, 7)
    assert settings.database_url is not None
    own = read({"TEGATA_DATABASE_POOL_SIZE": "8", "DB_POOL_SIZE": "7"})
    assert own.database_pool_size == 8


def test_what_the_command_line_says_wins_and_nothing_said_is_nothing() -> None:
    assert read({"TEGATA_PORT": "1"}, port=2, host=None).port == 2
    assert read({"TEGATA_PORT": ""}).port == 8080


def test_proxies_are_networks_separated_by_commas_or_space() -> None:
    settings = read({"TEGATA_TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.1 2001:db8::/32"})
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "http"),
        ("WORKERS", "0"),
        ("WORKERS", "2.5"),
        ("ENVIRONMENT", "staging"),
        ("LOG_LEVEL", "INFO"),
        ("ALLOW_LOOPBACK_HTTP", "perhaps"),
        ("TRUSTED_PROXIES", "10.0.0.0/99"),
        ("TRUSTED_PROXIES", "proxy.example"),
        ("THROTTLE_LONGEST_PAUSE_SECONDS", "nan"),
        ("THROTTLE_LONGEST_PAUSE_SECONDS", "86400"),
        ("DATABASE_POOL_WAIT_SECONDS", "0"),
        ("DATABASE_POOL_WAIT_SECONDS", "inf"),
        ("DRAIN_SECONDS", "-0.1"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(name: str, value: str) -> None:
    assert [problem.split(":")[0] for problem in problems({PREFIX + name: value})] == [PREFIX + name]


def test_every_problem_is_told_at_once() -> None:
    assert len(problems({"TEGATA_PORT": "x", "TEGATA_WORKERS": "x"})) == 2


def test_a_secret_comes_from_a_file_without_its_last_line_end(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    settings = read({"TEGATA_MASTER_KEY_FILE": str(tmp_path / "key")})
    assert settings.master_key is not None
    assert settings.master_key.get_secret_value() == KEY


def test_a_secret_from_two_places_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    found = problems({"TEGATA_MASTER_KEY": KEY, "TEGATA_MASTER_KEY_FILE": str(tmp_path / "key")})
    assert "TEGATA_MASTER_KEY_FILE" in found[0]
    assert KEY not in found[0]


@pytest.mark.parametrize(
    "content", [None, b"", b" \n", b"\xff\xfe\x00" * 11], ids=["no file", "empty", "blank", "raw bytes"]
)
def test_a_file_that_holds_no_secret_is_refused_by_name(content: bytes | None, tmp_path: Path) -> None:
    """The raw bytes of a key, say, instead of base64url."""
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    found = problems({"TEGATA_MASTER_KEY_FILE": str(path)})
    assert len(found) == 1
    assert found[0].startswith("TEGATA_MASTER_KEY_FILE")


@pytest.mark.parametrize("path", ["/", "\x00", "x" * 5000])
def test_a_path_that_is_none_is_refused_by_name(path: str) -> None:
    assert problems({"TEGATA_DATABASE_URL_FILE": path})[0].startswith("TEGATA_DATABASE_URL_FILE")


def test_secrets_stay_out_of_the_representation_and_out_of_errors() -> None:
    settings = read(SAFE)
    assert "hush" not in repr(settings)
    assert KEY not in repr(settings)
    assert KEY not in str(settings.model_dump())
    assert "hush" not in "".join(problems({**SAFE, "TEGATA_PORT": "x"}))


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read().port = 1


ANY = st.dictionaries(
    st.sampled_from([PREFIX + name.upper() for name in Settings.model_fields] + ["DATABASE_URL", "DB_POOL_SIZE"]),
    st.text(st.characters(exclude_characters="\x00"))
    | st.sampled_from(["0", "1", "true", "https://[", "postgresql://["]),
    max_size=4,
)


@given(ANY)
@examples(max_examples=100, deadline=None)
def test_any_environment_is_read_or_refused_and_so_is_starting_with_it(environ: dict[str, str]) -> None:
    try:
        check_for_production(read({**SAFE, **environ}))
    except SettingsError as error:
        found = error.problems
    else:
        found = []
    assert all(problem.startswith((PREFIX, "DB_POOL_SIZE")) for problem in found)


def test_misspelt_names_are_found() -> None:
    environ = dict.fromkeys(
        ["TEGATA_BASEURL", "TEGATA_PORT", "TEGATA_MASTER_KEY_FILE", "TEGATA_SECRET_X", "TEGATA_DEV_X", "HOME"], "x"
    )
    assert unknown_names(environ) == ["TEGATA_BASEURL"]


def test_the_limits_of_throttling_are_settings() -> None:
    throttle = read({"TEGATA_THROTTLE_ACCOUNT_FAILURES": "9", "TEGATA_THROTTLE_WINDOW_SECONDS": "60"}).throttle
    assert (throttle.account_failures, throttle.window_seconds) == (9, 60)
    assert read().throttle.account_failures == 5


def test_safe_settings_start() -> None:
    assert production_problems() == []


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        pytest.param({"TEGATA_ENVIRONMENT": "development"}, "TEGATA_ENVIRONMENT", id="development"),
        pytest.param({"TEGATA_BASE_URL": None}, "TEGATA_BASE_URL", id="no base URL"),
        pytest.param({"TEGATA_BASE_URL": "http://id.example.com"}, "TEGATA_BASE_URL", id="http"),
        pytest.param({"TEGATA_BASE_URL": "https://id.example.com/"}, "TEGATA_BASE_URL", id="a slash at the end"),
        pytest.param({"TEGATA_BASE_URL": "https://"}, "TEGATA_BASE_URL", id="no host"),
        pytest.param({"TEGATA_BASE_URL": "id.example.com"}, "TEGATA_BASE_URL", id="no scheme"),
        pytest.param({"TEGATA_BASE_URL": "https://["}, "TEGATA_BASE_URL", id="no URL"),
        pytest.param({"TEGATA_BASE_URL": "https://id.example.com:99999"}, "TEGATA_BASE_URL", id="no port"),
        pytest.param({"TEGATA_BASE_URL": "https://id.example.com?"}, "TEGATA_BASE_URL", id="an empty query"),
        pytest.param({"TEGATA_BASE_URL": "https://id.example.com#"}, "TEGATA_BASE_URL", id="an empty fragment"),
        pytest.param({"TEGATA_BASE_URL": "https://u@id.example.com"}, "TEGATA_BASE_URL", id="a user"),
        pytest.param({"TEGATA_BASE_URL": "https://:p@id.example.com"}, "TEGATA_BASE_URL", id="a password"),
        pytest.param({"TEGATA_BASE_URL": "https://id.example.com\n"}, "TEGATA_BASE_URL", id="a line end"),
        pytest.param({"TEGATA_BASE_URL": "javascript:alert(1)"}, "TEGATA_BASE_URL", id="a script"),
        pytest.param({"TEGATA_MASTER_KEY": None}, "TEGATA_MASTER_KEY", id="no master key"),
        pytest.param({"TEGATA_MASTER_KEY": "aHVzaA"}, "TEGATA_MASTER_KEY", id="a short master key"),
        pytest.param({"TEGATA_MASTER_KEY": f"{KEY},x"}, "TEGATA_MASTER_KEY", id="a bad second master key"),
        pytest.param({"TEGATA_DATABASE_URL": None}, "TEGATA_DATABASE_URL", id="no database"),
        pytest.param({"TEGATA_DATABASE_URL": "mysql://x"}, "TEGATA_DATABASE_URL", id="another database"),
        pytest.param({"TEGATA_DATABASE_URL": "postgresql://["}, "TEGATA_DATABASE_URL", id="no URL of a database"),
        pytest.param(
            {"TEGATA_DATABASE_URL": "postgresql://localhost,db.example/t"}, "TEGATA_DATABASE_URL", id="two hosts"
        ),
        pytest.param(
            {"TEGATA_DATABASE_READER_URL": "postgresql://app@db-ro.example/tegata"},
            "TEGATA_DATABASE_READER_URL",
            id="a reader without verified TLS",
        ),
        pytest.param(
            {"TEGATA_METRICS_NETWORKS": "10.0.0.0/8 0.0.0.0/0"}, "TEGATA_METRICS_NETWORKS", id="public metrics"
        ),
        pytest.param({"TEGATA_TRUSTED_PROXIES": "0.0.0.0/0"}, "TEGATA_TRUSTED_PROXIES", id="everybody is a proxy"),
        pytest.param({"TEGATA_TRUSTED_PROXIES": "10.0.0.0/8,::/0"}, "TEGATA_TRUSTED_PROXIES", id="everybody of IPv6"),
        pytest.param(
            {"TEGATA_THROTTLE_ACCOUNT_FAILURES": "1001"}, "TEGATA_THROTTLE_ACCOUNT_FAILURES", id="no throttling"
        ),
    ],
)
def test_production_refuses_unsafe_settings_by_name(changes: dict[str, str | None], name: str) -> None:
    found = production_problems(**changes)
    assert len(found) == 1
    assert found[0].startswith(f"{name} ")
    assert KEY not in found[0]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hush@db.example/t",
        "postgresql://u:hush@db.example/t?sslmode=require",
        "postgresql://u:hush@db.example/t?sslmode=verify-ca",
        "postgresql://u:hush@db.example/t?sslmode=verify-full&sslmode=disable",
        "postgresql://u:hush@/t?host=db.example",
        "postgresql://u:hush@localhost/t?host=db.example",
        "postgresql://u:hush@localhost/t?hostaddr=192.0.2.1",
        "postgresql://u:hush@localhost/t?service=elsewhere",
        "host=db.example user=u password=hush",
        "postgresql+asyncpg://u:hush@db.example/t",
    ],
)
def test_a_remote_database_needs_a_verified_name(url: str) -> None:
    found = production_problems(TEGATA_DATABASE_URL=url)
    assert len(found) == 1
    assert "sslmode=verify-full" in found[0]
    assert "hush" not in found[0]
    assert production_problems(TEGATA_DATABASE_URL=url, TEGATA_ALLOW_UNVERIFIED_DATABASE_TLS="true") == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@localhost/t",
        "postgresql://u@127.0.0.1:5433/t",
        "postgresql://u@[::1]/t",
        "postgresql:///t?host=/run/postgresql",
        "host=/run/postgresql dbname=t",
        "postgresql://u@db.example/t?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        "postgresql+asyncpg://u@db.example/t?sslmode=verify-full",
    ],
)
def test_a_database_on_this_machine_or_with_a_verified_name_is_safe(url: str) -> None:
    assert production_problems(TEGATA_DATABASE_URL=url) == []


def test_http_starts_when_a_setting_says_so_by_name() -> None:
    allowed = {"TEGATA_BASE_URL": "http://id.example.com", "TEGATA_ALLOW_INSECURE_BASE_URL": "true"}
    assert production_problems(**allowed) == []


def test_all_that_is_unsafe_is_told_at_once() -> None:
    everything = dict.fromkeys(SAFE)
    assert len(production_problems(**everything, TEGATA_ENVIRONMENT="development")) == 4


@pytest.mark.parametrize(
    "name",
    [
        "TEGATA_DATABASE_READER_URL",
        "TEGATA_DATABASE_LISTEN_URL",
        "TEGATA_MAINTENANCE_DATABASE_URL",
        "TEGATA_MIGRATION_DATABASE_URL",
        "TEGATA_BOOTSTRAP_DATABASE_URL",
    ],
)
def test_every_way_into_a_remote_database_needs_verified_tls(name: str) -> None:
    found = production_problems(**{name: "postgresql://somebody:hush@db.example/tegata?sslmode=require"})
    assert [problem.split()[0] for problem in found] == [name]
    assert "hush" not in found[0]


def test_a_pooler_needs_a_direct_way_to_hear_of_changes() -> None:
    assert "TEGATA_DATABASE_LISTEN_URL" in production_problems(TEGATA_DATABASE_TRANSACTION_POOLER="true")[0]
    direct = "postgresql://tegata_app@direct.example/tegata?sslmode=verify-full"
    both = {"TEGATA_DATABASE_TRANSACTION_POOLER": "true", "TEGATA_DATABASE_LISTEN_URL": direct}
    assert production_problems(**both) == []


def test_a_password_that_tokens_have_replaced_is_refused() -> None:
    (problem,) = production_problems(TEGATA_DATABASE_AUTH="aws_iam")
    assert "TEGATA_DATABASE_URL holds a password" in problem
    assert "hush" not in problem


def test_use_managed_identity_is_another_word_for_one_method() -> None:
    assert read({"USE_MANAGED_IDENTITY": "true"}).database_auth == "managed_identity"
    assert read({"USE_MANAGED_IDENTITY": "false"}).database_auth == "password"
    assert read({"USE_MANAGED_IDENTITY": "1", "DATABASE_AUTH": "managed_identity"}).database_auth == "managed_identity"
    assert "contradict" in problems({"USE_MANAGED_IDENTITY": "true", "TEGATA_DATABASE_AUTH": "password"})[0]
    assert "contradict" in problems({"USE_MANAGED_IDENTITY": "false", "DATABASE_AUTH": "managed_identity"})[0]
    assert read({"USE_MANAGED_IDENTITY": "", "DATABASE_AUTH": "managed_identity"}).database_auth == "managed_identity"
    assert "neither true nor false" in problems({"USE_MANAGED_IDENTITY": "perhaps"})[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_POOL_SIZE", "0"),
        ("DB_MAX_OVERFLOW", "-1"),
        ("DB_POOL_RECYCLE", "-1"),
        ("DB_POOL_PRE_PING", "perhaps"),
        ("DATABASE_AUTH", "azure"),
    ],
)
def test_a_value_that_came_under_another_name_is_refused_by_that_name(name: str, value: str) -> None:
    assert [problem.split(":")[0] for problem in problems({name: value})] == [name]


def test_the_example_files_of_the_kit_are_settings_of_tegata_too() -> None:
    for path in sorted((Path(__file__).parents[3] / "examples" / "passwordless-fastapi").glob(".env.*.example")):
        lines = [line.split("=", 1) for line in path.read_text().splitlines() if line and not line.startswith("#")]
        settings = read(dict(lines))
        size = settings.database_pool_size + settings.database_pool_overflow
        assert (size, settings.database_pool_recycle_seconds, settings.database_pool_pre_ping) == (15, 1800.0, True)
        way = way_problem(settings, "database_url")
        assert (settings.database_auth, way) == ("password" if "local" in path.name else "managed_identity", None)
