"""A PostgreSQL that asks for passwords over TCP, the roles of a pair, and their secrets at the stand-in."""

from __future__ import annotations

import json
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.pq import PGconn

from tegata.testing.clusters import Cluster, fastest_directory
from tegata_credentials.rotation.postgres.pair import LoginPair
from tegata_credentials.rotation.postgres.setup import setup_statements
from tegata_credentials.testing.outputs import remember
from tegata_credentials.testing.secrets_manager import StandIn

RULES = "local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


@dataclass(frozen=True, slots=True)
class LiveDatabase:
    """One server; `execute` is the superuser's."""

    port: int
    execute: Callable[[Any], Any]

    def give_password(self, role: str) -> dict[str, Any]:
        """Give a role a new password; return the value of its secret."""
        password = f"first-{secrets.token_urlsafe(24)}"
        remember(password)
        verifier = PGconn.connect_start(b"host=/nowhere").encrypt_password(
            password.encode(), role.encode(), b"scram-sha-256"
        )
        login = sql.SQL("alter role {} login password {}")
        self.execute(login.format(sql.Identifier(role), sql.Literal(verifier.decode())))
        place = {"engine": "postgres", "host": "127.0.0.1", "port": self.port, "dbname": "postgres"}
        return {"username": role, "password": password, **place}


@pytest.fixture(scope="session")
def live_database() -> Iterator[LiveDatabase]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="live-", dir=fastest_directory()) as name:
        directory = Path(name)
        directory.chmod(0o755)
        rules = directory / "pg_hba.conf"
        rules.write_text(RULES)
        rules.chmod(0o644)
        settings = {"listen_addresses": "127.0.0.1", "port": str(port), "hba_file": str(rules), "log_statement": "all"}
        cluster = Cluster(settings=settings)
        admin = replace(cluster.admin, port=port)

        def execute(statement: Any) -> Any:
            with psycopg.connect(admin.psycopg_conninfo(), autocommit=True) as connection:
                return connection.execute(statement)

        yield LiveDatabase(port, execute)
        cluster.stop()


@dataclass(frozen=True, slots=True)
class LivePair:
    """Two logins that take turns, in the database and at the stand-in."""

    pair: LoginPair
    database: LiveDatabase
    arn: str
    name: str
    rotator: str

    def url(self, driver: str = "") -> str:
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        return f"{scheme}://{self.pair.group}@127.0.0.1:{self.database.port}/postgres"


@pytest.fixture
def live_pair(live_database: LiveDatabase, stand_in: StandIn) -> LivePair:
    pair = LoginPair.of(f"live_{secrets.token_hex(4)}")
    for statement in setup_statements(pair, f"{pair.group}_rotator"):
        live_database.execute(statement)
    client = stand_in.client()
    name, rotator = f"{pair.group}-secret-database", f"{pair.group}-secret-rotator"
    value = json.dumps(live_database.give_password(f"{pair.group}_rotator"))
    client.create_secret(Name=rotator, SecretString=value)
    arn = client.create_secret(Name=name, SecretString=json.dumps(live_database.give_password(pair.first)))["ARN"]
    client.close()
    return LivePair(pair, live_database, arn, name, rotator)
