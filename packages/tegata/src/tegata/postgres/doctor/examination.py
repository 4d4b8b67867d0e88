"""One examination: the questions to the catalogue, then the attempts on the wall, as one diagnosis."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from tegata.postgres.doctor.catalogue import CHECKS
from tegata.postgres.doctor.probe import Probed, may_become, probe_application, probe_canaries
from tegata.postgres.doctor.question import Severity
from tegata.postgres.doctor.relations import Connection
from tegata.postgres.doctor.wall import TEGATA, Wall
from tegata.postgres.logins import open_psycopg
from tegata.postgres.target import ConnectionTarget


@dataclass(frozen=True, slots=True)
class Finding:
    """One hole: which check, which object, what it means and how to mend it."""

    check: str
    object: str
    explanation: str
    fix: str
    severity: Severity = "error"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the doctor has found, and what it has not been able to try."""

    findings: tuple[Finding, ...]
    checks: int  # questions asked of the catalogue
    probes: int  # attempts made against the wall
    remarks: tuple[str, ...]  # what is not proven, and why

    @property
    def is_healthy(self) -> bool:
        """Whether there is no hole. A warning is none."""
        return all(finding.severity == "warning" for finding in self.findings)

    @property
    def is_proven(self) -> bool:
        """Whether there is nothing at all to say: no hole, no warning, and nothing that could not be tried."""
        return not self.findings and not self.remarks


def examine(
    catalogue: ConnectionTarget, *, application: ConnectionTarget | None = None, wall: Wall = TEGATA
) -> Diagnosis:
    """Examine a database and change nothing in it.

    `catalogue` is any way in; to try the wall with rows made for it (and rolled back) it must be able to write as the
    owner or the maintenance role, and to become the application role. `application` is the way in that the server
    itself uses. Raises `psycopg.OperationalError` if the database cannot be reached.
    """
    roles = wall.application
    login: str | None = None
    probed: list[Probed] = []
    if application is not None:
        with _connect(application) as connection:
            current, login = _users(connection)
            roles = (current,)
            probed.append(probe_application(connection, wall))
    with _connect(catalogue) as connection:
        if wall.owner is not None and _may_act_as(connection, wall.owner):
            # Memberships need not be inherited; canaries are made with the owner's rights.
            connection.execute(sql.SQL("set role {}").format(sql.Identifier(wall.owner)))
            connection.commit()
        findings = _not_set_up(connection, wall)
        if not findings:
            findings = [found for role in roles for found in _ask_catalogue(connection, wall, role, login)]
            connection.rollback()
            for role in roles:
                probed.append(probe_canaries(connection, wall, role))
                connection.rollback()
    found_by_probe = [_from_probe(*leak) for part in probed for leak in part.leaks]
    return Diagnosis(
        tuple(dict.fromkeys((*findings, *found_by_probe))),
        len(CHECKS),
        sum(part.attempts for part in probed),
        tuple(dict.fromkeys(remark for part in probed for remark in part.remarks)),
    )


def _connect(target: ConnectionTarget) -> Connection:
    connection = open_psycopg(target)
    # Names are printed in full, and nothing of the examination can hold up the server for long.
    for setting in ("search_path = ''", "statement_timeout = '60s'", "lock_timeout = '2s'"):
        connection.execute(f"set {setting}".encode())
    connection.commit()
    return connection


def _users(connection: Connection) -> tuple[str, str]:
    """Return whose rights a session has, and as whom it has logged in."""
    row = connection.execute("select current_user::text, session_user::text").fetchone()
    assert row is not None
    return str(row[0]), str(row[1])


def _may_act_as(connection: Connection, owner: str) -> bool:
    """Whether this login is no superuser and may act as the owner."""
    row = connection.execute("select rolsuper from pg_roles where rolname = session_user").fetchone()
    return row is not None and not row[0] and may_become(connection, owner)


def _not_set_up(connection: Connection, wall: Wall) -> list[Finding]:
    rows = connection.execute(
        "select r from unnest(%(roles)s::text[]) r where not exists (select from pg_roles where rolname = r)"
        " union all select 'schema ' || s from unnest(%(schemas)s::text[]) s"
        " where not exists (select from pg_namespace where nspname = s)",
        {"roles": [*wall.application, *wall.all_trusted], "schemas": list(wall.schemas)},
    ).fetchall()
    if not rows:
        return []
    what = ", ".join(str(row[0]) for row in rows)
    return [Finding("R00", what, "this database has never been set up", "run the bootstrap and `tegata migrate`")]


def _ask_catalogue(connection: Connection, wall: Wall, role: str, login: str | None) -> list[Finding]:
    parameters = {
        "schemas": list(wall.schemas),
        "app": role,
        "login": login,
        "trusted": list(wall.all_trusted),
        "roles": sorted({role, *wall.application, *wall.all_trusted}),
        "exempt": list(wall.exempt),
        "rights": [f"{table} {right}" for table, rights in wall.exempt.items() for right in rights],
        "column": wall.tenant_column,
        "tenant_table": wall.tenant_table,
        "tenant_key": wall.tenant_key,
        "tenant_type": wall.tenant_type,
        "expected": list(wall.expected),
        "setting": wall.setting,
        "definers": list(wall.definers),
        "publications": list(wall.publications),
    }
    return [
        Finding(check.id, str(row[0]), check.explanation, check.fix, check.severity)
        for check in CHECKS
        for row in connection.execute(check.query.encode(), parameters).fetchall()
    ]


PROBES = {
    "L00": ("the server's own login can act as a superuser or past row-level security", "log in as the application"),
    "L01": (
        "without a tenant the table answers, or fails otherwise than it should",
        "give it the policies of create_tenant_table",
    ),
    "L02": ("a tenant that does not exist sees or changes rows", "give it the policies of create_tenant_table"),
    "L03": ("one tenant sees another's rows", "give it the policies of create_tenant_table"),
    "L04": ("one tenant writes rows of another", "give it the policies of create_tenant_table"),
    "L05": ("a new session has a tenant already", "RESET the setting of role, database or server"),
}


def _from_probe(check: str, what: str) -> Finding:
    explanation, fix = PROBES[check]
    return Finding(check, what, explanation, fix)
