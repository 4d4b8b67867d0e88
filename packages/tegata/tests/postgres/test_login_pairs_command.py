"""`tegata db bootstrap --alternating`: pairs from an empty server, their passwords, and what does not go together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from tegata.cli.failures import CommandFailure
from tegata.cli.main import app
from tegata.testing.clusters import Cluster

Tegata = Callable[..., Result]
FIRST = {"tegata_app_a", "tegata_maint_a", "tegata_migrator_a", "tegata_rotator"}


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """A server of this module's own: roles belong to the whole of it."""
    cluster = Cluster()
    yield cluster
    cluster.stop()


@pytest.fixture
def tegata(server: Cluster, tmp_path: Path) -> Tegata:
    url = server.admin.in_database("identity").psycopg_conninfo()
    settings = {"TEGATA_HOME": str(tmp_path / "none"), "TEGATA_BOOTSTRAP_DATABASE_URL": url}

    def invoke(*words: str, stdin: str | None = None) -> Result:
        words = ("db", "bootstrap", "--alternating", *words)
        return CliRunner().invoke(app, words, input=stdin, env=settings)  # type: ignore[return-value]

    return invoke


def test_passwords_are_made_for_those_who_begin_and_given_to_whom_one_likes(tegata: Tegata, server: Cluster) -> None:
    made = tegata("--create-database", "--generate-passwords")
    assert made.exit_code == 0, made.output
    printed = dict(line.split("=", 1) for line in made.output.splitlines() if line.startswith("tegata_"))
    assert set(printed) == FIRST
    given = tegata("--passwords", "-", stdin="tegata_app_b=a password of the second\n")
    assert given.output.splitlines() == ["changed: tegata_app_b has a new password"]
    with psycopg.connect(server.admin.in_database("identity").psycopg_conninfo()) as connection:
        query = "select rolname::text from pg_authid where rolpassword like 'SCRAM-SHA-256$%' order by 1"
        assert {row[0] for row in connection.execute(query)} == FIRST | {"tegata_app_b"}
    assert tegata().output.strip() == "roles and schema are as they should be"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--for", "rds"], "--alternating is for passwords"),
        (["--for", "azure"], "--alternating is for passwords"),
        (["--passwords", "-"], "the role one of tegata_app_a, tegata_app_b,"),
    ],
)
def test_what_does_not_go_together_is_told(tegata: Tegata, words: list[str], told: str) -> None:
    failure = tegata(*words, stdin="tegata_app=a password of nobody\n").exception
    assert isinstance(failure, CommandFailure)
    assert failure.exit_code == 2
    assert told in str(failure)


def test_the_script_for_psql_holds_pairs_and_rotator(tegata: Tegata) -> None:
    printed = tegata("--print").output
    assert "tegata_app_rotation" in printed
    assert "create role tegata_rotator" in printed
