"""A database whose logins need passwords, with the pairs of logins and a rotator, and the secrets in files."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import Result
from psycopg import sql
from typer.testing import CliRunner

from tegata.cli.main import app
from tegata.postgres.bootstrap import Plan, bootstrap
from tegata.postgres.target import ConnectionTarget
from tegata.testing.password_server import HOST, PasswordCluster, password_cluster
from tegata.testing.warm_starts import WarmPopen
from tegata_credentials.rotation.file_store import FileVersions
from tegata_credentials.rotation.postgres import LoginPair
from tegata_credentials.rotation.postgres.setup import setup_statements
from tegata_credentials.testing.outputs import remember
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import SecretVersion

TEGATA = Path(sys.executable).parent / "tegata"
ROLES = ("tegata_app", "tegata_maint")


@pytest.fixture(scope="package")
def cluster() -> Iterator[PasswordCluster]:
    with password_cluster(log_statement="ddl") as made:
        yield made


@pytest.fixture
def new_cluster() -> Iterator[PasswordCluster]:
    """One of its own, without any role: roles are shared by all databases of a cluster."""
    with password_cluster(log_statement="ddl") as made:
        yield made


@dataclass
class Place:
    """One database with its secrets, and the environment of an operator."""

    admin: ConnectionTarget
    directory: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> FileVersions:
        return FileVersions(self.directory)

    @property
    def address(self) -> str:
        return f"postgresql://{HOST}:{self.admin.port}/{self.admin.database}"

    def ask(self, statement: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.admin.psycopg_conninfo(), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def set_password(self, role: str, password: str) -> None:
        """As a verifier: the server writes statements down."""
        with psycopg.connect(self.admin.psycopg_conninfo(), autocommit=True) as connection:
            verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
            connection.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(verifier)))

    def age(self, name: str, days: float) -> None:
        """Let the labels of a secret be so many days older."""
        path = self.directory / name / "labels.json"
        found = json.loads(path.read_text())
        for mark in found["labels"].values():
            mark["since"] -= days * 86_400
        path.write_text(json.dumps(found))

    def session(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.admin.psycopg_conninfo())

    def wait_for(self, query: bytes, wanted: list[tuple[Any, ...]]) -> None:
        deadline = time.monotonic() + 60
        while (found := self.ask(query)) != wanted:
            assert time.monotonic() < deadline, found
            time.sleep(0.05)

    def current(self, name: str) -> dict[str, Any]:
        return self.store.read(name, stage="AWSCURRENT").document()

    def versions(self, name: str) -> list[SecretVersion]:
        store = self.store
        return [store.read(name, version=version) for version in store.labels(name).versions]

    def logs_in(self, document: dict[str, Any]) -> bool:
        try:
            with psycopg.connect(
                host=document["host"],
                port=document["port"],
                dbname=document["dbname"],
                user=document["username"],
                password=document["password"],
            ) as connection:
                connection.execute("select 1")
        except psycopg.OperationalError:
            return False
        return True

    def run(self, *words: str, stdin: str | None = None, **changed: str) -> Result:
        """Run a command in this process."""
        return CliRunner().invoke(app, words, input=stdin, env=self.settings | changed)  # type: ignore[return-value]

    def environment(self, **changed: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], **self.settings, **changed}

    def start(self, *words: str, **changed: str) -> subprocess.Popen[str]:
        """Start a command as a process."""
        return WarmPopen(
            [str(TEGATA), *words],
            env=self.environment(**changed),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.fixture(scope="package")
def administrator(cluster: PasswordCluster) -> Iterator[ConnectionTarget]:
    """One database for all tests, with pairs of logins and a rotator: what is a test's own is in its files."""
    with cluster.migrated_database() as database:
        bootstrap(database.admin, Plan(alternating=True))
        made = Place(database.admin, Path())
        for role in ROLES:
            for statement in setup_statements(LoginPair.of(role), "rotator"):
                made.ask(statement.encode())
        yield database.admin


@pytest.fixture
def place(administrator: ConnectionTarget, tmp_path: Path) -> Iterator[Place]:
    """No secret but the rotator's, and nothing in the queue."""
    directory = tmp_path / "secrets"
    directory.mkdir(mode=0o700)
    made = Place(administrator, directory)
    made.ask(b"truncate tegata_jobs.procrastinate_jobs, tegata_jobs.procrastinate_workers cascade")
    password = secrets.token_urlsafe(32)
    remember(password)
    made.set_password("rotator", password)
    made.store.create("rotator", HiddenText(json.dumps({"username": "rotator", "password": password})))
    made.settings = {
        "TEGATA_HOME": str(tmp_path / "none"),
        "TEGATA_DATABASE_AUTH": "secret",
        "TEGATA_DATABASE_SECRET": f"file:{directory}/database",
        "TEGATA_DATABASE_URL": made.address,
        "TEGATA_MAINTENANCE_DATABASE_SECRET": f"file:{directory}/maintenance",
        "TEGATA_MAINTENANCE_DATABASE_URL": made.address,
        "TEGATA_ROTATION_ADMINISTRATOR": f"file:{directory}/rotator",
    }
    yield made
    for name in ("database", "maintenance", "mail", "jwt"):
        for version in made.versions(name) if (directory / name).exists() else []:
            for value in _secrets_in(version):
                remember(value)


def _secrets_in(version: SecretVersion) -> Iterator[str]:
    try:
        document = json.loads(version.text)
    except ValueError:
        yield str(version.text)
        return
    yield document.get("password", "")
    yield from (key["jwk"].get("d", "") for key in document.get("keys", ()))
