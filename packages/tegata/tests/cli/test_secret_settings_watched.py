"""What a running process tells of its secrets: settings that changed where they are kept, figures, audit lines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from tegata.cli.watched_settings import Watch, references_of, watching
from tegata.cli.ways_in import process_secrets, secret_figures, serving_target, target_of
from tegata.settings import Settings
from tegata.telemetry.secrets import SecretFigures
from tegata_credentials.errors import IdentityUnavailable, SecretNotFound
from tegata_credentials.secret_service import SecretService, SecretsInMemory
from tegata_credentials.token_state import LoginPassword

pytestmark = pytest.mark.anyio


def settings_with(path: Path, **environ: str) -> Settings:
    return Settings.from_environment({"TEGATA_MASTER_KEY": f"file:{path}", **environ})


def counted(figures: SecretFigures) -> dict[tuple[str, tuple[str, ...]], float]:
    return {(sample.metric.name, sample.labels): sample.value for sample in figures.samples()}


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def test_a_setting_that_changed_where_it_is_kept_is_told_once_and_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("first")
    settings = settings_with(path)
    store = SecretsInMemory({f"file:{path}": "first\n"})
    service = SecretService(store)
    watch = Watch(settings, service)
    with structlog.testing.capture_logs() as told:
        await watch.look()
        store.put(f"file:{path}", "second")
        service.invalidate(f"file:{path}")
        await watch.look()
        await watch.look()
    service.close()
    (line,) = told
    assert (line["event"], line["setting"]) == ("setting_changed", "TEGATA_MASTER_KEY")
    assert (line["reference"], line["log_level"]) == (f"file:{path}", "warning")
    assert "second" not in str(told)
    assert settings.master_key is not None
    assert settings.master_key.get_secret_value() == "first"


async def test_a_store_that_is_away_or_forgets_does_not_end_the_watch(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("first")
    service = SecretService(SecretsInMemory())
    with structlog.testing.capture_logs() as told:
        await Watch(settings_with(path), service).look()
    service.close()
    assert told == []


async def test_nothing_is_held_where_no_setting_is_a_reference(tmp_path: Path) -> None:
    plain = Settings.from_environment({"TEGATA_MASTER_KEY": "key"})
    secrets = process_secrets(plain)
    async with watching(plain, secrets):
        assert not secrets.is_open
    (tmp_path / "key").write_text("first")
    settings = settings_with(tmp_path / "key")
    assert references_of(settings) == {"master_key": f"file:{tmp_path / 'key'}"}
    async with watching(settings, secrets):
        assert secrets.is_open
    assert not secrets.is_open


async def test_one_service_serves_every_login_until_the_last_lets_go(tmp_path: Path) -> None:
    for name, user in (("app", "tegata_app_a"), ("maint", "tegata_maint_b")):
        (tmp_path / name).write_text(f'{{"username": "{user}", "password": "one of {user}"}}')
    figures = SecretFigures()
    settings = Settings.from_environment(
        {
            "TEGATA_DATABASE_AUTH": "secret",
            "TEGATA_DATABASE_URL": "postgresql:///tegata",
            "TEGATA_DATABASE_LISTEN_URL": "postgresql:///direct",
            "TEGATA_DATABASE_READER_URL": "postgresql:///reader",
            "TEGATA_DATABASE_SECRET": f"file:{tmp_path / 'app'}",
        }
    )
    secrets = process_secrets(settings, observer=figures)
    target, other = serving_target(settings, secrets), secrets.logins(f"file:{tmp_path / 'maint'}")
    assert (target.auth_method, target.user, target.password) == ("secret", "", None)
    assert target.passwords is not None
    assert not secrets.is_open
    for field in ("database_listen_url", "database_reader_url"):
        elsewhere = target_of(settings, field, target.passwords)
        assert (elsewhere.user, elsewhere.passwords) == ("", target.passwords)
    with structlog.testing.capture_logs() as told:
        source = target.passwords.source("writer", 5432, "")
        assert target.passwords.source("writer", 5432, "whoever") is source
        assert target.passwords.source("reader", 5432, "") is not source
        found = await source.current()
        assert isinstance(found, LoginPassword)
        assert (found.user, str(found)) == ("tegata_app_a", "one of tegata_app_a")
        until(lambda: len(told) == 1)  # by the thread that fetched it
        again = other.sync_source("writer", 5432, "").current()
        assert isinstance(again, LoginPassword)
        assert again.user == "tegata_maint_b"
        await target.passwords.close()
        assert secrets.is_open
        until(lambda: len(told) == 2)
        await other.close()
    assert not secrets.is_open
    with pytest.raises(IdentityUnavailable):
        await source.current()
    assert (await target.passwords.source("writer", 5432, "").current()) == found  # begins anew
    await target.passwords.close()
    assert [(line["event"], line["reference"]) for line in told] == [
        ("secret.read", f"file:{tmp_path / 'app'}"),
        ("secret.read", f"file:{tmp_path / 'maint'}"),
    ]
    assert "one of" not in str(told)
    until(lambda: counted(figures)["tegata_secret_fetches", ()] == 3)


def test_figures_are_those_of_the_kit_and_there_are_none_before_a_secret_was_read() -> None:
    figures = SecretFigures()
    assert list(figures.samples()) == []
    source = SecretsInMemory({"one": "first"})
    service = SecretService(source, observer=figures)
    assert service.get_version("one").text == service.get_version("one").text == "first"
    source.put("one", "second")
    service.invalidate("one")
    assert service.get_version("one").text == "second"
    with structlog.testing.capture_logs() as told:
        with pytest.raises(SecretNotFound):
            service.get_version("two")
        until(lambda: ("secret.read_failed", "warning") in {(line["event"], line["log_level"]) for line in told})
    service.close()
    # They are told by the threads that fetch, after whoever waited has the value.
    until(lambda: counted(figures).get(("tegata_secret_fetch_failures", ("not_found",))) == 1)
    until(lambda: counted(figures)["tegata_secret_fetches", ()] == 2)
    until(lambda: counted(figures)["tegata_secret_cache_hits", ()] >= 1)
    until(lambda: counted(figures)["tegata_secret_fetch_seconds", ()] > 0)


@pytest.mark.parametrize("is_on", ["true", "false"])
def test_figures_are_written_for_cloudwatch_too_if_a_setting_says_so(
    capsys: pytest.CaptureFixture[str], is_on: str
) -> None:
    figures = secret_figures(Settings.from_environment({"TEGATA_EMBEDDED_METRICS": is_on}))
    figures.metric("SecretFetchFailed", source="awssm", reason="throttled")
    figures.metric("RotationSucceeded")
    figures.audit("secret.read_failed", secret="env:X", reason="throttled")
    figures.flush()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith('{"_aws"')]
    told = {name for line in lines for name in line} & {"SecretFetchFailed", "RotationSucceeded"}
    assert told == ({"SecretFetchFailed", "RotationSucceeded"} if is_on == "true" else set())
    assert counted(figures)["tegata_secret_fetch_failures", ("throttled",)] == 1


def test_how_long_a_secret_is_used_and_a_refused_login_waits_is_said_by_settings() -> None:
    settings = Settings.from_environment({"TEGATA_SECRET_CACHE_SECONDS": "7", "TEGATA_SECRET_WAIT_SECONDS": "0.5"})
    secrets = process_secrets(settings)
    cache, _ = secrets.hold(settings).reach("env:ANY")
    logins = secrets.logins("env:ANY")
    sources = (logins.source("db.example", 5432, ""), logins.sync_source("db.example", 5432, ""))
    secrets.let_go(settings)
    assert (cache.policy.ttl, cache.policy.budget) == (7, 0.5)
    assert [source._budget for source in sources] == [0.5, 0.5]  # type: ignore[attr-defined]
    usual = Settings()
    assert usual.secret_wait_seconds < usual.database_pool_wait_seconds
