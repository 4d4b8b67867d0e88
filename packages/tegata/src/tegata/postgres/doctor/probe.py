"""Trying the wall out: with a tenant that does not exist, and with two that exist until the transaction is rolled back.

An empty table proves nothing, so a row of each canary tenant is made in every table first, from the catalogue: a table
that was added yesterday is tried as well. What could not be tried is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from tegata.postgres.doctor.relations import Connection, Relation, find_relations
from tegata.postgres.doctor.rows import Canary, insertion, set_tenant, tenant_value
from tegata.postgres.doctor.wall import Wall


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
        unique = tuple(dict.fromkeys(self.leaks)), tuple(dict.fromkeys(self.remarks))
        return Probed(unique[0], self.attempts, unique[1])


def probe_application(connection: Connection, wall: Wall) -> Probed:
    """Try the wall on the connection that the server itself uses, with the rows that are there."""
    tries = _Tries()
    for role in _stronger_roles(connection):
        tries.expect(False, "L00", role)
    row = connection.execute("select pg_catalog.current_setting(%s, true)", (wall.setting,)).fetchone()
    tries.expect(row is not None and row[0] in {None, ""}, "L05", wall.setting)
    _without_rights_to_anything(connection, wall, find_relations(connection, wall), frozenset(), tries)
    connection.rollback()
    for statement in _ways_back(connection):
        # What a session is after it has given up the role that its login begins with.
        connection.execute(statement)
        _without_rights_to_anything(connection, wall, find_relations(connection, wall), frozenset(), tries)
        connection.rollback()
    return tries.result()


def _ways_back(connection: Connection) -> tuple[LiteralString, ...]:
    """The statements by which this session becomes its login again, where that is another role and no superuser."""
    row = connection.execute(
        "select current_user <> session_user and not rolsuper from pg_catalog.pg_roles where rolname = session_user"
    ).fetchone()
    return ("set role none", "reset role") if row is not None and row[0] else ()


def probe_canaries(connection: Connection, wall: Wall, role: str) -> Probed:
    """Make two tenants with a row in every table, become `role`, and try to reach across. The caller rolls back."""
    tries = _Tries()
    if not may_become(connection, role):
        tries.remarks.append(f"not tried with rows made for it: this login may not SET ROLE {role}")
        return tries.result()
    relations = find_relations(connection, wall)
    first = Canary(connection, wall)
    canaries = [first, Canary(connection, wall, beside=first)]
    for table, reason in dict.fromkeys(failure for canary in canaries for failure in canary.settle(relations)):
        tries.remarks.append(f"not proven for {table}: no row could be made ({reason})")
    connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
    for mine, other in (canaries, reversed(canaries)):
        _read_across(relations, mine, other, tries)
        _write_across(relations, mine, other, tries)
    _without_rights_to_anything(connection, wall, relations, frozenset(canaries[0].settled), tries)
    return tries.result()


def _read_across(relations: Sequence[Relation], mine: Canary, other: Canary, tries: _Tries) -> None:
    connection = mine.connection
    for relation in _usable(connection, relations, "SELECT"):
        others, others_own, own = (
            _compared(relation, "<>", mine.tenant),
            _compared(relation, "=", other.tenant),
            _compared(relation, "=", mine.tenant),
        )
        with _as_tenant(mine, mine.tenant):
            seen = _count(connection, relation, others, others_own, own)
        tries.expect(seen[0] == 0, "L03", str(relation))
        if relation.oid in other.settled:
            tries.expect(seen[1] == 0, "L03", str(relation))
        if relation.oid in mine.settled and seen[2] == 0:
            tries.remarks.append(f"not proven for {relation}: a tenant does not see its own row")


def _write_across(relations: Sequence[Relation], mine: Canary, other: Canary, tries: _Tries) -> None:
    connection = mine.connection
    for relation in _usable(connection, relations, "DELETE"):
        if relation.oid in other.settled:
            with _as_tenant(mine, mine.tenant):
                tries.expect(_deletes(connection, relation, other.tenant) == 0, "L04", str(relation))
    for relation in _usable(connection, relations, "UPDATE"):
        if relation.oid in other.settled:
            with _as_tenant(mine, mine.tenant):
                tries.expect(_updates(connection, relation, other.tenant) == 0, "L04", f"{relation} (update)")
    for relation in _usable(connection, relations, "INSERT"):
        row = other.settled.get(relation.oid)
        if row is not None:
            with _as_tenant(mine, mine.tenant):
                tries.expect(_is_refused(connection, relation, row), "L04", f"{relation} (insert)")


def _without_rights_to_anything(
    connection: Connection, wall: Wall, relations: Sequence[Relation], filled: frozenset[int], tries: _Tries
) -> None:
    """`filled`: relations with rows in them. On an empty one PostgreSQL may never ask for the tenant."""
    nobody = Canary(connection, wall)
    for relation in _usable(connection, relations, "SELECT"):
        with _as_tenant(nobody, None):
            must_raise = wall.without_tenant == "error" and relation.oid in filled
            tries.expect(_is_silent_without_tenant(nobody, relation, must_raise=must_raise), "L01", str(relation))
        with _as_tenant(nobody, tenant_value(wall.tenant_type)):
            (seen,) = _count(connection, relation, sql.SQL("true"))
            tries.expect(seen == 0, "L02", str(relation))
    for relation in _usable(connection, relations, "DELETE"):
        with _as_tenant(nobody, tenant_value(wall.tenant_type)):
            tries.expect(_deletes(connection, relation, None) == 0, "L02", f"{relation} (delete)")


@contextmanager
def _as_tenant(canary: Canary, tenant: object) -> Iterator[None]:
    """A savepoint with this tenant as context, always rolled back. One attempt, which may fail, is the last in it."""
    with canary.connection.transaction(force_rollback=True):
        set_tenant(canary.connection, canary.wall, tenant)
        yield


def _count(connection: Connection, relation: Relation, *conditions: sql.Composable) -> tuple[int, ...]:
    """Count the rows of each kind, to one; a relation that cannot be read (a view over something hidden) shows none."""
    each = sql.SQL("(select count(*) from (select from {} where {} limit 1) one)")
    counts = [each.format(relation.identifier, condition) for condition in conditions]
    try:
        row = connection.execute(sql.SQL("select {}").format(sql.SQL(", ").join(counts))).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return (0,) * len(conditions)
    assert row is not None
    return tuple(int(str(count)) for count in row)


def _compared(relation: Relation, comparison: str, tenant: object) -> sql.Composed:
    return sql.SQL("{} {} {}").format(
        sql.Identifier(relation.column), sql.SQL("<>" if comparison == "<>" else "="), sql.Literal(tenant)
    )


def _is_silent_without_tenant(nobody: Canary, relation: Relation, *, must_raise: bool) -> bool:
    """Whether a query without a tenant raises what it should, or at least finds nothing."""
    wall = nobody.wall
    statement = sql.SQL("select count(*) from (select from {} limit 1) one").format(relation.identifier)
    try:
        row = nobody.connection.execute(statement).fetchone()
    except psycopg.Error as error:
        return wall.without_tenant == "nothing" or error.sqlstate in {*wall.missing, "42501"}
    return row is not None and row[0] == 0 and not must_raise


def _deletes(connection: Connection, relation: Relation, tenant: object) -> int:
    """Try to delete one row of a tenant (or of any); return how many went."""
    condition = sql.SQL("true") if tenant is None else _compared(relation, "=", tenant)
    statement = sql.SQL("delete from {} where ctid in (select ctid from {} where {} limit 1)")
    name = relation.identifier
    try:
        return connection.execute(statement.format(name, name, condition)).rowcount
    except psycopg.errors.ForeignKeyViolation:
        return 1  # the row was reached; only what points at it kept it
    except psycopg.Error:
        return 0


def _updates(connection: Connection, relation: Relation, tenant: object) -> int:
    """Try to write a row of a tenant as it is; return how many were written."""
    found = connection.execute(
        "select a.attname::text from pg_catalog.pg_attribute a where a.attrelid = %s and a.attnum > 0"
        " and not a.attisdropped and a.attgenerated = '' and a.attidentity = ''"
        " and pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'UPDATE') order by a.attnum desc limit 1",
        (relation.oid,),
    ).fetchone()
    if found is None:
        return 0
    column = sql.Identifier(str(found[0]))
    statement = sql.SQL("update {} set {} = {} where {}").format(
        relation.identifier, column, column, _compared(relation, "=", tenant)
    )
    try:
        return connection.execute(statement).rowcount
    except psycopg.Error:
        return 0


def _is_refused(connection: Connection, relation: Relation, row: Mapping[str, object]) -> bool:
    """Whether inserting a foreign tenant's row is refused by the policy, and not by something that came later."""
    try:
        connection.execute(insertion(relation, row), list(row.values()))
    except psycopg.errors.InsufficientPrivilege:
        return True
    except psycopg.Error:
        return False
    return False


