"""Values that bring a row into one partition, read from its bounds as PostgreSQL prints them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from tegata.postgres.doctor.relations import Connection

# From the partition up to the root: its bound and the columns of the key that it bounds.
_LEVELS = """
    with recursive levels (oid, parent, depth) as (
      select h.inhrelid, h.inhparent, 1 from pg_catalog.pg_inherits h where h.inhrelid = %s
      union all
      select h.inhrelid, h.inhparent, l.depth + 1 from levels l join pg_catalog.pg_inherits h on h.inhrelid = l.parent
    )
    select pg_catalog.pg_get_expr(c.relpartbound, c.oid), array(
             select a.attname::text || ' ' || t.typname
               from unnest(p.partattrs::int2[]) with ordinality k (number, place)
               join pg_catalog.pg_attribute a on a.attrelid = l.parent and a.attnum = k.number
               join pg_catalog.pg_type t on t.oid = a.atttypid order by k.place)
      from levels l join pg_catalog.pg_class c on c.oid = l.oid
      join pg_catalog.pg_partitioned_table p on p.partrelid = l.parent order by l.depth
"""
_LITERAL = r"'(?:[^']|'')*'|MINVALUE|MAXVALUE|NULL|true|false|-?[\d.]+"
_TIMES = frozenset({"timestamptz", "timestamp", "date"})
_NUMBERS = frozenset({"int2", "int4", "int8", "numeric"})


def candidates(connection: Connection, partition: int, attempts: int) -> Iterator[Mapping[str, object]]:
    """Give values to try. Hashes are hit by chance only: nothing, so that all is random, many times."""
    aimed: dict[str, object] = {}
    for bound, keys in connection.execute(_LEVELS, (partition,)).fetchall():
        assert isinstance(keys, list)
        columns = [(str(key).split(" ")[0], str(key).split(" ")[1]) for key in keys]
        aimed.update(_inside(str(bound), columns))
    yield aimed
    for extreme in ("infinity", "-infinity"):  # a default partition often holds what nobody has expected
        yield {**aimed, **dict.fromkeys(_time_columns(connection, partition), extreme)}
    for _ in range(attempts):
        yield aimed


def _inside(bound: str, columns: list[tuple[str, str]]) -> dict[str, object]:
    """Return values of the key's columns inside a bound such as FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')."""
    listed = re.match(rf"FOR VALUES IN \(({_LITERAL})", bound)
    if listed and columns:
        return {columns[0][0]: _plain(listed[1])}
    ranged = re.match(r"FOR VALUES FROM \((.*)\) TO \((.*)\)$", bound)
    if not ranged:
        return {}
    lower, upper = (re.findall(_LITERAL, part) for part in ranged.groups())
    found: dict[str, object] = {}
    for (column, kind), low, high in zip(columns, lower, upper, strict=False):
        if low not in {"MINVALUE", "MAXVALUE"}:
            found[column] = _plain(low)
        elif kind in _TIMES:
            found[column] = "-infinity"
        elif kind in _NUMBERS and high not in {"MINVALUE", "MAXVALUE"}:
            found[column] = str(int(float(str(_plain(high)))) - 1)
        elif high not in {"MINVALUE", "MAXVALUE"}:
            found[column] = "" if kind != "uuid" else "00000000-0000-0000-0000-000000000000"
    return found


def _plain(literal: str) -> str | None:
    if literal == "NULL":
        return None
    return literal[1:-1].replace("''", "'") if literal.startswith("'") else literal


def _time_columns(connection: Connection, partition: int) -> list[str]:
    levels = connection.execute(_LEVELS, (partition,)).fetchall()
    return [
        str(key).split(" ")[0]
        for _, keys in levels
        if isinstance(keys, list)
        for key in keys
        if str(key).split(" ")[1] in _TIMES
    ]
