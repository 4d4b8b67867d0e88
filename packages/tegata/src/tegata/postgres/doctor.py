"""`tegata doctor`: proves on a live database that no tenant can reach another's rows.

Two parts. The catalogue is asked for every known hole (`doctor_checks`); any role that may connect can ask. Then the
wall is tried out (`doctor_probe`), because a definition that looks right is not yet one that holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql

from tegata.postgres.bootstrap import APPLICATION, MAINTENANCE, OWNER, SCHEMA
from tegata.postgres.doctor_checks import CHECKS
from tegata.postgres.doctor_probe import Probed, probe_application, probe_canaries
from tegata.postgres.target import ConnectionTarget

# Tables that are no tenant's, and what the application may do with them.
EXEMPT: dict[str, frozenset[str]] = {
    "tenant_directory": frozenset(),
    "schema_version": frozenset({"SELECT"}),
}
# Functions that may run with their owner's rights.
DEFINERS = (f"{SCHEMA}.find_tenant(text)",)
# The one condition, as PostgreSQL prints it when no schema is on the search path.
EXPECTED = f"(tenant_id = ( SELECT {SCHEMA}.current_tenant() AS current_tenant))"


@dataclass(frozen=True, slots=True)
class Finding:
    """One hole: which check, which object, what it means and how to mend it."""

    check: str
    object: str
    explanation: str
    fix: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the doctor has found, and what it has not been able to try."""

    findings: tuple[Finding, ...]
    checks: int  # questions asked of the catalogue
    probes: int  # attempts made against the wall
    remarks: tuple[str, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether there is nothing to mend."""
        return not self.findings


def examine(
    catalogue: ConnectionTarget, *, application: ConnectionTarget | None = None, schema: str = SCHEMA
) -> Diagnosis:
    """Examine a database and change nothing in it.

    `catalogue` is any way in; to try the wall with rows made for it (and rolled back) it must be able to write as the
    owner or the maintenance role, and to become the application role. `application` is the way in that the server
    itself uses. Raises `psycopg.OperationalError` if the database cannot be reached.
    """
    role = APPLICATION
    probed: list[Probed] = []
    if application is not None:
        with _connect(application) as connection:
            role = _current_user(connection)
            probed.append(probe_application(connection, schema, frozenset(EXEMPT)))
    with _connect(catalogue) as connection:
        if _is_migrator(connection):
            # Memberships need not be inherited; canaries are made with the owner's rights.
            connection.execute(f"set role {OWNER}".encode())
            connection.commit()
        findings = _ask_catalogue(connection, schema, role)
        connection.rollback()
        probed.append(probe_canaries(connection, schema, role, frozenset(EXEMPT)))
        connection.rollback()
    return Diagnosis(
        (*findings, *(_from_probe(*leak) for part in probed for leak in part.leaks)),
        len(CHECKS),
        sum(part.attempts for part in probed),
        tuple(remark for part in probed for remark in part.remarks),
    )


def _connect(target: ConnectionTarget) -> psycopg.Connection[tuple[object, ...]]:
    connection = psycopg.connect(target.psycopg_conninfo(), connect_timeout=10)
    # Names are printed in full, and nothing of the examination can hold up the server for long.
    for setting in ("search_path = ''", "statement_timeout = '60s'", "lock_timeout = '2s'"):
        connection.execute(f"set {setting}".encode())
    connection.commit()
    return connection


def _current_user(connection: psycopg.Connection[tuple[object, ...]]) -> str:
    row = connection.execute("select current_user::text").fetchone()
    assert row is not None
    return str(row[0])


def _is_migrator(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    """Whether this login is no superuser and may act as the owner."""
    row = connection.execute(
        "select exists (select from pg_roles where rolname = %s and pg_has_role(session_user, oid, 'MEMBER'))"
        " and not (select rolsuper from pg_roles where rolname = session_user)",
        (OWNER,),
    ).fetchone()
    return row is not None and bool(row[0])


def _ask_catalogue(connection: psycopg.Connection[tuple[object, ...]], schema: str, role: str) -> list[Finding]:
    missing = connection.execute(
        sql.SQL("select r from unnest({}::text[]) r where not exists (select from pg_roles where rolname = r)").format(
            [APPLICATION, MAINTENANCE, OWNER]
        )
    ).fetchall()
    if missing or connection.execute("select from pg_namespace where nspname = %s", (schema,)).fetchone() is None:
        what = ", ".join(str(row[0]) for row in missing) or f"schema {schema}"
        return [Finding("R00", what, "this database has never been set up", "run the bootstrap and `tegata migrate`")]
    parameters = {
        "schema": schema,
        "app": role,
        "roles": sorted({role, MAINTENANCE, OWNER}),
        "exempt": list(EXEMPT),
        "rights": [f"{table} {right}" for table, rights in EXEMPT.items() for right in rights],
        "expected": EXPECTED,
        "definers": list(DEFINERS),
    }
    return [
        Finding(check.id, str(row[0]), check.explanation, check.fix)
        for check in CHECKS
        for row in connection.execute(check.query.encode(), parameters).fetchall()
    ]


_PROBED = {
    "L00": ("the server's own login can act as a superuser or past row-level security", "log in as tegata_app itself"),
    "L01": (
        "without a tenant the table answers instead of raising TG001",
        "give it the policies of create_tenant_table",
    ),
    "L02": ("a tenant that does not exist sees or changes rows", "give it the policies of create_tenant_table"),
    "L03": ("one tenant sees another's rows", "give it the policies of create_tenant_table"),
    "L04": ("one tenant writes rows of another", "give it the policies of create_tenant_table"),
}


def _from_probe(check: str, what: str) -> Finding:
    explanation, fix = _PROBED[check]
    return Finding(check, what, explanation, fix)
