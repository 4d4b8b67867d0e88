"""The relations with a tenant in them, from the catalogue: what the probe tries and what the canaries are made for."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql

from tegata.postgres.doctor.wall import Wall

Connection = psycopg.Connection[tuple[object, ...]]

_RELATIONS = """
    with recursive family (oid) as (
      select c.oid from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       where n.nspname = any (%(schemas)s) and c.relkind in ('r', 'p', 'v', 'm')
      union
      select case when h.inhparent = f.oid then h.inhrelid else h.inhparent end
        from family f join pg_catalog.pg_inherits h on f.oid in (h.inhparent, h.inhrelid)
    )
    select c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text, a.attname::text,
           (select p.inhparent::bigint from pg_catalog.pg_inherits p where p.inhrelid = c.oid and c.relispartition)
      from family f join pg_catalog.pg_class c on c.oid = f.oid
      join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      join pg_catalog.pg_attribute a on a.attrelid = c.oid and not a.attisdropped and a.attname =
           case when n.nspname || '.' || c.relname = %(tenant_table)s then %(tenant_key)s else %(column)s end
     where c.relkind in ('r', 'p', 'v', 'm') and n.nspname || '.' || c.relname <> all (%(exempt)s) order by 2, 3
"""


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, partition or view with the tenant's column. `parent` is set for a partition."""

    oid: int
    schema: str
    name: str
    kind: str
    column: str
    parent: int | None

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """The name as it stands in a statement."""
        return sql.Identifier(self.schema, self.name)

    @property
    def is_view(self) -> bool:
        """Whether rows are not kept here."""
        return self.kind in {"v", "m"}

    @property
    def is_leaf(self) -> bool:
        """Whether this is a partition that keeps rows."""
        return self.parent is not None and self.kind == "r"


def find_relations(connection: Connection, wall: Wall) -> list[Relation]:
    """Return every relation with the tenant's column, whatever the current role may do with it."""
    rows = connection.execute(
        _RELATIONS.encode(),
        {
            "schemas": list(wall.schemas),
            "tenant_table": wall.tenant_table,
            "tenant_key": wall.tenant_key,
            "column": wall.tenant_column,
            "exempt": list(wall.exempt),
        },
    ).fetchall()
    return [
        Relation(int(str(oid)), str(schema), str(name), str(kind), str(column), parent and int(str(parent)))  # type: ignore[arg-type] # None stays None
        for oid, schema, name, kind, column, parent in rows
    ]
