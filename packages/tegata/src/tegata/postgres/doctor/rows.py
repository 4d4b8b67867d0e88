"""A canary tenant: one row in every table and in every partition, made from the catalogue alone."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import LiteralString
from uuid import uuid4

import psycopg
from psycopg import sql

from tegata.postgres.doctor.partitions import candidates
from tegata.postgres.doctor.relations import Connection, Relation
from tegata.postgres.doctor.wall import Wall

_COLUMNS = """
    select a.attname::text, coalesce(b.typname, t.typname)::text,
           (select e.enumlabel::text from pg_catalog.pg_enum e where e.enumtypid = coalesce(b.oid, t.oid)
             order by e.enumsortorder limit 1)
      from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
      left join pg_catalog.pg_type b on b.oid = t.typbasetype
     where a.attrelid = %s and a.attnum > 0 and not a.attisdropped and a.attidentity = '' and a.attgenerated = ''
       and (a.attnotnull and not a.atthasdef or a.attname = %s) order by a.attnum
"""
_REFERENCES = """
    select k.confrelid::bigint, array(
             select o.attname || ' ' || t.attname from unnest(k.conkey, k.confkey) pair (ours, theirs)
               join pg_catalog.pg_attribute o on o.attrelid = k.conrelid and o.attnum = pair.ours
               join pg_catalog.pg_attribute t on t.attrelid = k.confrelid and t.attnum = pair.theirs)
      from pg_catalog.pg_constraint k where k.conrelid = %s and k.contype = 'f'
"""
_CHECKS = """
    select pg_catalog.pg_get_constraintdef(k.oid) from pg_catalog.pg_constraint k
     where k.conrelid = %s and k.contype = 'c'
"""
_NAME = """
    select n.nspname::text, c.relname::text
      from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.oid = %s
