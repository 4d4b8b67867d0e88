"""The pages' code runs and logs in, their commands work, and their tables are complete."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tegata_credentials import environment
from tegata_credentials.cli import build_parser, main
from tegata_credentials.doctor import REASONS
from tegata_credentials.testing import Laboratory

PACKAGE = Path(__file__).parents[1]
DOCS = PACKAGE.parents[1] / "docs"
README = (PACKAGE / "README.md").read_text()
REFERENCE = (DOCS / "reference/credentials.md").read_text()
AZURE = (DOCS / "how-to/passwordless-postgresql-on-azure.md").read_text()
AWS = (DOCS / "how-to/passwordless-postgresql-on-aws.md").read_text()

OID = "0f4c1d8a-3f0e-4f8a-9d0a-6a3f0b7d5e21"


def blocks(page: str, language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return [code for word, code in found if word == language]


def cells(page: str) -> set[str]:
    """What stands in backquotes in the first cells of a page's tables."""
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| ")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


@pytest.fixture
def surroundings(clean_environment: pytest.MonkeyPatch, lab: Laboratory, database: Any) -> Any:
    """Make the environment that a page describes, with the laboratory in the place of the cloud."""
    url = f"{database.url('app')}?sslrootcert={database.root}"

    def make(cloud: str) -> None:
        if cloud == "aws":
            lab.serve_database("writer", database.endpoint)
            database.create_role("rds_app")
            more = {"DATABASE_AUTH": "aws_iam", "RDS_ENDPOINT": database.endpoint.host, **lab.aws()}
            more["DATABASE_URL"] = url.replace("app@", "rds_app@")
        else:
            more = {"USE_MANAGED_IDENTITY": "true", "DATABASE_URL": url, **lab.app_service()}
        for name, value in more.items():
            clean_environment.setenv(name, value)

    return make


PROGRAMS = [("azure", code) for code in blocks(AZURE, "python")] + [("aws", code) for code in blocks(AWS, "python")]


@pytest.mark.anyio
@pytest.mark.parametrize(("cloud", "code"), PROGRAMS, ids=[f"{cloud}-{n}" for n, (cloud, _) in enumerate(PROGRAMS)])
async def test_each_program_of_the_how_to_pages_logs_in_without_a_password(surroundings, cloud, code):
    surroundings(cloud)
    namespace: dict[str, Any] = {}
    exec(compile(code, "documentation", "exec", dont_inherit=True), namespace)
    found = namespace["main"]()
    assert (await found if inspect.isawaitable(found) else found) == ("rds_app" if cloud == "aws" else "app")


@pytest.mark.anyio
async def test_the_readme_logs_in_without_a_password_and_answers_for_its_health(surroundings):
    surroundings("azure")
    namespace: dict[str, Any] = {}
    (code, _) = blocks(README, "python")
    exec(compile(code, "documentation", "exec", dont_inherit=True), namespace)
    assert await namespace["main"]() == ("app", 200)


@pytest.mark.anyio
async def test_the_readme_logs_in_with_a_secret_that_rotates(database, clean_environment, stand_in):
    (_, code) = blocks(README, "python")
    for name, value in stand_in.environment().items():
        clean_environment.setenv(name, value)
    place = {"host": "127.0.0.1", "port": database.endpoint.port, "dbname": "postgres"}
    client = stand_in.client()
    value = json.dumps({"username": "app", "password": "not-the-one", **place})
    client.create_secret(Name="shop-prod-secret-database", SecretString=value)
    client.close()
    namespace: dict[str, Any] = {}
    exec(compile(code, "documentation", "exec", dont_inherit=True), namespace)
    # The laboratory's database accepts no password; what counts is that the secret's user arrives there.
    with pytest.raises(Exception, match='user "app"'):
        await namespace["engine"].connect()
    await namespace["engine"].dispose()
    namespace["secrets"].close()
    assert stand_in.calls.count("GetSecretValue", secret="shop-prod-secret-database") >= 1


