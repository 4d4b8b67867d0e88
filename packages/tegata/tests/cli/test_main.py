"""The command line itself: what it knows, how it ends, and how little it loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tegata.cli.main import app
from tegata.cli.settings import settings_page
from tegata.crypto.envelope import Envelope
from tegata.testing.warm_starts import run_to_its_end

COMMANDS = [
    "dev",
    "serve",
    "health",
    "migrate",
    "doctor",
    "apply",
    "diff",
    "export",
    "audit",
    "purge",
    "worker",
    "schema",
    "settings",
    "version",
    "keys",
]
TEGATA = Path(sys.executable).parent / "tegata"


def tegata(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the real command with an empty environment."""
    return run_to_its_end([TEGATA, *words], timeout=120, env={"PATH": "/usr/bin:/bin"} | variables)


def test_help_names_every_command_and_the_exit_statuses() -> None:
    told = CliRunner().invoke(app, ["--help"]).output
    for command in COMMANDS:
        assert command in told
    assert "Exit status" in told


@pytest.mark.parametrize("command", [*COMMANDS, "keys list", "keys rotate", "keys new-master-key"])
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["apply"],
        ["export"],
        ["migrate", "--check", "--bootstrap"],
        ["migrate", "--after", "1"],
        ["keys", "list"],
    ],
)
def test_wrong_usage_is_status_2(words: list[str]) -> None:
    assert CliRunner().invoke(app, words).exit_code == 2


def test_help_loads_nothing_heavy() -> None:
    """So that it is quick: no framework, driver or cryptography."""
    code = (
        "import sys, tegata.cli.main;"
        "print([m for m in ('pydantic', 'uvicorn', 'asyncpg', 'psycopg', 'cryptography', 'alembic', 'yaml', 'jinja2')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_new_master_keys_differ_and_can_be_used() -> None:
    first, second = (CliRunner().invoke(app, ["keys", "new-master-key"]).output.strip() for _ in range(2))
    assert first != second
    Envelope.from_text(first)


def test_version_is_the_distributions() -> None:
    assert CliRunner().invoke(app, ["version"]).output.strip().count(".") == 2


def test_schema_is_the_published_one() -> None:
    published = Path(__file__).parents[4] / "docs" / "reference" / "tegata.schema.json"
    assert CliRunner().invoke(app, ["schema"]).output == published.read_text()


def test_the_reference_of_settings_is_the_published_one() -> None:
    published = Path(__file__).parents[4] / "docs" / "reference" / "settings.md"
    assert published.read_text(encoding="utf-8") == settings_page(), "tegata settings > docs/reference/settings.md"


def test_unsafe_settings_are_all_named_without_a_traceback(tmp_path: Path) -> None:
    done = tegata("serve", TEGATA_BASE_URL="http://id.example.com", TEGATA_HOME=str(tmp_path))
    assert done.returncode == 2
    for name in ("TEGATA_BASE_URL", "TEGATA_MASTER_KEY", "TEGATA_DATABASE_URL"):
        assert name in done.stderr
    assert "Traceback" not in done.stderr


def test_a_master_key_that_is_none_is_told_without_repeating_it(tmp_path: Path) -> None:
    variables = {
        "TEGATA_BASE_URL": "https://id.example.com",
        "TEGATA_DATABASE_URL": "postgresql://tegata_app@127.0.0.1:1/x",
        "TEGATA_MASTER_KEY": "hunter2hunter2",
        "TEGATA_HOME": str(tmp_path),
    }
    done = tegata("serve", **variables)
    assert done.returncode == 2
    assert "TEGATA_MASTER_KEY" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout


@pytest.mark.parametrize("words", [["keys", "list", "-t", "demo"], ["doctor"], ["migrate"], ["export", "-t", "demo"]])
def test_commands_without_a_database_say_what_to_set(words: list[str], tmp_path: Path) -> None:
    done = tegata(*words, TEGATA_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "DATABASE_URL is not set" in done.stderr


@pytest.mark.parametrize("words", [["keys", "list", "-t", "demo"], ["doctor"], ["migrate", "--check"]])
def test_a_database_that_is_away_is_status_3(words: list[str], tmp_path: Path) -> None:
    url = "postgresql://somebody:hunter2@127.0.0.1:1/tegata?connect_timeout=2"
    done = tegata(
        *words,
        TEGATA_HOME=str(tmp_path),
        TEGATA_MAINTENANCE_DATABASE_URL=url,
        TEGATA_MIGRATION_DATABASE_URL=url,
    )
    assert done.returncode == 3, done.stderr
    assert "database" in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr
