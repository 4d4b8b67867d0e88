"""Reading and writing rows of another tenant, statement by statement, with one's own context."""

from __future__ import annotations

import secrets
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from tegata.postgres.doctor.relations import Relation
from tegata.postgres.doctor.rows import insertion

from .siege import Siege

READS = (
    "select * from {table} where {column} = %(theirs)s",
    "select * from {table} where {column} <> %(mine)s",
    "select * from {table} where not ({column} = %(mine)s) or {column} is null",
    "select count(*) from {table} where {column} = %(theirs)s having count(*) > 0",
    "select t.* from {table} t join (select %(theirs)s::uuid as id) o on t.{column} = o.id",
    "select * from {table} where {column} in (select {column} from {table} where {column} = %(theirs)s)",
    "with recursive r as (select * from {table} where {column} = %(theirs)s union all select * from r) select * from r",
    "select max({column}::text) from {table} where {column} = %(theirs)s having count(*) > 0",
    "select * from {table} tablesample system (100) where {column} = %(theirs)s",
    "select * from {table} where ctid >= '(0,0)' and {column} = %(theirs)s",
    "select * from {table} t where to_jsonb(t) ->> %(name)s = %(theirs)s::text",
    "select * from {table} where {column} = %(theirs)s for update",
    "select row_number() over (), * from {table} where {column} = %(theirs)s",
    "select json_agg(t) from {table} t where {column} = %(theirs)s having count(*) > 0",
    "select query_to_xml(format('select * from {table} where {column} = %%L', %(theirs)s), true, true, '')::text"
    " where false",
)


def composed(text: str, relation: Relation) -> sql.Composed:
    return sql.SQL(text).format(table=relation.identifier, column=sql.Identifier(relation.column))


def named(siege: Siege, relation: Relation) -> dict[str, object]:
    return {"mine": siege.mine, "theirs": siege.theirs, "name": relation.column}


def test_reading(siege: Siege) -> None:
    for read in READS:
        for relation in siege.relations:
            outcome = siege.attempt("read", composed(read, relation), named(siege, relation))  # type: ignore[arg-type]
            siege.expect(outcome.is_empty, f"read: {relation}")
            siege.expect(outcome.sqlstate in {None, "42501", "22004"}, f"read: {relation} {outcome.message}")


def test_a_hole_would_be_noticed(siege: Siege) -> None:
    """The measure itself: with one table open, rows that come out and rows that change are both told."""
    with psycopg.connect(siege.database.admin.psycopg_conninfo()) as admin:
        admin.execute("alter table tegata.session disable row level security")
    assert not siege.attempt("proof of the measure", "select * from tegata.session").is_empty
    assert len(siege.successes) == 1
    siege.attempt("proof of the measure", "delete from tegata.session")
    with pytest.raises(AssertionError, match="rows of the other tenant have changed"):
        siege.verify()
    # What comes now counts again.
    siege.attempts.clear()
    siege.successes.clear()
    siege.before["tegata.session"] = []


def test_one_sees_what_is_ones_own(siege: Siege) -> None:
    """Otherwise all the rest proves nothing."""
    seen = 0
    for relation in siege.tables:
        outcome = siege.attempt("read", composed("select * from {table}", relation))
        if not outcome.is_refused:
            assert len(outcome.rows) >= 1
            seen += 1
    assert seen >= 15


def test_rows_cannot_be_written_for_another(siege: Siege) -> None:
    for relation in siege.relations:
        for source in (siege.their_rows, siege.my_rows):
            row = {**source[relation.oid], relation.column: siege.theirs}
            outcome = siege.attempt("write", insertion(relation, row), list(row.values()))
            siege.expect(outcome.sqlstate == "42501", f"write: {relation} {outcome.message}")


