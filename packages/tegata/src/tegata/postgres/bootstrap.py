"""The roles, the schema and what PUBLIC loses: the part of the set-up that needs an administrator.

Everything here is idempotent, changes nothing when nothing is missing, and takes back what somebody has given too much.
The administrator is a superuser, or the administrator of a managed service, who has CREATEROLE and may create schemas,
but is no superuser.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

import psycopg
from psycopg import sql

from tegata.postgres.bootstrap_pairs import LOGIN_PAIRS, ROTATOR, rotator_step
from tegata.postgres.bootstrap_step import script
from tegata.postgres.bootstrap_steps import AZURE_QUERY, STEPS
from tegata.postgres.logins import open_psycopg
from tegata.postgres.server_words import told
from tegata.postgres.target import ConnectionTarget

SCHEMA = "tegata"
OWNER = "tegata_owner"
APPLICATION = "tegata_app"
MAINTENANCE = "tegata_maint"
MIGRATOR = "tegata_migrator"
LOGINS = (APPLICATION, MAINTENANCE, MIGRATOR)
# Where logins take turns: those that begin, with whom passwords are set.
FIRST_LOGINS = (*(LOGIN_PAIRS[role][0] for role in LOGINS), ROTATOR)

# The database that every server has; Azure's documentation maps roles to identities there.
EVERYBODYS_DATABASE = "postgres"

# Serialises set-ups of one database that start at the same moment; any constant would do.
_LOCK = 0x7467_0001
_ATTEMPTS = 8
_CATALOGUE_ALONE = "set local search_path = pg_catalog, pg_temp;"

Provider = Literal["plain", "rds", "azure"]


class BootstrapError(Exception):
    """The set-up cannot be done; the message says what to do about it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is wanted beyond roles and schema.

    provider: "rds" grants `rds_iam` to the three logins; "azure" maps them to the Entra object ids in `object_ids`.
    passwords: by role. stay_member: an administrator who is no superuser may `SET ROLE` to the roles afterwards too.
    On Amazon RDS that would take the administrator's own password away: whoever is a member of `rds_iam`, even through
    another role, logs in by token alone. alternating: each of the three logins becomes a pair that takes turns, so that
    one's password changes while the other's is in use.
    """

    provider: Provider = "plain"
    object_ids: Mapping[str, UUID] = field(default_factory=dict)
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    stay_member: bool = False
    alternating: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was changed, and what was left alone: each a sentence, the latter with the statement for others to run."""

    changed: tuple[str, ...]
    left: tuple[str, ...]


def bootstrap(administrator: ConnectionTarget, plan: Plan | None = None) -> Outcome:
    """Make the roles and the schema in the target's database, and mend what has drifted.

    Without a plan, an administrator who is no superuser stays a member of the roles (`tegata dev` works through them).
    Raises `psycopg.errors.InsufficientPrivilege` if the administrator lacks CREATEROLE, or CREATE on the database.
    """
    plan = plan or Plan(stay_member=True)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            outcome = _run(administrator, plan)
        except _COLLISIONS as error:
            # Roles belong to the whole server, but advisory locks to a database: somebody sets up another one.
            if attempt == _ATTEMPTS or not _is_collision(error):
                raise
            time.sleep(0.05 * attempt)
        else:
            break
    if plan.provider != "azure":
        return outcome
    mapped = _map_identities(administrator.in_database(EVERYBODYS_DATABASE), plan)
    return Outcome(outcome.changed + mapped.changed, outcome.left + mapped.left)


def create_database(administrator: ConnectionTarget, name: str) -> bool:
    """Create the database `name`, owned by the administrator, unless it exists. Returns whether it was made now."""
    with open_psycopg(administrator, autocommit=True) as connection:
        if connection.execute("select from pg_database where datname = %s", (name,)).fetchone() is not None:
            return False
        statement = sql.SQL("create database {} template template0 encoding 'UTF8'").format(sql.Identifier(name))
        try:
            connection.execute(statement)
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            return False
        return True


def bootstrap_script(plan: Plan, *, database: str | None = None, create: bool = False) -> str:
    """Return what `bootstrap` would run, for psql. Passwords are not in it: psql's \\password sets them safely.

    With `database` it changes to that database first, and with `create` makes it.
    """
    if plan.passwords:
        raise BootstrapError("passwords are never printed; run the script, then psql's \\password for each role")
    parts = ["-- Roles and schema of Tegata. As an administrator: psql -f FILE. It may be run any number of times.\n"]
    parts.append("\\set ON_ERROR_STOP on\n")
    if database is not None:
        if create:
            parts.append(
                sql.SQL(
                    "set search_path = pg_catalog, pg_temp;\n"
                    "select format('create database %I template template0 encoding ''UTF8''', {})\n"
                    " where not exists (select from pg_database where datname = {}) \\gexec\n"
                )
                .format(database, database)
                .as_string(None)
            )
        parts.append(f"\\connect {_psql_word(database)}\n")
    parts += ["begin;\n", *_prologue(plan, {}), *_blocks(plan), "commit;\n"]
    if plan.provider == "azure":
        parts += [f"\\connect {EVERYBODYS_DATABASE}\n", "begin;\n", *_azure_script(plan), "commit;\n"]
    else:
        parts.append("-- Passwords, where roles need them: \\password tegata_app, and so on.\n")
    return "\n".join(parts)


