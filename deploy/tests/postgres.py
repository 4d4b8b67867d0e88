"""A real PostgreSQL as compose.yaml has it: on a socket alone, where everybody needs a password."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from types import TracebackType

import psycopg
from psycopg import sql

from tegata.postgres.embedded import EmbeddedPostgres
from tegata.testing.clusters import fastest_directory

_PATIENCE_SECONDS = 60


class SocketPostgres:
    """The server; `socket` is the folder that containers get, `password` the administrator's."""

    def __init__(self, password: str) -> None:
        self.password = password
        self._directory = Path(tempfile.mkdtemp(prefix="tegata-deploy-", dir=fastest_directory()))
        self._directory.chmod(0o755)  # the server is another user if root runs the tests
        self._rules = self._directory / "pg_hba.conf"
        self._allow("local all postgres trust\n")
        settings = {"hba_file": str(self._rules), "unix_socket_permissions": "0777"}
        self._server = EmbeddedPostgres(self._directory / "pg", durable=False, settings=settings)

    def __enter__(self) -> SocketPostgres:
        target = self._server.start()
        self.socket = Path(target.host)
        os.chmod(self.socket, 0o711)
        with psycopg.connect(target.psycopg_conninfo(), autocommit=True) as connection:
            connection.execute(sql.SQL("alter role postgres password {}").format(sql.Literal(self.password)))
            self._allow("local all all scram-sha-256\n")
            connection.execute("select pg_reload_conf()")
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self._lets_in(target.psycopg_conninfo()):
            assert time.monotonic() < deadline, "the new rules are not followed"
            time.sleep(0.02)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def execute(self, statement: str, database: str = "tegata") -> list[tuple[object, ...]]:
        """Run a statement as the administrator."""
        with psycopg.connect(
            host=str(self.socket), user="postgres", password=self.password, dbname=database, autocommit=True
        ) as connection:
            done = connection.execute(statement)  # type: ignore[arg-type]
            return done.fetchall() if done.description else []

    def stop(self) -> None:
        """Be away."""
        self._server.stop()

    def start(self) -> None:
        """Be back."""
        self._server.start()
        os.chmod(self.socket, 0o711)

    def _allow(self, rules: str) -> None:
        self._rules.write_text(rules)
        self._rules.chmod(0o644)

    def _lets_in(self, conninfo: str) -> bool:
        try:
            psycopg.connect(conninfo).close()
        except psycopg.OperationalError:
            return False
        return True