def test_rows_of_another_cannot_be_updated_nor_ones_own_given_away(siege: Siege) -> None:
    for relation in siege.relations:
        for column in siege.their_rows[relation.oid]:
            names = {"table": relation.identifier, "column": sql.Identifier(relation.column)}
            name = sql.Identifier(column)
            same = sql.SQL("update {table} set {name} = {name} where {column} = %s").format(name=name, **names)
            outcome = siege.attempt("update", same, [siege.theirs])
            siege.expect(outcome.is_empty, f"update: {relation}.{column}")
            own = sql.SQL("update {table} set {name} = {name} where {column} <> %s").format(name=name, **names)
            siege.expect(siege.attempt("update", own, [siege.mine]).is_empty, f"update: {relation}.{column}")
        moved = composed("update {table} set {column} = %(theirs)s", relation)
        outcome = siege.attempt("update", moved, {"theirs": siege.theirs})  # type: ignore[arg-type]
        siege.expect(outcome.sqlstate == "42501", f"update: {relation} moved {outcome.message}")


def test_rows_of_another_cannot_be_deleted(siege: Siege) -> None:
    for relation in siege.relations:
        for text in (
            "delete from {table} where {column} = %(theirs)s",
            "delete from {table} where {column} = %(theirs)s returning *",
            "delete from {table} t using (select %(theirs)s::uuid as id) o where t.{column} = o.id",
            "with gone as (delete from {table} where {column} <> %(mine)s returning *) select * from gone",
        ):
            outcome = siege.attempt("delete", composed(text, relation), named(siege, relation))  # type: ignore[arg-type]
            siege.expect(outcome.is_empty, f"delete: {relation}")


@pytest.mark.parametrize("action", ["do nothing", "update"])
def test_upserts(siege: Siege, action: str) -> None:
    """A row of another tenant is no conflict, and cannot be had by provoking one."""
    for relation in siege.relations:
        theirs = siege.their_rows[relation.oid]
        assign = sql.SQL("update set {0} = excluded.{0}").format(sql.Identifier(relation.column))
        tail = sql.SQL("nothing") if action == "do nothing" else assign
        keys = primary_key(siege, relation)
        conflict = sql.SQL(", ").join(sql.Identifier(key) for key in keys)
        for tenant in (siege.theirs, siege.mine):
            row = {**theirs, relation.column: tenant}
            statement = sql.SQL("{} on conflict ({}) do {} returning *").format(
                insertion(relation, row), conflict, tail
            )
            outcome = siege.attempt("upsert", statement, list(row.values()))
            if tenant == siege.theirs:
                siege.expect(outcome.sqlstate == "42501", f"upsert: {relation} {outcome.message}")
            else:
                # Their key beside my tenant is a row of mine, if I may write such rows at all.
                siege.expect(outcome.sqlstate in {None, "42501", "23503", "23505"}, f"upsert: {outcome.message}")
                siege.expect(all(str(siege.theirs) not in str(row) for row in outcome.rows), f"upsert: {relation}")


def test_merge(siege: Siege) -> None:
    for relation in siege.relations:
        text = (
            "merge into {table} t using (select %(theirs)s::uuid as id) o on t.{column} = o.id"
            " when matched then delete when not matched then do nothing"
        )
        outcome = siege.attempt("upsert", composed(text, relation), named(siege, relation))  # type: ignore[arg-type]
        siege.expect(outcome.is_empty, f"upsert: merge {relation}")


def test_a_foreign_key_tells_nothing_about_another_tenants_rows(siege: Siege) -> None:
    """Pointing at a row of another is refused in the words in which pointing at nothing is refused."""
    for relation, other, columns in references(siege):
        row = dict(siege.my_rows[relation.oid])
        theirs, nobodys = dict(row), dict(row)
        for column, key in columns:
            if column != relation.column:
                theirs[column] = siege.their_rows[other][key]
                nobodys[column] = like(theirs[column])
        for key in set(row) - dict(columns).keys() - {relation.column}:
            theirs[key], nobodys[key] = like(row[key]), like(row[key])
        told = [
            siege.attempt("foreign key", insertion(relation, each), list(each.values())) for each in (theirs, nobodys)
        ]
        if told[0].sqlstate != "42501":
            siege.expect(told[0].sqlstate == told[1].sqlstate == "23503", f"foreign key: {relation} {told}")
        siege.expect(plain(told[0].message, theirs) == plain(told[1].message, nobodys), f"foreign key: {told}")


