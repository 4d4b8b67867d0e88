"""Trying the wall out: with a tenant that does not exist, and with two that exist until the transaction is rolled back.

An empty table proves nothing, so a row of each canary tenant is made in every table first, from the catalogue: a table
that was added yesterday is tried as well. What could not be tried is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import psycopg
from psycopg import sql

from tegata.postgres.doctor_rows import Canary

Connection = psycopg.Connection[tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Probed:
    """What was tried: (check, object) for each leak, the number of attempts, and what could not be tried."""

    leaks: tuple[tuple[str, str], ...]
    attempts: int
    remarks: tuple[str, ...] = ()


class _Tries:
    """Counts attempts and keeps leaks."""

    def __init__(self) -> None:
        self.leaks: list[tuple[str, str]] = []
        self.attempts = 0
        self.remarks: list[str] = []

    def expect(self, holds: bool, check: str, what: str) -> None:
        self.attempts += 1
        if not holds:
            self.leaks.append((check, what))

    def result(self) -> Probed:
        return Probed(tuple(dict.fromkeys(self.leaks)), self.attempts, tuple(self.remarks))


def probe_application(connection: Connection, schema: str, exempt: frozenset[str]) -> Probed:
    """Try the wall on the connection that the server itself uses, with the rows that are there."""
    tries = _Tries()
    for role in _stronger_roles(connection):
        tries.expect(False, "L00", role)
    _without_rights_to_anything(connection, schema, exempt, tries)
    connection.rollback()
    return tries.result()


def probe_canaries(connection: Connection, schema: str, role: str, exempt: frozenset[str]) -> Probed:
    """Make two tenants with a row in every table, become `role`, and try to reach across. The caller rolls back."""
    tries = _Tries()
    if not _may_become(connection, role):
        tries.remarks.append(f"not tried with rows made for it: this login may not SET ROLE {role}")
        return tries.result()
    canaries = [Canary(connection, schema, uuid4()) for _ in range(2)]
    failed = [failure for canary in canaries for failure in canary.settle(exempt)]
    for table, reason in dict.fromkeys(failed):
        tries.remarks.append(f"not proven for {table}: no row could be made ({reason})")
    connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
    readable = _relations(connection, schema, exempt, "SELECT")
    for mine, other in (canaries, reversed(canaries)):
        _reach_across(readable, mine, other, tries)
    _without_rights_to_anything(connection, schema, exempt, tries)
    return tries.result()


def _reach_across(readable: Sequence[str], mine: Canary, other: Canary, tries: _Tries) -> None:
    connection, schema = mine.connection, mine.schema
    for name in readable:
        relation = sql.Identifier(schema, name)
        with _as_tenant(connection, mine.tenant_id):
            foreign = _count(
                connection, sql.SQL("select count(*) from {} where tenant_id <> %s"), relation, mine.tenant_id
            )
            tries.expect(foreign == 0, "L03", name)
            own = _count(connection, sql.SQL("select count(*) from {} where tenant_id = %s"), relation, mine.tenant_id)
            if name in mine.settled and own == 0:
                tries.remarks.append(f"not proven for {name}: a tenant does not see its own row")
    for name in _relations(connection, schema, frozenset(), "DELETE"):
        if name in other.settled:
            with _as_tenant(connection, mine.tenant_id):
                tries.expect(_deletes(connection, schema, name, other.tenant_id) == 0, "L04", name)
    for name in _relations(connection, schema, frozenset(), "INSERT"):
        row = other.settled.get(name)
        if row is not None:
            with _as_tenant(connection, mine.tenant_id):
                tries.expect(_is_refused(connection, schema, name, row), "L04", f"{name} (insert)")


def _without_rights_to_anything(connection: Connection, schema: str, exempt: frozenset[str], tries: _Tries) -> None:
    for name in _relations(connection, schema, exempt, "SELECT"):
        relation = sql.Identifier(schema, name)
        with _as_tenant(connection, None):
            tries.expect(_raises_without_tenant(connection, relation), "L01", name)
        with _as_tenant(connection, uuid4()):
            seen = _count(connection, sql.SQL("select count(*) from (select from {} limit 1) one"), relation)
            tries.expect(seen == 0, "L02", name)
    for name in _relations(connection, schema, exempt, "DELETE"):
        with _as_tenant(connection, uuid4()):
            tries.expect(_deletes(connection, schema, name, None) == 0, "L02", f"{name} (delete)")


@contextmanager
def _as_tenant(connection: Connection, tenant_id: UUID | None) -> Iterator[None]:
    """A savepoint with this tenant as context, always rolled back."""
    with connection.transaction(force_rollback=True):
        connection.execute("select pg_catalog.set_config('app.tenant_id', %s, true)", (str(tenant_id or ""),))
        yield


def _count(connection: Connection, query: sql.SQL, relation: sql.Identifier, *arguments: object) -> int:
    """Count rows; a relation that cannot be read (a view over something hidden) shows none."""
    try:
        with connection.transaction():
            row = connection.execute(query.format(relation), arguments).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return 0
    assert row is not None
    return int(str(row[0]))


def _raises_without_tenant(connection: Connection, relation: sql.Identifier) -> bool:
    try:
        with connection.transaction():
            connection.execute(sql.SQL("select count(*) from {}").format(relation))
    except psycopg.Error as error:
        return error.sqlstate in {"TG001", "42501"}
    return False


def _deletes(connection: Connection, schema: str, name: str, tenant_id: UUID | None) -> int:
    """Try to delete one row of a tenant (or of any); return how many went."""
    condition = sql.SQL("tenant_id = {}").format(tenant_id) if tenant_id else sql.SQL("true")
    relation = sql.Identifier(schema, name)
    statement = sql.SQL("delete from {} where ctid in (select ctid from {} where {} limit 1)")
    try:
        with connection.transaction():
            return connection.execute(statement.format(relation, relation, condition)).rowcount
    except psycopg.errors.ForeignKeyViolation:
        return 1  # the row was reached; only what points at it kept it
    except psycopg.Error:
        return 0


def _is_refused(connection: Connection, schema: str, name: str, row: Mapping[str, object]) -> bool:
    """Whether inserting a foreign tenant's row is refused by the policy, and not by something that came later."""
    statement = sql.SQL("insert into {} ({}) values ({})").format(
        sql.Identifier(schema, name),
        sql.SQL(", ").join(sql.Identifier(column) for column in row),
        sql.SQL(", ").join(sql.Placeholder() * len(row)),
    )
    try:
        with connection.transaction():
            connection.execute(statement, list(row.values()))
    except psycopg.errors.InsufficientPrivilege:
        return True
    except psycopg.Error:
        return False
    return False