@pytest.mark.parametrize("page", [AZURE, AWS, README], ids=["azure", "aws", "readme"])
def test_the_commands_that_print_sql_work_as_written(page, capsys):
    commands = [line for code in blocks(page, "sh") for line in code.splitlines() if "credentials grants" in line]
    assert commands
    for command in commands:
        assert main(shlex.split(command.replace("OBJECT-ID", OID))[1:]) == 0
        assert "GRANT CONNECT ON DATABASE" in capsys.readouterr().out


def test_the_json_of_the_iam_policy_is_json():
    (policy,) = (json.loads(code) for code in blocks(AWS, "json"))
    assert policy["Statement"][0]["Action"] == "rds-db:connect"


def test_the_settings_in_the_pages_are_accepted():
    for page in (AZURE, AWS):
        texts = [code for code in blocks(page, "") if "\nDATABASE_URL=" in code]
        assert texts
        for text in texts:
            environment.read_environment(dict(line.split("=", 1) for line in text.splitlines()))


def test_every_variable_that_is_read_is_explained():
    source = inspect.getsource(environment)
    read = set(re.findall(r'"((?:DATABASE|DB|AZURE|AWS|RDS|USE)_[A-Z_]+)"', source))
    assert len(read) >= 11
    assert read <= cells(REFERENCE)


def test_every_problem_is_explained():
    names = set(re.findall(r'Problem\(\s*"(\w+)"', inspect.getsource(environment)))
    assert len(names) >= 10
    assert names <= cells(REFERENCE)


def test_every_finding_stands_in_the_reference_in_the_doctors_own_words():
    for name, words in REASONS.items():
        says, fix = (
            re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: found[1].upper(), text) for text in (words.says, words.fix)
        )
        assert f"| `{name}` | {says} | {fix} |" in REFERENCE.splitlines()


def test_every_option_is_explained():
    shown = build_parser().format_help() + REFERENCE
    for action in build_parser()._subparsers._group_actions[0].choices.values():
        for option in (name for each in action._actions for name in each.option_strings if name.startswith("--")):
            assert option == "--help" or option in shown


def test_the_settings_of_tegata_are_its_settings():
    known = (DOCS / "reference/settings.md").read_text()
    for page in (AZURE, AWS):
        names = set(re.findall(r"TEGATA_[A-Z_]+", page))
        assert len(names) >= 5
        assert all(f"`{name}`" in known for name in names)


@pytest.mark.parametrize("page", [AZURE, AWS], ids=["azure", "aws"])
def test_tegatas_own_set_up_prints_sql_for_the_cloud(page):
    (command,) = (code for code in blocks(page, "sh") if "--print" in code)
    words = shlex.split(
        command.replace("\\\n", " ").replace("APP-ID", OID).replace("OTHER-ID", OID.replace("0f", "1f"))
    )
    assert words[0] == "tegata"
    start = f"import sys; sys.argv = {words!r}; from tegata.cli.main import main; main()"
    finished = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, check=False, timeout=300)
    assert finished.returncode == 0, finished.stderr
    assert "pgaadauth" in finished.stdout or "rds_iam" in finished.stdout


def test_the_extras_in_the_pages_exist():
    extras = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    example = (PACKAGE.parents[1] / "examples/passwordless-fastapi/README.md").read_text()
    for page in (AZURE, AWS, README, example):
        found = re.findall(r'pip install "tegata-credentials\[([a-z,]+)\]"', page)
        assert found
        assert all(set(named.split(",")) <= set(extras) for named in found)


def test_every_page_is_reached_by_its_links():
    for page in (DOCS / "how-to").glob("passwordless*.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert (page.parent / link).resolve().exists(), link


def test_the_runbooks_say_no_longer_what_the_seed_said():
    for page in (AZURE, AWS):
        runbook = page.partition("## When it does not work")[2]
        for sqlstate in ("28P01", "28000", "3D000", "42501", "53300", "57P03"):
            assert sqlstate in runbook
        assert "tegata-credentials doctor" in runbook
    assert "**not** `CREATE ROLE`" in AZURE
    assert "Neither `pool_recycle` nor `pool_pre_ping` helps" in AZURE
