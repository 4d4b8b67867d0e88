"""`tegata db bootstrap`: wrong usage is told before anything is touched, and no password shows where it should not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from tegata.cli.failures import CommandFailure
from tegata.cli.main import app
from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import Cluster

Tegata = Callable[..., Result]
A_UUID = "00000000-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """A server of this module's own: roles belong to the whole of it."""
    cluster = Cluster()
    yield cluster
    cluster.stop()


def run(target: ConnectionTarget, statement: str) -> None:
    with psycopg.connect(target.psycopg_conninfo(), autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.fixture
def tegata(server: Cluster, tmp_path: Path) -> Iterator[Tegata]:
    """Run a command as the administrator of a server without roles and databases of Tegata."""
    url = server.admin.in_database("identity").psycopg_conninfo()
    settings = {"TEGATA_HOME": str(tmp_path / "none"), "TEGATA_BOOTSTRAP_DATABASE_URL": url}

    def invoke(*words: str, stdin: str | None = None, **changed: str) -> Result:
        return CliRunner().invoke(app, ["db", "bootstrap", *words], input=stdin, env=settings | changed)  # type: ignore[return-value]

    yield invoke
    run(server.admin, "drop database if exists identity with (force)")
    for role in ("tegata_migrator", "tegata_app", "tegata_maint", "tegata_owner"):
        run(server.admin, f"drop role if exists {role}")


def test_the_database_is_made_and_a_second_run_finds_nothing_to_do(tegata: Tegata) -> None:
    first = tegata("--create-database")
    assert first.exit_code == 0, first.output
    assert "changed: database identity made" in first.output
    assert "changed: role tegata_app made" in first.output
    second = tegata("--create-database")
    assert (second.exit_code, second.output.strip()) == (0, "roles and schema are as they should be")


def test_from_an_empty_server_to_a_proven_wall(tegata: Tegata, server: Cluster) -> None:
    assert tegata("--create-database").exit_code == 0
    database = server.admin.in_database("identity")
    ways = {
        "TEGATA_MIGRATION_DATABASE_URL": database.entering_as("tegata_migrator").psycopg_conninfo(),
        "TEGATA_DATABASE_URL": database.entering_as("tegata_app").psycopg_conninfo(),
    }

    def invoke(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, words, env=ways)
        return result.exit_code, result.output

    status, output = invoke("migrate", "--check")
    assert (status, "missing: revision 0001" in output, "missing: function take_code" in output) == (1, True, True)
    assert invoke("migrate")[0] == 0
    assert invoke("migrate", "--check") == (0, "the schema is up to date\n")
    assert invoke("doctor", "--strict")[0] == 0
    status, script = invoke("migrate", "--sql", "--after", "0001")
    assert (status, "create table tegata.account " in script, "create or replace function" in script) == (
        0,
        False,
        True,
    )
    assert tegata().output.strip() == "roles and schema are as they should be"


def test_what_is_left_for_others_is_told_and_is_status_1(tegata: Tegata, server: Cluster) -> None:
    assert tegata("--create-database").exit_code == 0
    run(server.admin, "alter role tegata_app nologin")
    result = tegata()
    assert result.exit_code == 1
    assert "left: tegata_app may not log in" in result.stderr


def test_printing_needs_no_database(tegata: Tegata) -> None:
    result = tegata("--print", "--for", "rds", TEGATA_BOOTSTRAP_DATABASE_URL="")
    assert result.exit_code == 0, result.output
    assert "grant rds_iam to" in result.output
    assert "\\connect" not in result.output
    azure = tegata("--print", "--for", "azure", "--app-object-id", A_UUID, TEGATA_BOOTSTRAP_DATABASE_URL="")
    assert A_UUID in azure.output
    assert "\\connect postgres" in azure.output
    assert "\\connect identity" in tegata("--print", "--create-database").output


def test_random_passwords_are_printed_once_and_are_long(tegata: Tegata) -> None:
    result = tegata("--create-database", "--generate-passwords")
    made = dict(line.split("=", 1) for line in result.output.splitlines() if line.startswith("tegata_"))
    assert set(made) == {"tegata_app", "tegata_maint", "tegata_migrator"}
    assert min(map(len, made.values())) >= 43
    assert not any(password in tegata().output for password in made.values())


def test_given_passwords_are_taken_from_standard_input_or_a_file(tegata: Tegata, tmp_path: Path) -> None:
    result = tegata("--create-database", "--passwords", "-", stdin="tegata_app=a=password of the app\n\n")
    assert result.exit_code == 0, result.output
    assert "changed: tegata_app has a new password" in result.output
    file = tmp_path / "passwords"
    file.write_text("tegata_maint=another password of ours\n")
    assert "changed: tegata_maint has a new password" in tegata("--passwords", str(file)).output


@pytest.mark.parametrize(
    ("words", "stdin", "told"),
    [
        (["--for", "oracle"], None, "choose one of plain, rds, azure"),
        (["--print", "--generate-passwords"], None, "--print knows no passwords"),
        (["--for", "azure"], None, "needs --app-object-id"),
        (["--app-object-id", A_UUID], None, "for --for azure"),
        (["--for", "azure", "--app-object-id", "my-identity"], None, "is no UUID"),
        (["--for", "azure", "--app-object-id", A_UUID, "--migrator-object-id", A_UUID], None, "an identity of its own"),
        (["--for", "rds", "--generate-passwords"], None, "need no passwords"),
        (["--passwords", "-", "--generate-passwords"], "", "choose one"),
        (["--passwords", "-"], "tegata_app=short-secret\n", "line 1"),
        (["--passwords", "-"], "\ntegata_owner=a secret that is long enough\n", "line 2"),
        (["--passwords", "-"], "a secret that is long enough\n", "line 1"),
        (["--passwords", "-"], "", "no password"),
    ],
)
def test_wrong_usage_is_told_without_repeating_a_secret(
    tegata: Tegata, words: list[str], stdin: str | None, told: str
) -> None:
    failure = tegata(*words, stdin=stdin).exception
    assert isinstance(failure, CommandFailure)
    assert failure.exit_code == 2
    assert told in str(failure)
    assert "secret" not in str(failure)


def test_without_a_way_in_the_setting_is_named(tegata: Tegata) -> None:
    failure = tegata(TEGATA_BOOTSTRAP_DATABASE_URL="").exception
    assert isinstance(failure, CommandFailure)
    assert "TEGATA_BOOTSTRAP_DATABASE_URL is not set" in str(failure)