def _relations(connection: Connection, schema: str, exempt: frozenset[str], right: str) -> list[str]:
    """Tables, partitions and views with a tenant_id that the current role may use so."""
    rows = connection.execute(
        "select c.relname::text from pg_catalog.pg_class c"
        " join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
        " join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped"
        " where n.nspname = %s and c.relkind in ('r', 'p', 'v', 'm') and c.relname <> all (%s)"
        " and pg_catalog.has_table_privilege(c.oid, %s) and (%s = 'SELECT' or c.relkind in ('r', 'p')) order by 1",
        (schema, list(exempt), right, right),
    ).fetchall()
    return [str(row[0]) for row in rows]


def _stronger_roles(connection: Connection) -> list[str]:
    """Roles that see every row and that this session is, or could become by RESET ROLE or SET ROLE."""
    rows = connection.execute(
        "select rolname::text from pg_catalog.pg_roles where (rolsuper or rolbypassrls)"
        " and (rolname in (current_user, session_user) or pg_catalog.pg_has_role(session_user, oid, 'MEMBER')"
        " and not (select s.rolsuper from pg_catalog.pg_roles s where s.rolname = session_user)) order by 1"
    ).fetchall()
    return [str(row[0]) for row in rows]


def _may_become(connection: Connection, role: str) -> bool:
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
    except psycopg.Error:
        return False
    return True