def _run(administrator: ConnectionTarget, plan: Plan) -> Outcome:
    heard = _Heard()
    with open_psycopg(administrator) as connection:
        connection.add_notice_handler(heard)
        verifiers = {role: _verifier(connection, role, password) for role, password in plan.passwords.items()}
        for statement in (*_prologue(plan, verifiers), *_blocks(plan)):
            connection.execute(statement.encode())
    return heard.outcome()


def _map_identities(everybodys: ConnectionTarget, plan: Plan) -> Outcome:
    heard = _Heard()
    for role in LOGINS:
        if role not in plan.object_ids:
            heard.left.append(f"{role} is mapped to no Entra identity: no object id was given for it")
    try:
        with open_psycopg(everybodys) as connection:
            connection.add_notice_handler(heard)
            for statement in _azure_script(plan):
                connection.execute(statement.encode())
    except psycopg.errors.InvalidParameterValue as error:
        raise BootstrapError(
            "roles and schema are made, but this server cannot map roles to Entra identities "
            f"({error.diag.message_primary}): is it Azure Database for PostgreSQL with Entra authentication enabled?"
        ) from error
    return heard.outcome()


def _prologue(plan: Plan, verifiers: Mapping[str, str]) -> list[str]:
    values = {
        "provider": plan.provider,
        "stay_member": "on" if plan.stay_member else "off",
        "alternating": "on" if plan.alternating else "off",
        "verifiers": json.dumps(dict(verifiers)),
    }
    return [
        # Nothing of the set-up looks for a name anywhere but in the catalogue: `public` may hold somebody's traps.
        _CATALOGUE_ALONE,
        f"do $tegata$ begin perform pg_advisory_xact_lock({_LOCK}); end $tegata$;",
        # A set-up that only looks must not wait behind a busy table, nor make others wait behind itself.
        "set local lock_timeout = '3s';",
        "set local client_min_messages = notice;",
        *(_setting(name, value) for name, value in values.items()),
    ]


def _azure_script(plan: Plan) -> list[str]:
    object_ids = {role: str(object_id) for role, object_id in plan.object_ids.items()}
    return [
        _CATALOGUE_ALONE,
        "set local client_min_messages = notice;",
        _setting("object_ids", json.dumps(object_ids)),
        script("which Entra identity logs in as which role", AZURE_QUERY),
    ]


def _blocks(plan: Plan) -> list[str]:
    steps = (*STEPS, rotator_step()) if plan.alternating else STEPS
    return [script(step.title, step.query) for step in steps]


def _setting(name: str, value: str) -> str:
    """A value for the blocks, gone at the end of the transaction."""
    return sql.SQL("set local {} = {};").format(sql.Identifier("tegata_bootstrap", name), value).as_string(None)


def _verifier(connection: psycopg.Connection[tuple[object, ...]], role: str, password: str) -> str:
    """Return the SCRAM verifier (RFC 5802 §3), made here: a password in a statement would reach the server's log."""
    return connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()


def _psql_word(name: str) -> str:
    """A database name as an argument of a psql command. Raises `BootstrapError` for one that psql would split."""
    if not name or any(character in name for character in "'\"\\ \n=:/`"):
        raise BootstrapError(f"{name!r} is no database name that psql's \\connect takes plainly")
    return name


_COLLISIONS = (
    psycopg.errors.UniqueViolation,
    psycopg.errors.DuplicateObject,
    psycopg.errors.DuplicateSchema,
    psycopg.errors.InternalError_,
    psycopg.errors.DeadlockDetected,
    # The others' set-up takes longer than this one's lock_timeout.
    psycopg.errors.LockNotAvailable,
)


def _is_collision(error: psycopg.Error) -> bool:
    if isinstance(error, psycopg.errors.InternalError_):
        return "tuple concurrently" in str(error)
    return True


class _Heard:
    """What the blocks say while they run."""

    def __init__(self) -> None:
        self.changed: list[str] = []
        self.left: list[str] = []

    def __call__(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        text = told(diagnostic.message_primary or "")  # it holds names that others may have chosen
        if text.startswith("changed: "):
            self.changed.append(text.removeprefix("changed: "))
        elif text.startswith("left alone"):
            self.left.append(text.removeprefix("left alone: "))

    def outcome(self) -> Outcome:
        return Outcome(tuple(self.changed), tuple(self.left))