"""
_ATTEMPTS = 60  # to hit one partition of a hash: few tables have more than a dozen


@dataclass(frozen=True, slots=True)
class _Reference:
    """A foreign key: the table it points at, and pairs of our column and theirs."""

    table: int
    columns: tuple[tuple[str, str], ...]


class Canary:
    """A tenant that exists until the transaction is rolled back. `settled` holds its rows by relation."""

    def __init__(self, connection: Connection, wall: Wall, *, beside: Canary | None = None) -> None:
        """`beside`: another one in the same transaction, whose knowledge of the catalogue will do for both."""
        self.connection = connection
        self.wall = wall
        self.tenant = tenant_value(wall.tenant_type)
        self.settled: dict[int, dict[str, object]] = {}
        self._complete: dict[int, dict[str, object]] = {}  # with the defaults, for whatever refers to it
        self._tenants_tables: frozenset[int] = frozenset()
        self._asked: set[int] = set()
        self._told: dict[tuple[object, ...], list[tuple[object, ...]]] = {} if beside is None else beside._told

    def settle(self, relations: list[Relation]) -> Iterator[tuple[str, str]]:
        """Make the rows; give each table for which that failed, with the reason."""
        waiting = [each for each in relations if not each.is_view and each.parent is None]
        known = {each.oid for each in waiting}
        self._tenants_tables = frozenset(each.oid for each in relations)
        # Tables that others point at come first: after each round, those whose targets have settled can.
        while waiting:
            ready = [each for each in waiting if self._is_ready(each, known)]
            if not ready:
                yield ", ".join(str(each) for each in waiting), "what they refer to has no row"
                break
            for relation in ready:
                waiting.remove(relation)
                reason = self._insert(relation)
                if reason is not None:
                    yield str(relation), reason
        yield from self._settle_partitions(relations)

    def _is_ready(self, relation: Relation, known: set[int]) -> bool:
        return all(
            reference.table == relation.oid or reference.table not in known or reference.table in self.settled
            for reference in self._references(relation)
        )

    def _settle_partitions(self, relations: list[Relation]) -> Iterator[tuple[str, str]]:
        by_oid = {each.oid: each for each in relations}
        for leaf in (each for each in relations if each.is_leaf):
            root = leaf
            while root.parent is not None and root.parent in by_oid:
                root = by_oid[root.parent]
            if root.oid not in self.settled or leaf.oid in self.settled:
                continue
            tries = candidates(self.connection, leaf.oid, _ATTEMPTS)
            if not any(self._insert(root, values, leaf) is None for values in tries):
                yield str(leaf), "no row could be aimed at this partition"

    def _insert(
        self, relation: Relation, values: Mapping[str, object] | None = None, leaf: Relation | None = None
    ) -> str | None:
        """Insert a row; into `leaf`, if one is named. Return why that failed."""
        row = {**self._row(relation), **(values or {})}
        try:
            with self.connection.transaction():
                set_tenant(self.connection, self.wall, self.tenant)
                statement = sql.SQL("{} returning tableoid::bigint, pg_catalog.to_jsonb({}.*)").format(
                    insertion(relation, row), sql.Identifier(relation.name)
                )
                landed = self.connection.execute(statement, list(row.values())).fetchone()
                assert landed is not None
                if leaf is not None and landed[0] != leaf.oid:
                    raise psycopg.Rollback
        except psycopg.Error as error:
            return f"SQLSTATE {error.sqlstate}"
        if leaf is not None and landed[0] != leaf.oid:
            return "it landed in another partition"
        self.settled[int(str(landed[0]))] = row
        if leaf is None:
            self.settled[relation.oid] = row
            assert isinstance(landed[1], dict)
            self._complete[relation.oid] = landed[1]
        return None

    def _row(self, relation: Relation) -> dict[str, object]:
        columns = self._ask(_COLUMNS, relation.oid, relation.column)
        row = {str(column): _value(str(kind)) if label is None else label for column, kind, label in columns}
        if relation.column:
            row[relation.column] = self.tenant
        for (definition,) in self._ask(_CHECKS, relation.oid):
            for column in row:
                # CHECK ((state = ANY (ARRAY['next'::text, ...]))): the first allowed word will do.
                found = re.search(rf"\(\(?{column}\b[^']*'([^']*)'", str(definition))
                if found:
                    row[column] = found[1]
        for reference in self._references(relation):
            if not all(ours in row for ours, _ in reference.columns):
                continue
            target = self._complete.get(reference.table) or self._row_of_no_tenant(reference.table)
            if target is not None:
                row.update({ours: target[theirs] for ours, theirs in reference.columns if theirs in target})
        return row

    def _row_of_no_tenant(self, table: int) -> dict[str, object] | None:
        """Return a row of a table that others point at and that has no tenant, such as a list of countries.

        If it is empty, one is made.
        """
        if table in self._tenants_tables or table in self._asked:
            return None
        self._asked.add(table)  # two such tables may point at each other
        named = self.connection.execute(_NAME, (table,)).fetchone()
        assert named is not None
        relation = Relation(table, str(named[0]), str(named[1]), "r", "", None)
        try:
            with self.connection.transaction():
                read = sql.SQL("select pg_catalog.to_jsonb(t) from {} t limit 1").format(relation.identifier)
                found = self.connection.execute(read).fetchone()
            if found is None and self._insert(relation) is not None:
                return None
        except psycopg.Error:
            return None
        if found is not None:
            assert isinstance(found[0], dict)
            self._complete[table] = found[0]
        return self._complete[table]

    def _ask(self, question: LiteralString, *about: object) -> list[tuple[object, ...]]:
        """Ask the catalogue, once: nothing changes it before the transaction ends."""
        asked = (question, *about)
        if asked not in self._told:
            self._told[asked] = self.connection.execute(question, about).fetchall()
        return self._told[asked]

    def _references(self, relation: Relation) -> list[_Reference]:
        found = []
        for table, pairs in self._ask(_REFERENCES, relation.oid):
            assert isinstance(pairs, list)
            words = tuple((str(pair).split(" ")[0], str(pair).split(" ")[1]) for pair in pairs)
            found.append(_Reference(int(str(table)), words))
        return found


def insertion(relation: Relation, row: Mapping[str, object]) -> sql.Composed:
    """Return the INSERT of a row, with a placeholder for each value."""
    return sql.SQL("insert into {} ({}) values ({})").format(
        relation.identifier,
        sql.SQL(", ").join(sql.Identifier(column) for column in row),
        sql.SQL(", ").join(sql.Placeholder() * len(row)),
    )


def set_tenant(connection: Connection, wall: Wall, tenant: object) -> None:
    """Set the tenant until the end of the transaction or savepoint; None: no tenant."""
    text = "" if tenant is None else str(tenant)
    connection.execute("select pg_catalog.set_config(%s, %s, true)", (wall.setting, text))


def tenant_value(kind: str) -> object:
    """A tenant that does not exist."""
    if kind in {"bigint", "integer", "int8", "int4", "numeric"}:
        return -1 - secrets.randbelow(2**31 - 2)
    return uuid4() if kind == "uuid" else f"canary-{secrets.token_hex(8)}"


def _value(kind: str) -> object:
    """A value of a type, random where it may have to be unique."""
    if kind.startswith("_"):
        return []
    now = datetime.now(UTC)
    values: dict[str, object] = {
        "uuid": uuid4(),
        "bytea": secrets.token_bytes(16),
        "bool": False,
        "json": "{}",
        "jsonb": "{}",
        "timestamptz": now,
        "timestamp": now,
        "date": now.date(),
        "time": "00:00",
        "interval": "1 hour",
        "inet": "192.0.2.1",
        "cidr": "192.0.2.0/24",
        "tstzrange": "[now,now]",
        **dict.fromkeys(("int4", "int8", "numeric", "float4", "float8"), secrets.randbelow(2**31)),
        "int2": secrets.randbelow(2**15),
    }
    return values.get(kind, f"canary-{secrets.token_hex(8)}")
