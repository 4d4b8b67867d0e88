"""Real PostgreSQL servers for tests: one cluster for a test run, one migrated database for whoever asks."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psycopg
from psycopg import sql

from tegata.postgres.bootstrap import APPLICATION, MAINTENANCE, OWNER, bootstrap
from tegata.postgres.embedded import EmbeddedPostgres, ServerAccount
from tegata.postgres.migrate import migrate
from tegata.postgres.target import ConnectionTarget
from tegata.testing.patience import PATIENCE_SECONDS
from tegata_credentials.testing.outputs import keep

_TEMPLATE = "migrated_template"


@dataclass(frozen=True, slots=True)
class MigratedDatabase:
    """The ways into one database with the complete schema and no rows."""

    app: ConnectionTarget  # the application role: what the server uses
    maintenance: ConnectionTarget  # cross-tenant work: what the command line uses
    owner: ConnectionTarget  # owns the schema: what migrations use
    admin: ConnectionTarget  # superuser: sees everything, row-level security does not bind it

    @classmethod
    def of(cls, admin: ConnectionTarget) -> MigratedDatabase:
        """Derive the other ways in from the superuser's (the socket trusts whoever reaches it)."""
        return cls(
            app=admin.entering_as(APPLICATION),
            maintenance=admin.entering_as(MAINTENANCE),
            owner=admin.taking_role(OWNER),
            admin=admin,
        )


class QuickPostgres(EmbeddedPostgres):
    """An `EmbeddedPostgres` whose data directory is a copy: initdb runs once in a process for each installation."""

    def _make_cluster(self, bindir: Path, account: ServerAccount) -> None:
        made = _made_clusters() / bindir.as_posix().strip("/").replace("/", "-")
        if not made.exists():
            super()._make_cluster(bindir, account)
            half = Path(tempfile.mkdtemp(dir=_made_clusters()), "data")
            _copy(self._data, half)
            with suppress(OSError):  # another thread was quicker
                half.rename(made)
        else:
            _copy(made, self._data)


@cache
def _made_clusters() -> Path:
    """Where the fresh clusters are that others are copied from; removed when the process ends."""
    directory = tempfile.mkdtemp(prefix="tegata-initdb-", dir=fastest_directory())
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)


def _copy(source: Path, target: Path) -> None:
    # Owners and modes too, which shutil would not keep.
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)  # noqa: S603, S607 - our own directories


class Cluster:
    """A PostgreSQL server that keeps nothing. Databases are copies of a migrated template and take milliseconds."""

    def __init__(self, bindir: Path | None = None, *, settings: Mapping[str, str] | None = None) -> None:
        self.is_installed = bindir is None or bindir.exists()
        self.bindir = bindir
        # Autovacuum would change plans, hold locks and count in statistics at moments that no test has chosen.
        self.settings = {"max_connections": "200", "autovacuum": "off", **(settings or {})}
        self._directory = tempfile.mkdtemp(prefix="tegata-test-", dir=fastest_directory())
        self._server = QuickPostgres(Path(self._directory, "pg"), bindir=bindir, durable=False, settings=self.settings)
        self._numbers = itertools.count(1)
        self._template_is_made = False
        self._admin: ConnectionTarget | None = None

    @property
    def admin(self) -> ConnectionTarget:
        """The superuser's way into the database `postgres`. Starts the server when first asked."""
        if self._admin is None:
            self._admin = self._server.start()
        return self._admin

    def restart(self) -> None:
        """Stop the server and start it again, as a maintenance window would."""
        self._server.stop()
        keep(self._server.log_file)
        self._server.start()

    def stop(self) -> None:
        """Stop the server, if it runs, and remove its files."""
        self._server.stop()
        keep(self._server.log_file)
        shutil.rmtree(self._directory, ignore_errors=True)

    @contextmanager
    def empty_database(self) -> Iterator[ConnectionTarget]:
        """A database without the schema."""
        with self._database("template0") as target:
            yield target

    @contextmanager
    def migrated_database(self) -> Iterator[MigratedDatabase]:
        """A database with the schema, dropped at the end."""
        if not self._template_is_made:
            self._execute(sql.SQL("create database {}").format(sql.Identifier(_TEMPLATE)))
            template = self.admin.in_database(_TEMPLATE)
            bootstrap(template)
            migrate(template)
            self._template_is_made = True
        with self._database(_TEMPLATE) as target:
            # Rights on the database itself are not copied with a template; the bootstrap has taken this one away.
            self._execute(
                sql.SQL("revoke temporary on database {} from public").format(sql.Identifier(target.database))
            )
            yield MigratedDatabase.of(target)

    @contextmanager
    def _database(self, template: str) -> Iterator[ConnectionTarget]:
        name = f"test_{next(self._numbers)}"
        # Copying files takes half as long as writing every page into the log, which is the default.
        made = sql.SQL("create database {} template {} strategy file_copy")
        self._execute(made.format(sql.Identifier(name), sql.Identifier(template)))
        try:
            yield self.admin.in_database(name)
        finally:
            self._execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        with psycopg.connect(self.admin.psycopg_conninfo(), autocommit=True) as connection:
            while True:
                try:
                    connection.execute(statement)
                except psycopg.errors.ObjectInUse:
                    # A session that was closed, or ended, has not left the database within the server's 5 seconds.
                    if time.monotonic() > deadline:
                        raise
                else:
                    return


def fastest_directory() -> str | None:
    """Memory where there is room for it, else the temporary directory (pytest's paths are too long for a socket)."""
    memory = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a private directory in it
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2**30
    return str(memory) if roomy else None
