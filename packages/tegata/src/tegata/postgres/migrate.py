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
from sqlalchemy.pool import StaticPool

from tegata.postgres.audit_months import add_months
from tegata.postgres.bootstrap import OWNER, SCHEMA
from tegata.postgres.jobs_schema import JOBS_SCHEMA
from tegata.postgres.logins import PsycopgConnection, open_psycopg
from tegata.postgres.stored_functions import apply_functions, changed_functions, wanted_functions
from tegata.postgres.target import ConnectionTarget

# Two migrators at once: without a lock the second dies in the middle with a unique violation in the catalogue.
_LOCK = 0x7467_0002
_BOOTSTRAP_FIRST = "let an administrator run `tegata db bootstrap` first"


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
    with _open_as_owner(target) as connection:
        return _pending(connection)


def migrate(
    target: ConnectionTarget,
    *,
    to: str = "head",
    attempts: int = 10,
    wait_seconds: float = 60.0,
    lock_timeout_seconds: float = 3.0,
) -> Pending:
    """Apply what is missing and return it. One migrator at a time; others wait up to `wait_seconds`.

    A statement that cannot get its table lock within `lock_timeout_seconds` gives up, so that it does not queue up all
    traffic behind it, and is tried again up to `attempts` times. What was committed stays, so a migration that was
    interrupted, even by SIGKILL, goes on where it was. `to` stops at an earlier revision, without the functions, which
    belong to the newest. Raises `MigrationError`.
    """
    with _open_as_owner(target) as session:
        # One session does everything: where the connection breaks, the lock and the work end together.
        _take_lock(session, wait_seconds)
        missing = _pending(session, to)
        session.execute(f"set lock_timeout = {int(lock_timeout_seconds * 1000)}".encode())
        for attempt in range(1, attempts + 1):
            try:
                _apply(session, to)
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as busy:
                if attempt == attempts:
                    raise MigrationError(f"a table stays locked by others after {attempts} attempts") from busy
                time.sleep(min(0.2 * attempt, 2.0))
            else:
                break
    return missing


def migration_script(*, after: str | None = None, to: str = "head") -> str:
    """Return everything as SQL text, for psql and a member of the owner role.

    With `after`, only what that revision lacks, and the functions; with `to`, up to that revision and without them.
    Raises `MigrationError` for an unknown revision.
    """
    _revisions_after(after)
    output = io.StringIO()
    with _config(output) as config:
        command.upgrade(config, f"{after}:{to}" if after else to, sql=True)
    parts = [_SCRIPT_HEAD, output.getvalue()]
    if to == "head":
        parts += ["begin;", *(function.script for function in wanted_functions()), "commit;", ""]
    return "\n".join(parts)


# A plain `set` holds for all the transactions of the script, and a busy table ends it rather than stop all traffic.
_SCRIPT_HEAD = f"""\
-- The schema of Tegata, for psql. Run it again after an error only from the revision that schema_version then shows
-- (tegata migrate --sql --after REVISION).
\\set ON_ERROR_STOP on
set role {OWNER};
set search_path = pg_catalog, pg_temp;
set lock_timeout = '3s';
set statement_timeout = '30min';
select pg_advisory_lock({_LOCK});
"""


def _apply(session: PsycopgConnection, to: str) -> None:
    session.autocommit = False
    try:
        with _sqlalchemy_errors_unwrapped(), _config() as config:
            # The pool hands out this one session, and never closes it.
            engine = create_engine("postgresql+psycopg://", creator=lambda: session, poolclass=StaticPool)
            with engine.connect() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, to)
        if to == "head":
            apply_functions(session, changed_functions(session))
            session.commit()
            add_months(session)
            session.commit()
    finally:
        if not session.closed:
            session.rollback()
            session.autocommit = True


def _pending(connection: PsycopgConnection, to: str = "head") -> Pending:
    current: str | None = None
    if _is_true(connection, "select to_regclass(%s) is not null", f"{SCHEMA}.schema_version"):
        row = connection.execute("select version_num from tegata.schema_version").fetchone()
        current = str(row[0]) if row else None
    # Before the first revision, rather than in the middle: this login may not make them.
    for schema in (SCHEMA, JOBS_SCHEMA):
        if not _is_true(connection, "select exists (select from pg_namespace where nspname = %s)", schema):
            raise MigrationError(f"there is no schema {schema}: {_BOOTSTRAP_FIRST}")
    missing = _revisions_after(current)
    if to != "head":
        return Pending(tuple(revision for revision in missing if revision <= to), ())
    return Pending(tuple(missing), tuple(function.name for function in changed_functions(connection)))


def _revisions_after(current: str | None) -> Sequence[str]:
    with _config() as config:
        scripts = ScriptDirectory.from_config(config)
        every = [script.revision for script in reversed(list(scripts.walk_revisions()))]
    if current is not None and current not in every:
        raise MigrationError(f"the schema is at revision {current}, which is newer than this release knows")
    return every if current is None else every[every.index(current) + 1 :]


def _take_lock(connection: PsycopgConnection, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    while not _is_true(connection, "select pg_try_advisory_lock(%s)", _LOCK):
        if time.monotonic() > deadline:
            raise MigrationError(f"another migration has been running for {wait_seconds:g} s")
        time.sleep(0.1)


def _is_true(connection: PsycopgConnection, query: str, *arguments: object) -> bool:
    row = connection.execute(query.encode(), arguments).fetchone()
    return bool(row and row[0])


def _open_as_owner(target: ConnectionTarget) -> PsycopgConnection:
    try:
        return open_psycopg(target.taking_role(OWNER), autocommit=True)
    except psycopg.OperationalError as error:
        # A refused login has no SQLSTATE in libpq, so this goes by the only name of a role that can be in it.
        if f'"{OWNER}"' in str(error):
            raise MigrationError(f"this login cannot become {OWNER}: {_BOOTSTRAP_FIRST}") from error
        raise


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