def _usable(connection: Connection, relations: Sequence[Relation], right: str) -> list[Relation]:
    """Those that the current role may use so, in whole or in some columns."""
    tables = [each for each in relations if right == "SELECT" or not each.is_view]
    rows = connection.execute(
        "select o::bigint from unnest(%(oids)s::oid[]) o join pg_catalog.pg_class c on c.oid = o"
        " where pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') and case when %(right)s = 'DELETE'"
        " then pg_catalog.has_table_privilege(o, 'DELETE') else pg_catalog.has_any_column_privilege(o, %(right)s) end",
        {"oids": [each.oid for each in tables], "right": right},
    ).fetchall()
    usable = {row[0] for row in rows}
    return [each for each in tables if each.oid in usable]


def _stronger_roles(connection: Connection) -> list[str]:
    """Roles that see every row and that this session is, or could become by RESET ROLE or SET ROLE."""
    rows = connection.execute(
        "select rolname::text from pg_catalog.pg_roles where (rolsuper or rolbypassrls)"
        " and (rolname in (current_user, session_user) or pg_catalog.pg_has_role(session_user, oid, 'MEMBER')"
        " and not (select s.rolsuper from pg_catalog.pg_roles s where s.rolname = session_user)) order by 1"
    ).fetchall()
    return [str(row[0]) for row in rows]


def may_become(connection: Connection, role: str) -> bool:
    """Whether this session may SET ROLE; from PostgreSQL 16 on, to be a member is not enough."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
    except psycopg.Error:
        return False
    return True
