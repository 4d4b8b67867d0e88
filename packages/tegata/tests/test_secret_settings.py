"""Settings that hold a reference in place of a secret, and logins whose user and password come from one."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from tegata.cli.failures import UNAVAILABLE, USAGE, explain
from tegata.crypto.envelope import Envelope, new_master_key
from tegata.settings import (
    PREFIX,
    Settings,
    SettingsError,
    SettingsUnavailable,
    check_for_production,
    is_secret,
    secret_of,
    way_problem,
)
from tegata.settings.references import resolve
from tegata_credentials.errors import (
    SecretAccessDenied,
    SecretError,
    SecretMalformed,
    SecretNotFound,
    SecretThrottled,
    SecretUnavailable,
)
from tegata_credentials.secret_service import SecretsInMemory
from tegata_credentials.sources.references import ReferencedSecrets

KEY = new_master_key()
URL = "postgresql://db.example.com/tegata?sslmode=verify-full"
WITH_SECRET = {
    "TEGATA_DATABASE_AUTH": "secret",
    "TEGATA_DATABASE_URL": URL,
    "TEGATA_DATABASE_SECRET": "awssm:tegata-prod-secret-database",
    "TEGATA_BASE_URL": "https://id.example.com",
    "TEGATA_MASTER_KEY": KEY,
}
SECRETS = [name for name, field in Settings.model_fields.items() if is_secret(field)]


def value(settings: Settings, name: str) -> str:
    found = getattr(settings, name)
    assert isinstance(found, SecretStr)
    return found.get_secret_value()


def problems(environ: dict[str, str], kind: type[SettingsError] = SettingsError) -> list[str]:
    with pytest.raises(kind) as refused:
        Settings.from_environment(environ)
    assert KEY not in str(refused.value)
    return refused.value.problems


@pytest.mark.parametrize("name", SECRETS)
def test_every_setting_that_holds_a_secret_may_be_a_reference(name: str, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("the value\n")
    for reference in (f"file:{tmp_path}/kept", "env:KEPT", "env:PAIR#one"):
        environ = {PREFIX + name.upper(): reference, "KEPT": "the value", "PAIR": '{"one": "the value"}'}
        settings = Settings.from_environment(environ)
        assert value(settings, name) == "the value"
        assert settings.reference_of(name) == reference
        assert "the value" not in repr(settings)


def test_the_older_names_may_be_references_and_a_file_holds_the_value_itself(tmp_path: Path) -> None:
    settings = Settings.from_environment({"DATABASE_URL": "env:ELSEWHERE", "ELSEWHERE": URL})
    assert value(settings, "database_url") == URL
    (tmp_path / "key").write_text("env:NAME")
    settings = Settings.from_environment({"TEGATA_MASTER_KEY_FILE": str(tmp_path / "key"), "NAME": "x"})
    assert (value(settings, "master_key"), settings.reference_of("master_key")) == ("env:NAME", None)


def test_several_master_keys_stand_behind_one_reference() -> None:
    keys = [new_master_key(), new_master_key()]
    settings = Settings.from_environment({"TEGATA_MASTER_KEY": "env:KEYS", "KEYS": ",".join(keys)})
    sealed = Envelope.from_text(keys[1]).seal(b"kept", tenant="acme", purpose="test")
    assert Envelope.from_text(value(settings, "master_key")).open(sealed, tenant="acme", purpose="test") == b"kept"


def test_what_is_no_secret_is_no_reference() -> None:
    assert Settings.from_environment({"TEGATA_BASE_URL": "env:NAME"}).base_url == "env:NAME"


def test_each_problem_names_the_setting_the_reference_and_the_cure() -> None:
    found = problems(
        {
            "TEGATA_MASTER_KEY": "env:NOWHERE",
            "DATABASE_URL": "env:EMPTY",
            "TEGATA_BOOTSTRAP_DATABASE_URL": "file:relative",
            "TEGATA_MIGRATION_DATABASE_URL": "env:OBJECT",
            "TEGATA_MAINTENANCE_DATABASE_URL": "env:OBJECT#url",
            "TEGATA_PORT": "1",
            "EMPTY": "",
            "OBJECT": f'{{"key": "{KEY}"}}',
        }
    )
    told = {re.split("[:=]", problem)[0]: problem for problem in found}
    assert set(told) == {
        "TEGATA_MASTER_KEY",
        "DATABASE_URL",
        "TEGATA_BOOTSTRAP_DATABASE_URL",
        "TEGATA_MIGRATION_DATABASE_URL",
        "TEGATA_MAINTENANCE_DATABASE_URL",
    }
    assert "env:NOWHERE: not found (the environment variable NOWHERE is not set); correct" in told["TEGATA_MASTER_KEY"]
    assert "is empty: write the value there" in told["DATABASE_URL"]
    assert "file:/absolute/path" in told["TEGATA_BOOTSTRAP_DATABASE_URL"]
    assert "name its key: env:OBJECT#KEY" in told["TEGATA_MIGRATION_DATABASE_URL"]
    assert "has no key url" in told["TEGATA_MAINTENANCE_DATABASE_URL"]


class Refusing(SecretsInMemory):
    """A store that says the same of every secret."""

    def __init__(self, error: type[SecretError]) -> None:
        super().__init__()
        self._error = error

    def fetch_many(self, secrets: list[str]) -> dict[str, SecretError]:  # type: ignore[override]  # a store is narrower
        return {secret: self._error(secret, "as the store says") for secret in secrets}


@pytest.mark.parametrize(
    ("error", "cure", "passing"),
    [
        (SecretNotFound, "correct the reference", False),
        (SecretAccessDenied, "secretsmanager:GetSecretValue", False),
        (SecretMalformed, "correct what is kept there", False),
        (SecretThrottled, "start again in a while", True),
        (SecretUnavailable, "start again when the store answers", True),
    ],
)
def test_every_answer_of_a_store_has_its_cure(error: type[SecretError], cure: str, passing: bool) -> None:
    source = ReferencedSecrets({"awssm": Refusing(error)})
    found, unresolved = resolve({"TEGATA_MASTER_KEY": "awssm:keys#master"}, {}, source)
    assert found == {}
    (problem,) = unresolved
    assert problem.is_passing == passing
    assert problem.sentence.startswith("TEGATA_MASTER_KEY=awssm:keys#master: ")
    assert "(as the store says)" in problem.sentence
    assert cure in problem.sentence


def test_where_boto3_is_missing_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    assert problems({"TEGATA_MASTER_KEY": "awssm:keys#master"}) == [
        "TEGATA_MASTER_KEY=awssm:keys#master cannot be read: boto3 is not installed: install `tegata-credentials[aws]`"
    ]


def test_all_references_of_a_store_are_read_with_one_call() -> None:
    store = SecretsInMemory({"keys": {"master": "one"}, "urls": {"app": "two", "operators": "three"}})
    references = {"A": "awssm:keys#master", "B": "awssm:urls#app", "C": "awssm:urls#operators"}
    found, unresolved = resolve(references, {}, ReferencedSecrets({"awssm": store}))
    assert (found, unresolved, store.fetches) == ({"A": "one", "B": "two", "C": "three"}, [], 1)


def test_a_store_that_does_not_answer_is_another_exit_status_than_a_setting_that_is_wrong() -> None:
    away, wrong = SettingsUnavailable(["the store is away"]), SettingsError(["something is wrong"])
    told = [explain(error) for error in (away, wrong)]
    assert [failure.exit_code for failure in told if failure is not None] == [UNAVAILABLE, USAGE]


def test_a_login_by_secret_takes_the_place_from_the_url_and_whom_from_the_secret() -> None:
    settings = Settings.from_environment(WITH_SECRET)
    check_for_production(settings)
    assert secret_of(settings, "database_reader_url") == secret_of(settings, "database_url")
    assert secret_of(settings, "bootstrap_database_url") is None


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"TEGATA_DATABASE_URL": "postgresql://db.example.com/tegata"}, "sslmode=verify-full"),
        ({"TEGATA_DATABASE_URL": "postgresql://db.example.com/tegata?sslmode=require"}, "sslmode=verify-full"),
        ({"TEGATA_DATABASE_URL": URL.replace("//", "//tegata_app@")}, "names a user"),
        ({"TEGATA_DATABASE_URL": URL.replace("//", "//:hush@")}, "holds a password"),
        ({"TEGATA_DATABASE_URL": "postgresql://db.example.com?sslmode=verify-full"}, "names no database"),
        ({"TEGATA_DATABASE_SECRET": ""}, "TEGATA_DATABASE_SECRET is not set"),
        ({"TEGATA_DATABASE_SECRET": "tegata-prod-secret-database"}, "TEGATA_DATABASE_SECRET is no reference"),
        ({"TEGATA_DATABASE_SECRET": "awssm:tegata#password"}, "TEGATA_DATABASE_SECRET names a key"),
        ({"TEGATA_DATABASE_AUTH": "password"}, "takes TEGATA_DATABASE_AUTH=secret"),
        (
            {"TEGATA_DATABASE_READER_URL": "postgresql://reader.example.com/tegata"},
            "TEGATA_DATABASE_READER_URL names a remote",
        ),
        ({"TEGATA_MAINTENANCE_DATABASE_URL": URL}, "TEGATA_MAINTENANCE_DATABASE_SECRET is not set"),
    ],
)
def test_a_login_by_secret_that_cannot_be_used_is_refused(changed: dict[str, str], told: str) -> None:
    settings = Settings.from_environment({name: text for name, text in (WITH_SECRET | changed).items() if text})
    with pytest.raises(SettingsError) as refused:
        check_for_production(settings)
    assert len(refused.value.problems) == 1
    assert told in refused.value.problems[0]
    assert "hush" not in refused.value.problems[0]


def test_on_this_machine_no_tls_is_asked_for_and_an_administrator_keeps_its_password() -> None:
    settings = Settings.from_environment(
        WITH_SECRET
        | {
            "TEGATA_DATABASE_URL": "postgresql:///tegata?host=/run/postgresql",
            "TEGATA_BOOTSTRAP_DATABASE_URL": "postgresql://admin:hush@127.0.0.1/tegata",
        }
    )
    assert way_problem(settings, "database_url") is None
    assert way_problem(settings, "bootstrap_database_url") is None