def test_a_unique_key_tells_nothing_about_another_tenants_rows(siege: Siege) -> None:
    """Taking a value that another tenant has is as good as taking one that nobody has."""
    for relation in siege.tables:
        theirs = {**siege.their_rows[relation.oid], relation.column: siege.mine}
        fresh = {key: value if key == relation.column else like(value) for key, value in theirs.items()}
        told = [siege.attempt("unique oracle", insertion(relation, row), list(row.values())) for row in (theirs, fresh)]
        siege.expect("23505" not in {each.sqlstate for each in told}, f"unique oracle: {relation} {told}")
        siege.expect(told[0].sqlstate == told[1].sqlstate, f"unique oracle: {relation} {told}")


def test_an_error_about_ones_own_row_shows_no_other(siege: Siege) -> None:
    for relation in siege.tables:
        row = siege.my_rows[relation.oid]
        outcome = siege.attempt("error message", insertion(relation, row), list(row.values()))
        siege.expect(outcome.is_refused, f"error message: {relation}")
        nulls: dict[str, Any] = {key: value if key == relation.column else None for key, value in row.items()}
        siege.attempt("error message", insertion(relation, nulls), list(nulls.values()))
        divided = composed("select 1 / (case when {column} = %(theirs)s then 0 else 1 end) from {table}", relation)
        outcome = siege.attempt("error message", divided, named(siege, relation))  # type: ignore[arg-type]
        siege.expect(outcome.sqlstate in {None, "42501"}, f"error message: {relation} {outcome.message}")
        for name in siege.their_rows[relation.oid]:
            cast = sql.SQL("select {name}::text::point from {table} where {column} = %s").format(
                name=sql.Identifier(name), table=relation.identifier, column=sql.Identifier(relation.column)
            )
            outcome = siege.attempt("error message", cast, [siege.theirs])
            siege.expect(outcome.sqlstate in {None, "42501"}, f"error message: {relation} {outcome.message}")


def primary_key(siege: Siege, relation: Relation) -> list[str]:
    found = siege.attempt(
        "read",
        "select a.attname::text from pg_index i, unnest(i.indkey::int2[]) k join pg_attribute a on a.attnum = k"
        " where i.indrelid = %s and i.indisprimary and a.attrelid = i.indrelid",
        [relation.oid],
    )
    return [row[0] for row in found.rows]


def references(siege: Siege) -> list[tuple[Relation, int, list[tuple[str, str]]]]:
    """Composite foreign keys: the table, the one it points at, and pairs of our column and theirs."""
    found = siege.attempt(
        "read",
        "select k.conrelid::bigint, k.confrelid::bigint, array(select array[o.attname::text, t.attname::text]"
        " from unnest(k.conkey, k.confkey) n (ours, theirs)"
        " join pg_attribute o on o.attrelid = k.conrelid and o.attnum = n.ours"
        " join pg_attribute t on t.attrelid = k.confrelid and t.attnum = n.theirs)"
        " from pg_constraint k where k.contype = 'f' and cardinality(k.conkey) > 1",
    )
    by_oid = {each.oid: each for each in siege.tables}
    return [(by_oid[row[0]], row[1], [tuple(pair) for pair in row[2]]) for row in found.rows if row[0] in by_oid]


def like(value: object) -> object:
    """Another value of the same kind, that nobody has."""
    if isinstance(value, bytes):
        return secrets.token_bytes(16)
    if isinstance(value, str):
        return f"canary-{secrets.token_hex(8)}" if value.startswith("canary-") else value
    return uuid4() if type(value) is type(uuid4()) else value


def plain(message: str, row: dict[str, Any]) -> str:
    for value in row.values():
        message = message.replace("\\x" + value.hex() if isinstance(value, bytes) else str(value), "?")
    return message
