"""The printed SQL does what it says on a real PostgreSQL, and nothing else, whatever the names are."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from tegata_credentials.cli import main
from tegata_credentials.grants import (
    GrantsError,
    build_grants,
    build_mapping,
    build_rights,
    format_script,
    quote_identifier,
    quote_literal,
)

PSQL = "/usr/lib/postgresql/15/bin/psql"
OID = "0f4c1d8a-3f0e-4f8a-9d0a-6a3f0b7d5e21"

HOSTILE = [
    'x"; drop table notes; --',
    "x'; drop table notes; --",
    "x\\'; drop table notes; --",
    "a$do$b$do1$c",
    "%I %s {0} {role} :name :'name'",
    "--",
    "/* x",
    "Ａ名前",
    "my app",
    "select",
]


@pytest.fixture
def connection(servers: Callable[..., Any]) -> Iterator[psycopg.Connection]:
    """A superuser in a transaction that is never kept, with a table to lose and the functions of the clouds."""
    with psycopg.connect(servers("writer").socket.psycopg_conninfo()) as connection:
        connection.execute("create table notes (id bigint generated always as identity, text text)")
        connection.execute("create role rds_iam")
        connection.execute("create table mapped (role text, oid text, type text, admin bool, mfa bool)")
        connection.execute(
            "create function pgaadauth_create_principal_with_oid(text, text, text, bool, bool) returns text"
            " language sql as $$ insert into mapped values ($1, $2, $3, $4, $5) returning 'created' $$"
        )
        connection.execute(
            "create function pgaadauth_create_principal(text, bool, bool) returns text"
            " language sql as $$ insert into mapped values ($1, null, null, $2, $3) returning 'created' $$"
        )
        yield connection
        connection.rollback()


def run(connection: psycopg.Connection, script: str) -> None:
    """Run a script that has its own BEGIN and COMMIT inside the test's transaction."""
    kept = [line for line in script.splitlines() if line not in ("BEGIN;", "COMMIT;")]
    connection.execute("\n".join(kept).encode())


def may(connection: psycopg.Connection, role: str, privilege: str, table: str = "notes") -> bool:
    row = connection.execute("select has_table_privilege(%s, %s, %s)", (role, table, privilege)).fetchone()
    assert row is not None
    return bool(row[0])


@pytest.mark.parametrize("role", HOSTILE)
def test_a_role_of_any_name_gets_its_rights_on_aws_and_nothing_else_happens(connection, role):
    steps = build_grants("aws", role=role, database="postgres", identity="svc; drop table notes;")
    run(connection, format_script(steps))
    connection.execute("select from notes")
    member = connection.execute(
        "select r.rolcanlogin, r.rolsuper, pg_has_role(%s, 'rds_iam', 'member') from pg_roles r where rolname = %s",
        (role, role),
    ).fetchone()
    assert member == (True, False, True)
    assert [may(connection, role, each) for each in ("select", "insert", "update", "delete")] == [True] * 4
    assert not any(may(connection, role, each) for each in ("truncate", "references", "trigger"))
    run(connection, format_script(steps))


def test_psql_reads_the_script_as_it_is_printed(servers):
    # psql has a language of its own around SQL: backslashes, :variables and quotes that do not end.
    target = servers("writer").socket
    command = [PSQL, "-X", "-v", "ON_ERROR_STOP=1", "-v", "name=drop table notes;", "-f", "-"]
    where = [f"--host={target.host}", f"--port={target.port}", "--username=postgres", "postgres"]
    with psycopg.connect(target.psycopg_conninfo(), autocommit=True) as connection:
        connection.execute("create role rds_iam")
        connection.execute("create table notes (id int)")
        try:
            for role in HOSTILE:
                script = format_script(build_grants("aws", role=role, database="postgres", identity=role))
                subprocess.run(
                    [*command, *where], input=script, text=True, check=True, capture_output=True, timeout=300
                )
                assert [may(connection, role, each) for each in ("select", "delete", "truncate")] == [True, True, False]
        finally:
            made = connection.execute("select rolname from pg_roles where rolname = any(%s)", [HOSTILE]).fetchall()
            for (role,) in made:
                connection.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(role)))
            connection.execute("drop table notes")
            connection.execute("drop role rds_iam")


@pytest.mark.parametrize("role", HOSTILE)
def test_a_role_of_any_name_reaches_azures_function_unchanged(connection, role):
    run(connection, build_mapping("azure", role, object_id=OID.upper()).sql)
    run(connection, build_mapping("azure", role, identity=role).sql)
    assert connection.execute("select * from mapped").fetchall() == [
        (role, OID, "service", False, False),
        (role, None, None, False, False),
    ]


