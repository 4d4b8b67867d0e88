"""A PostgreSQL on 127.0.0.1 that asks every login for its password (SCRAM), except the superuser's at the socket."""

from __future__ import annotations

import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import Cluster, fastest_directory
from tegata_credentials.rotation.postgres.scram import scram_verifier
from tegata_credentials.testing import free_port
from tegata_credentials.testing.outputs import remember

HOST = "127.0.0.1"
_RULES = "local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


@dataclass(frozen=True, slots=True)
class PasswordServer:
    """A running server. `log_statement=all`: at its end all it has logged is searched for passwords."""

    admin: ConnectionTarget

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return self.admin.port

    def execute(self, statement: Any) -> list[tuple[Any, ...]]:
        """Run a statement as the superuser."""
        with psycopg.connect(self.admin.psycopg_conninfo(), autocommit=True) as connection:
            done = connection.execute(statement)
            return done.fetchall() if done.description else []

    def give_password(self, role: str, database: str = "postgres") -> dict[str, Any]:
        """Give a role another password; return what a secret of this database holds then."""
        password = f"first-{secrets.token_urlsafe(24)}"
        remember(password)
        verifier = sql.Literal(str(scram_verifier(password)))
        statement = sql.SQL("alter role {} login password {}").format(sql.Identifier(role), verifier)
        self.execute(statement)
        place = {"engine": "postgres", "host": HOST, "port": self.port, "dbname": database}
        return {"username": role, "password": password, **place}

    def lets_in(self, secret: dict[str, Any]) -> str | None:
        """Return the role that a login works as; None if it is refused."""
        place = {name: secret[name] for name in ("host", "port", "dbname", "password")}
        try:
            with psycopg.connect(**place, user=secret["username"]) as connection:
                row = connection.execute("select current_user::text").fetchone()
        except psycopg.OperationalError:
            return None
        return None if row is None else str(row[0])


class PasswordCluster(Cluster):
    """A cluster that also listens on TCP, where everybody needs a password; `password_cluster` starts one."""

    @property
    def admin(self) -> ConnectionTarget:
        """The superuser's way in, through the socket; the port is that of TCP too."""
        return replace(super().admin, port=int(self.settings["port"]))


@contextmanager
def _kept_port() -> Iterator[int]:
    """Give a port that the system gives to nobody else meanwhile, not even while the server is down.

    Two sockets that both say SO_REUSEADDR, as PostgreSQL's does, may share a port of which one alone listens
    (socket(7)); whoever asks for any port is given another one.
    """
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind((HOST, free_port()))
        yield keeper.getsockname()[1]


@contextmanager
def password_cluster(bindir: Path | None = None, **settings: str) -> Iterator[PasswordCluster]:
    """Start a cluster with these settings; it ends with the block."""
    with _kept_port() as port, tempfile.TemporaryDirectory(prefix="password-server-", dir=fastest_directory()) as name:
        directory = Path(name)
        directory.chmod(0o755)  # the server is another user if root runs the tests
        rules = directory / "pg_hba.conf"
        rules.write_text(_RULES)
        rules.chmod(0o644)
        told = {"listen_addresses": HOST, "port": str(port), "hba_file": str(rules), **settings}
        cluster = PasswordCluster(bindir, settings=told)
        try:
            yield cluster
        finally:
            cluster.stop()


@contextmanager
def password_server(bindir: Path | None = None) -> Iterator[PasswordServer]:
    """Start one; it ends with the block."""
    with password_cluster(bindir, log_statement="all", log_min_messages="info") as cluster:
        yield PasswordServer(cluster.admin)
