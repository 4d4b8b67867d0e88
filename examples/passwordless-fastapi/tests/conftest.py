"""The example application on a real PostgreSQL: one that wants a password, one whose logins a laboratory judges."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tegata.testing.clusters import QuickPostgres, fastest_directory
from tegata_credentials.testing import Laboratory, free_port, server_settings

EXAMPLE = Path(__file__).parents[1]
POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")
PASSWORD = "only for this test: %&#/"

sys.path.insert(0, str(EXAMPLE))


@contextmanager
def running(bindir: Path | None, settings: dict[str, str]) -> Iterator[str]:
    """Run a server with the example's table and the role `appuser`; gives its socket's connection string."""
    directory = tempfile.mkdtemp(prefix="passwordless-", dir=fastest_directory())
    server = QuickPostgres(Path(directory, "pg"), bindir=bindir, durable=False, settings=settings)
    try:
        found = server.start()
        conninfo = f"host={found.host} port={settings['port']} user={found.user} dbname=postgres"
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute((EXAMPLE / "schema.sql").read_bytes())
            connection.execute(sql.SQL("create role appuser login password {}").format(sql.Literal(PASSWORD)))
            connection.execute("grant select, insert on notes to appuser")
        yield conninfo
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def password_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that asks for a password over TCP; the address of its database without user and password."""
    rules = tmp_path_factory.mktemp("rules") / "pg_hba.conf"
    rules.write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    port = str(free_port())
    with running(None, {"listen_addresses": "127.0.0.1", "port": port, "hba_file": str(rules)}):
        yield f"127.0.0.1:{port}/postgres"


@pytest.fixture(scope="module")
def laboratory() -> Iterator[Laboratory]:
    if not POSTGRES_15.exists():
        pytest.skip("PostgreSQL 15 is not installed")
    with Laboratory() as laboratory:
        laboratory.map_role("appuser")
        yield laboratory


@pytest.fixture(scope="module")
def judged(laboratory: Laboratory) -> Iterator[tuple[str, str]]:
    """A server whose logins the laboratory judges: the whole URL, and the socket's connection string."""
    settings, endpoint = server_settings(laboratory, "database")
    with running(POSTGRES_15, settings) as conninfo:
        root = laboratory.authority.root
        yield (
            f"postgresql+asyncpg://appuser@{endpoint.host}:{endpoint.port}/postgres?sslrootcert={root}",
            conninfo,
        )


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing of the machine's own clouds and databases."""
    for name in os.environ:
        if name.startswith(("AZURE_", "IDENTITY_", "MSI_", "AWS_", "PG", "DATABASE_", "DB_", "USE_MANAGED_IDENTITY")):
            monkeypatch.delenv(name)
    return monkeypatch