@pytest.mark.parametrize("role", HOSTILE)
def test_an_existing_role_is_labelled_by_object_id_in_one_statement(connection, role):
    connection.execute(sql.SQL("create role {}").format(sql.Identifier(role)))
    step = build_mapping("azure", role, object_id=OID, is_existing=True)
    with pytest.raises(psycopg.Error, match='security label provider "pgaadauth" is not loaded'):
        run(connection, step.sql)
    assert step.sql.endswith(f" IS 'aadauth,oid={OID},type=service';")


def test_rights_cover_later_tables_of_the_named_owner_only(connection):
    connection.execute("create role rights_test")
    connection.execute("create role owner_of_tables")
    connection.execute("create schema data authorization owner_of_tables")
    run(connection, build_rights("rights_test", database="postgres", schema="data", owner="owner_of_tables").sql)
    connection.execute("set local role owner_of_tables")
    connection.execute("create table data.later (id int)")
    connection.execute("reset role")
    connection.execute("create table data.by_somebody_else (id int)")
    assert may(connection, "rights_test", "select", "data.later")
    assert not may(connection, "rights_test", "select", "data.by_somebody_else")


def test_a_schema_with_row_level_security_gets_no_rights_on_all_tables(connection):
    connection.execute("create role rights_test")
    connection.execute("alter table notes enable row level security")
    with pytest.raises(psycopg.errors.RaiseException) as caught:
        run(connection, build_rights("rights_test", database="postgres").sql)
    assert "--existing-role" in (caught.value.diag.message_hint or "")


def test_an_existing_role_is_mapped_and_keeps_the_rights_it_has():
    for cloud in ("azure", "aws"):
        steps = build_grants(cloud, role="tegata_app", database="tegata", object_id=OID, is_existing=True)
        assert len(steps) == 1
        assert "ON ALL TABLES" not in steps[0].sql
        assert "CREATE ROLE" not in steps[0].sql


@pytest.mark.parametrize(
    "role", ["", "x" * 64, "あ" * 22, "a\nb", "a\0b", "a\x1b[2J", "a\u2028b", "\ud800", "pg_monitor", "public", "NONE"]
)
def test_a_name_that_no_role_can_have_or_nobody_can_read_is_refused(role):
    for cloud in ("azure", "aws"):
        with pytest.raises(GrantsError):
            build_mapping(cloud, role, object_id=OID)
    with pytest.raises(GrantsError):
        build_rights(role, database="app")


@pytest.mark.parametrize("name", ["", "x" * 64, "a\nb"])
def test_the_other_names_are_judged_too(name):
    with pytest.raises(GrantsError):
        format_script((build_rights("app", database=name),))
    with pytest.raises(GrantsError):
        build_rights("app", database="app", schema=name)
    with pytest.raises(GrantsError):
        build_rights("app", database="app", owner=name)


def test_azure_needs_an_object_id_or_a_new_role_with_the_identitys_own_name():
    with pytest.raises(GrantsError, match="--object-id"):
        build_mapping("azure", "app")
    with pytest.raises(GrantsError, match="identity's own name"):
        build_mapping("azure", "app", identity="my-app")
    with pytest.raises(GrantsError, match="identity's own name"):
        build_mapping("azure", "app", identity="app", is_existing=True)
    with pytest.raises(GrantsError, match="principalId"):
        build_mapping("azure", "app", object_id="app,admin")
    with pytest.raises(GrantsError, match="cannot be seen"):
        build_mapping("aws", "app", identity="a\ndrop table notes;")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=15))
def test_quoting_agrees_with_libpq(text):
    assert quote_literal(text) == sql.Literal(text).as_string().replace("  E'", " E'")
    if text.isprintable():
        assert quote_identifier(text) == sql.Identifier(text).as_string()


def test_the_command_prints_steps_with_who_runs_them_and_where(capsys):
    assert main(["grants", "--for", "azure", "--role", "my-app", "--database", "shop", "--object-id", OID]) == 0
    text = capsys.readouterr().out
    assert text.startswith(
        '-- 1. As the Microsoft Entra administrator of the server,\n--    connected to the database "p'
    )
    assert f"SELECT * FROM pgaadauth_create_principal_with_oid('my-app', '{OID}', 'service', false, false);" in text
    assert 'connected to the database "shop":' in text
    assert main(["grants", "--for", "aws", "--role", "app", "--database", "shop", "--json"]) == 0
    steps = json.loads(capsys.readouterr().out)
    assert [step["database"] for step in steps] == ["postgres", "shop"]
    assert 'GRANT rds_iam TO "app";' in steps[0]["sql"]


def test_the_command_names_what_is_missing_and_prints_no_sql(capsys):
    assert main(["grants", "--for", "azure", "--role", "app", "--database", "shop"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "az identity show" in said.err
