"""Bringing the schema to what this release needs: migrations by Alembic, then the stored functions.

Runs as a login that is neither superuser nor BYPASSRLS and may `SET ROLE tegata_owner`. Needs a direct connection: its
session lock does not survive a transaction pooler.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from tegata.postgres.bootstrap import OWNER, SCHEMA
from tegata.postgres.stored_functions import apply_functions, changed_functions, wanted_functions
from tegata.postgres.target import ConnectionTarget

# Two migrators at once: without a lock the second dies in the middle with a unique violation in the catalogue.
_LOCK = 0x7467_0002


class MigrationError(Exception):
    """The schema cannot be brought up to date; the message says why."""


@dataclass(frozen=True, slots=True)
class Pending:
    """What `migrate` would do."""

    revisions: tuple[str, ...]
    functions: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.revisions or self.functions)


def newest_revision() -> str:
    """Return the revision that this release needs."""
    with _config() as config:
        head = ScriptDirectory.from_config(config).get_current_head()
    assert head is not None
    return head


def pending(target: ConnectionTarget) -> Pending:
    """Return what is missing; changes nothing."""
    with psycopg.connect(_as_owner(target).psycopg_conninfo(), autocommit=True) as connection:
        return _pending(connection)


def migrate(
    target: ConnectionTarget, *, attempts: int = 10, wait_seconds: float = 60.0, lock_timeout_seconds: float = 3.0
) -> Pending:
    """Apply what is missing and return it. One migrator at a time; others wait up to `wait_seconds`.

    A statement that cannot get its table lock within `lock_timeout_seconds` gives up, so that it does not queue up all
    traffic behind it, and is tried again up to `attempts` times. Raises `MigrationError`.
    """
    with psycopg.connect(_as_owner(target).psycopg_conninfo(), autocommit=True) as guard:
        _take_lock(guard, wait_seconds)
        missing = _pending(guard)
        for attempt in range(1, attempts + 1):
            try:
                _apply(target, lock_timeout_seconds)
            except psycopg.errors.LockNotAvailable as busy:
                if attempt == attempts:
                    raise MigrationError(f"a table stays locked by others after {attempts} attempts") from busy
                time.sleep(min(0.2 * attempt, 2.0))
            else:
                break
    return missing


def migration_script() -> str:
    """Return everything as SQL text, for whoever applies it by hand as the owner."""
    output = io.StringIO()
    with _config(output) as config:
        command.upgrade(config, "head", sql=True)
    return "\n".join([output.getvalue(), *(function.script for function in wanted_functions())])


def _apply(target: ConnectionTarget, lock_timeout_seconds: float) -> None:
    def connect() -> psycopg.Connection[tuple[object, ...]]:
        connection = psycopg.connect(_as_owner(target).psycopg_conninfo(), autocommit=True)
        connection.execute(f"set lock_timeout = {int(lock_timeout_seconds * 1000)}".encode())
        connection.autocommit = False
        return connection

    with _sqlalchemy_errors_unwrapped(), _config() as config:
        engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    with connect() as installer:
        apply_functions(installer, changed_functions(installer))


def _pending(connection: psycopg.Connection[tuple[object, ...]]) -> Pending:
    current: str | None = None
    if _is_true(connection, "select to_regclass(%s) is not null", f"{SCHEMA}.schema_version"):
        row = connection.execute("select version_num from tegata.schema_version").fetchone()
        current = str(row[0]) if row else None
    elif not _is_true(connection, "select exists (select from pg_namespace where nspname = %s)", SCHEMA):
        raise MigrationError(f"there is no schema {SCHEMA}: let an administrator run the bootstrap first")
    return Pending(tuple(_revisions_after(current)), tuple(function.name for function in changed_functions(connection)))


def _revisions_after(current: str | None) -> Sequence[str]:
    with _config() as config:
        scripts = ScriptDirectory.from_config(config)
        every = [script.revision for script in reversed(list(scripts.walk_revisions()))]
    if current is not None and current not in every:
        raise MigrationError(f"the schema is at revision {current}, which is newer than this release knows")
    return every if current is None else every[every.index(current) + 1 :]


def _take_lock(connection: psycopg.Connection[tuple[object, ...]], wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    while not _is_true(connection, "select pg_try_advisory_lock(%s)", _LOCK):
        if time.monotonic() > deadline:
            raise MigrationError(f"another migration has been running for {wait_seconds:g} s")
        time.sleep(0.1)


def _is_true(connection: psycopg.Connection[tuple[object, ...]], query: str, *arguments: object) -> bool:
    row = connection.execute(query.encode(), arguments).fetchone()
    return bool(row and row[0])


def _as_owner(target: ConnectionTarget) -> ConnectionTarget:
    return target.taking_role(OWNER)


@contextmanager
def _config(output: io.StringIO | None = None) -> Iterator[Config]:
    with as_file(files("tegata.postgres").joinpath("migrations")) as directory:
        config = Config(output_buffer=output) if output else Config()
        # % starts an interpolation in Alembic's configuration.
        config.set_main_option("script_location", str(directory).replace("%", "%%"))
        yield config


@contextmanager
def _sqlalchemy_errors_unwrapped() -> Iterator[None]:
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise error.orig from None
        raise
