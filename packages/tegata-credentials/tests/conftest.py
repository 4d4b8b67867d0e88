"""Fixtures shared by the tests of the kit: one laboratory, and a PostgreSQL whose logins it judges."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import QuickPostgres, fastest_directory
from tegata_credentials.testing import Endpoint, Laboratory, server_settings
from tegata_credentials.testing.secrets_manager import StandIn

from .closing import until_connections_are_closed

POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")

# What azure-identity, boto3 and the drivers read: a test sees nothing of the machine it runs on.
_FOREIGN = ("AZURE_", "IDENTITY_", "IMDS_", "MSI_", "AWS_", "PG", "DATABASE_", "DB_", "USE_MANAGED_IDENTITY")


@dataclass(frozen=True, slots=True)
class JudgedServer:
    """A running PostgreSQL: over TCP the laboratory judges, over the socket everybody is let in."""

    endpoint: Endpoint
    socket: ConnectionTarget
    root: Path

    def create_role(self, name: str) -> None:
        with psycopg.connect(self.socket.psycopg_conninfo(), autocommit=True) as connection:
            if not connection.execute("select 1 from pg_roles where rolname = %s", [name]).fetchone():
                connection.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))

    def url(self, role: str, driver: str = "") -> str:
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        return f"{scheme}://{role}@{self.endpoint.host}:{self.endpoint.port}/postgres"

    def verified_url(self, role: str, driver: str = "") -> str:
        """The same with verified TLS, which nobody would have to ask for if this were not loopback."""
        return f"{self.url(role, driver)}?sslmode=verify-full&sslrootcert={quote(str(self.root), safe='')}"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def laboratory() -> Iterator[Laboratory]:
    with Laboratory() as opened:
        yield opened


@pytest.fixture
def lab(laboratory: Laboratory) -> Iterator[Laboratory]:
    """The laboratory, honest at the start of each test."""
    laboratory.reset()
    yield laboratory
    laboratory.reset()


@pytest.fixture(scope="session")
def servers(laboratory: Laboratory) -> Iterator[Callable[..., JudgedServer]]:
    """Start a PostgreSQL of this name when it is first asked for."""
    if not POSTGRES_15.exists():
        pytest.skip("PostgreSQL 15 is not installed")
    started: dict[str, tuple[QuickPostgres, str, JudgedServer]] = {}

    def start(name: str, host: str = "127.0.0.1") -> JudgedServer:
        if name not in started:
            settings, endpoint = server_settings(laboratory, name, host=host)
            directory = tempfile.mkdtemp(prefix="laboratory-", dir=fastest_directory())
            server = QuickPostgres(
                Path(directory, "pg"), bindir=POSTGRES_15, durable=False, settings=settings | {"max_connections": "150"}
            )
            found = server.start()
            socket = ConnectionTarget(found.host, found.user, found.database, endpoint.port)
            started[name] = server, directory, JudgedServer(endpoint, socket, laboratory.authority.root)
        return started[name][2]

    yield start
    said = ""
    for server, directory, _ in started.values():
        server.stop()
        said += server.log_file.read_text(errors="replace")
        shutil.rmtree(directory, ignore_errors=True)
    assert laboratory.leaks_in(said) == [], "a token is in the log of PostgreSQL"


@pytest.fixture(scope="session")
async def database(
    anyio_backend: str, servers: Callable[..., JudgedServer], laboratory: Laboratory
) -> AsyncIterator[JudgedServer]:
    """The writer, with the role `app` that the system-assigned identity may use.

    Being asynchronous it keeps one event loop for the session: asyncpg leaves a TLS connection to close by itself,
    and a loop that ends before that is warned about.
    """
    writer = servers("writer")
    writer.create_role("app")
    laboratory.map_role("app")
    yield writer
    await until_connections_are_closed()


@pytest.fixture(scope="session")
def ministack_programs() -> Path:
    """Where ministack and AWS's CLI are; with TEGATA_ACCEPTANCE_COMPLETE set they may not be missing."""
    programs = Path(sys.prefix, "ministack", "bin")
    if not (programs / "aws").exists():
        words = "ministack and AWS's CLI, which `make test` installs from requirements/ministack.txt"
        if os.environ.get("TEGATA_ACCEPTANCE_COMPLETE"):
            pytest.fail(f"missing: {words}")
        pytest.skip(f"needs {words}")
    return programs


@pytest.fixture(scope="session")
def secrets_manager() -> Iterator[StandIn]:
    with StandIn() as started:
        yield started


@pytest.fixture
def stand_in(secrets_manager: StandIn) -> StandIn:
    """Secrets Manager on loopback, empty and honest at the start of each test."""
    secrets_manager.reset()
    return secrets_manager


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No variable that a cloud or a driver reads; set what the test needs with the returned object."""
    for name in os.environ:
        if name.startswith(_FOREIGN):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch
