"""A canary tenant: one row in every table of the schema, made from the catalogue alone."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg
from psycopg import sql

Connection = psycopg.Connection[tuple[object, ...]]

_TABLES = """
    select c.relname::text from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
     where n.nspname = %s and c.relkind in ('r', 'p') and not c.relispartition order by 1
"""
_COLUMNS = """
    select a.attname::text, t.typname::text
      from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
     where a.attrelid = pg_catalog.to_regclass(%s) and a.attnum > 0 and not a.attisdropped
       and (a.attnotnull and not a.atthasdef or a.attname = 'tenant_id') order by a.attnum
"""
_REFERENCES = """
    select f.relname::text, array(
             select o.attname || ' ' || t.attname from unnest(k.conkey, k.confkey) pair (ours, theirs)
               join pg_catalog.pg_attribute o on o.attrelid = k.conrelid and o.attnum = pair.ours
               join pg_catalog.pg_attribute t on t.attrelid = k.confrelid and t.attnum = pair.theirs)
      from pg_catalog.pg_constraint k join pg_catalog.pg_class f on f.oid = k.confrelid
     where k.conrelid = pg_catalog.to_regclass(%s) and k.contype = 'f'
"""
_CHECKS = """
    select pg_catalog.pg_get_constraintdef(k.oid) from pg_catalog.pg_constraint k
     where k.conrelid = pg_catalog.to_regclass(%s) and k.contype = 'c'
"""


@dataclass(frozen=True, slots=True)
class _Reference:
    """A foreign key: the table it points at, and pairs of our column and theirs."""

    table: str
    columns: tuple[tuple[str, str], ...]


class Canary:
    """A tenant that exists until the transaction is rolled back. `settled` holds its rows by table."""

    def __init__(self, connection: Connection, schema: str, tenant_id: UUID) -> None:
        self.connection = connection
        self.schema = schema
        self.tenant_id = tenant_id
        self.settled: dict[str, dict[str, object]] = {}

    def settle(self, exempt: frozenset[str]) -> Iterator[tuple[str, str]]:
        """Make the rows; give each table for which that failed, with the reason."""
        waiting = [str(row[0]) for row in self.connection.execute(_TABLES, (self.schema,)).fetchall()]
        waiting = [name for name in waiting if name not in exempt]
        known = set(waiting)
        # Tables that others point at come first: after each round, those whose targets have settled can.
        while waiting:
            ready = [
                name
                for name in waiting
                if all(
                    reference.table == name or reference.table not in known or reference.table in self.settled
                    for reference in self._references(name)
                )
            ]
            if not ready:
                yield ", ".join(waiting), "what they refer to has no row"
                return
            for name in ready:
                waiting.remove(name)
                reason = self._insert(name)
                if reason is not None:
                    yield name, reason

    def _insert(self, name: str) -> str | None:
        row = self._row(name)
        statement = sql.SQL("insert into {} ({}) values ({})").format(
            sql.Identifier(self.schema, name),
            sql.SQL(", ").join(sql.Identifier(column) for column in row),
            sql.SQL(", ").join(sql.Placeholder() * len(row)),
        )
        try:
            with self.connection.transaction():
                self.connection.execute(
                    "select pg_catalog.set_config('app.tenant_id', %s, true)", (str(self.tenant_id),)
                )
                self.connection.execute(statement, list(row.values()))
        except psycopg.Error as error:
            return f"SQLSTATE {error.sqlstate}"
        self.settled[name] = row
        return None

    def _row(self, name: str) -> dict[str, object]:
        columns = self.connection.execute(_COLUMNS, (self._path(name),)).fetchall()
        row = {str(column): _value(str(kind)) for column, kind in columns}
        row["tenant_id"] = self.tenant_id
        for (definition,) in self.connection.execute(_CHECKS, (self._path(name),)).fetchall():
            for column in row:
                # CHECK ((state = ANY (ARRAY['next'::text, ...]))): the first allowed word will do.
                found = re.search(rf"\(\(?{column}\b[^']*'([^']*)'", str(definition))
                if found:
                    row[column] = found[1]
        for reference in self._references(name):
            target = self.settled.get(reference.table)
            if target is not None and all(ours in row for ours, _ in reference.columns):
                row.update({ours: target[theirs] for ours, theirs in reference.columns if theirs in target})
        return row

    def _references(self, name: str) -> list[_Reference]:
        rows = self.connection.execute(_REFERENCES, (self._path(name),)).fetchall()
        found = []
        for table, pairs in rows:
            assert isinstance(pairs, list)
            found.append(_Reference(str(table), tuple((str(p).split(" ")[0], str(p).split(" ")[1]) for p in pairs)))
        return found

    def _path(self, name: str) -> str:
        return f'"{self.schema}"."{name}"'


def _value(kind: str) -> object:
    """A value of a type, random where it may have to be unique."""
    if kind.startswith("_"):
        return []
    values: dict[str, object] = {
        "uuid": uuid4(),
        "bytea": secrets.token_bytes(16),
        "bool": False,
        "json": "{}",
        "jsonb": "{}",
        "timestamptz": datetime.now(UTC),
        "timestamp": datetime.now(UTC),
        "date": datetime.now(UTC).date(),
        **dict.fromkeys(("int2", "int4", "int8", "numeric", "float4", "float8"), 0),
    }
    return values.get(kind, f"canary-{secrets.token_hex(8)}")
