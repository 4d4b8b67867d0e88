"""Games with the tenant's context: settings, cursors, prepared statements, notifications, temporary objects."""

from __future__ import annotations

import json

import psycopg
from psycopg import sql

from tegata.postgres.changes import CHANNEL

from .siege import Siege

COUNT = "select tenant_id::text, count(*) from tegata.session group by 1"
SWITCH = "select set_config('app.tenant_id', %s, {})"


CONTEXTS = [
    ("", "TG001"),
    (" ", "22P02"),
    ("x", "22P02"),
    ("' or true --", "22P02"),
    ("%", "22P02"),
    ("00000000-0000-0000-0000-00000000000", "22P02"),
    ("null", "22P02"),
    ("{mine},{theirs}", "22P02"),
    ("{mine}' or tenant_id = '{theirs}", "22P02"),
    ("00000000-0000-0000-0000-000000000000", None),
]


def test_a_context_that_is_none_is_an_error_or_nobodys(siege: Siege) -> None:
    for template, sqlstate in CONTEXTS:
        value = template.replace("{mine}", str(siege.mine)).replace("{theirs}", str(siege.theirs))
        with siege.connection() as connection:
            connection.execute("select set_config('app.tenant_id', %s, false)", (value,))
            for relation in siege.tables:
                statement = sql.SQL("select * from {}").format(relation.identifier)
                outcome = siege.attempt("context", statement, connection=connection, in_context=False)
                siege.expect(outcome.sqlstate in {sqlstate, "42501"}, f"context: {value!r} {relation} {outcome}")
                siege.expect(outcome.is_empty, f"context: {value!r} {relation}")


def test_no_context_at_all_is_an_error(siege: Siege) -> None:
    for before in ("", "reset app.tenant_id", "discard all", "set app.tenant_id to default", "reset all"):
        with siege.connection() as connection:
            if before:
                connection.execute(before.encode())
            for relation in siege.relations:
                statement = sql.SQL("select * from {}").format(relation.identifier)
                outcome = siege.attempt("context", statement, connection=connection, in_context=False)
                siege.expect(outcome.sqlstate in {"TG001", "42501"}, f"context: {relation} {outcome.message}")


def test_the_context_ends_with_its_transaction(siege: Siege) -> None:
    with siege.connection() as connection:
        siege.attempt("context", COUNT, connection=connection)
        outcome = siege.attempt("context", COUNT, connection=connection, in_context=False)
        siege.expect(outcome.sqlstate == "TG001", "context: after a commit")
        assert siege.attempt("context", "select 1 / 0", connection=connection).sqlstate == "22012"
        outcome = siege.attempt("context", COUNT, connection=connection, in_context=False)
        siege.expect(outcome.sqlstate == "TG001", "context: after a rollback")


def test_a_prepared_statement_asks_for_the_tenant_each_time(siege: Siege) -> None:
    """Neither a custom nor a generic plan keeps the tenant for which it was made."""
    for mode in ("auto", "force_generic_plan", "force_custom_plan"):
        with siege.connection() as connection:
            connection.execute(f"set plan_cache_mode = {mode}".encode())
            with connection.transaction():
                connection.execute(b"select set_config('app.tenant_id', '%s', true)" % str(siege.theirs).encode())
                connection.execute("prepare stolen as select tenant_id::text from tegata.session")
                for _ in range(7):
                    assert connection.execute("execute stolen").fetchall() == [(str(siege.theirs),)]
            for _ in range(7):
                outcome = siege.attempt("prepared statement", "execute stolen", connection=connection)
                siege.expect(outcome.rows == [(str(siege.mine),)], f"prepared statement: {mode}")
            outcome = siege.attempt("prepared statement", "execute stolen", connection=connection, in_context=False)
            siege.expect(outcome.sqlstate == "TG001", f"prepared statement: {mode}")


def test_a_cursor_shows_the_tenant_that_opened_it(siege: Siege) -> None:
    with siege.connection() as connection:
        siege.attempt("cursor", "declare held cursor with hold for select * from tegata.session", connection=connection)
        with connection.transaction():
            connection.execute("select set_config('app.tenant_id', %s, true)", (str(siege.theirs),))
            rows = connection.execute("fetch all from held").fetchall()
        siege.expect(all(row[0] == siege.mine for row in rows), "cursor: held")
        assert len(rows) == 1
    with siege.connection() as connection, connection.transaction():
        connection.execute("select set_config('app.tenant_id', %s, true)", (str(siege.mine),))
        connection.execute("declare open cursor for select * from tegata.session")
        siege.attempts["cursor"] += 1
    with siege.connection() as connection:
        outcome = siege.attempt("cursor", "fetch all from held", connection=connection)
        siege.expect(outcome.sqlstate == "34000", "cursor: of another session")


def test_another_tenant_named_inside_a_statement(siege: Siege) -> None:
    """The tenant is asked for once in a statement: what changes the setting in the middle mixes no rows."""
    for statement in (
        "select tenant_id::text from tegata.session where set_config('app.tenant_id', %(theirs)s, true) is not null",
        "with s as (select set_config('app.tenant_id', %(theirs)s, true)) select tenant_id::text from tegata.session",
        "select t.tenant_id::text from (values (1)) v, lateral (select * from tegata.session offset 0) t",
    ):
        outcome = siege.attempt("context", statement, {"theirs": str(siege.theirs)})  # type: ignore[arg-type]
        siege.expect(len({row[0] for row in outcome.rows}) <= 1, f"context: {statement} mixed {outcome.rows}")
    # PostgreSQL may evaluate the volatile condition first; then the whole statement is the other tenant's. It is the
    # game of the next test in one statement.


def test_what_cannot_be_prevented_the_application_role_may_name_any_tenant(siege: Siege) -> None:
    """Accepted (docs/reference/doctor.md): whoever can run SQL as the application can choose the tenant."""
    with siege.connection() as connection:
        connection.execute("select set_config('app.tenant_id', %s, false)", (str(siege.theirs),))
        rows = connection.execute("select tenant_id from tegata.session").fetchall()
    assert rows == [(siege.theirs,)]


def test_what_cannot_be_prevented_sizes_are_seen(siege: Siege) -> None:
    """Accepted: estimates and EXPLAIN ANALYZE count rows of all tenants, and show none."""
    with psycopg.connect(siege.database.admin.psycopg_conninfo(), autocommit=True) as connection:
        connection.execute("analyze tegata.account")
    outcome = siege.attempt("statistics", "select reltuples from pg_class where oid = 'tegata.account'::regclass")
    assert outcome.rows == [(2.0,)]
    outcome = siege.attempt("statistics", "explain (analyze, timing off) select * from tegata.account")
    assert outcome.rows


def test_what_cannot_be_prevented_a_lock_on_a_table_that_one_may_write(siege: Siege) -> None:
    """Accepted: a denial of service to all tenants, by whoever can run SQL as the application; nothing is seen."""
    for relation in siege.tables:
        for mode in ("access share", "row exclusive", "share", "access exclusive"):
            statement = sql.SQL(f"lock table {{}} in {mode} mode").format(relation.identifier)
            outcome = siege.attempt("lock", statement)
            siege.expect(outcome.sqlstate in {None, "42501"}, f"lock: {outcome.message}")
    assert siege.attempt("lock", "lock table tegata.session in access exclusive mode").sqlstate is None
    assert siege.attempt("lock", "lock table tegata.client in row exclusive mode").sqlstate == "42501"


def test_what_cannot_be_prevented_advisory_locks_are_the_servers(siege: Siege) -> None:
    """Accepted: they are numbers that everybody may take, and tell nothing about rows."""
    outcome = siege.attempt("lock", "select pg_try_advisory_xact_lock(1)")
    assert outcome.rows == [(True,)]


def test_what_notifications_tell_of_other_tenants(siege: Siege) -> None:
    """Accepted: id of the tenant, kind and name of what was changed. No content, no secret."""
    with siege.connection() as connection:
        siege.attempt("notify", f"listen {CHANNEL}", connection=connection)
        with psycopg.connect(siege.database.maintenance.psycopg_conninfo()) as maintenance:
            for table in ("client", "client_secret", "signing_key", "tenant"):
                maintenance.execute(f"update tegata.{table} set tenant_id = tenant_id".encode())
        heard = [json.loads(note.payload) for note in connection.notifies(timeout=60.0, stop_after=6)]
    assert len(heard) == 6
    brought = {row[name] for row in siege.their_rows.values() for name in ("name", "client_id", "kid") if name in row}
    for payload in heard:
        siege.attempts["notify"] += 1
        siege.expect(set(payload) == {"tenant", "kind", "key"}, f"notify: {payload}")
        told = {payload["key"]} if payload["tenant"] == str(siege.theirs) else set()
        siege.expect(told <= brought, f"notify: {payload}")


def test_other_sessions_of_the_application_show_no_values(siege: Siege) -> None:
    """pg_stat_activity shows the application its own sessions: their statements hold no value but the tenant."""
    theirs = siege.their_rows[next(each.oid for each in siege.tables if each.name == "session")]
    with psycopg.connect(siege.database.app.psycopg_conninfo(), autocommit=True) as other:
        other.execute("select * from tegata.find_session(%s, %s, 'web', 60, 0)", (siege.theirs, theirs["digest"]))
        outcome = siege.attempt("statistics", "select query from pg_stat_activity where usename = 'tegata_app'")
        assert any("find_session" in row[0] for row in outcome.rows)


SHADOWS = """
    create temporary table session (like tegata.session); create temporary table account (like tegata.account);
    create temporary table authorization_code (like tegata.authorization_code);
    create temporary table tenant (like tegata.tenant);
    create temporary table tenant_directory (name text, tenant_id uuid);
    create temporary table audit_event (like tegata.audit_event); create temporary table client (like tegata.client);
    create function pg_temp.current_tenant() returns uuid language sql as $$ select '{theirs}'::uuid $$;
    create function pg_temp.set_config(text, text, boolean) returns text language sql as $$ select 'shadow' $$;
    create function pg_temp.to_timestamp(double precision) returns timestamptz language sql as
      $$ select null::timestamptz $$;
    create function pg_temp.uuid_eq(uuid, uuid) returns boolean language sql as $$ select true $$;
    create operator pg_temp.= (leftarg = uuid, rightarg = uuid, function = pg_temp.uuid_eq);
    create function pg_temp.spy(anyelement) returns boolean language plpgsql cost 0.0001 as
      $$ begin raise warning 'saw %', $1; raise exception 'saw %', $1; end $$;
    set search_path = pg_temp, tegata, pg_catalog;
"""


def test_shadows_in_a_temporary_schema_where_public_has_kept_the_right(siege: Siege) -> None:
    """Where nobody could take TEMPORARY from PUBLIC: stored functions, policies and triggers look elsewhere."""
    with psycopg.connect(siege.database.admin.psycopg_conninfo(), autocommit=True) as admin:
        admin.execute(f"grant temporary on database {siege.database.app.database} to public".encode())
    for relation in siege.tables:
        with siege.connection() as connection:
            connection.execute(SHADOWS.replace("{theirs}", str(siege.theirs)).encode())
            spied = sql.SQL("select * from {} t where pg_temp.spy({})").format(
                relation.identifier, sql.Identifier("t", relation.column)
            )
            outcome = siege.attempt("temporary objects", spied, connection=connection, brought=[siege.mine])
            siege.expect(str(siege.theirs) not in outcome.message, f"temporary objects: {relation}")
            plain = sql.SQL("select {}::text from {}").format(sql.Identifier(relation.column), relation.identifier)
            outcome = siege.attempt("temporary objects", plain, connection=connection)
            siege.expect(all(row == (str(siege.mine),) for row in outcome.rows), f"temporary objects: {relation}")
    theirs = {each.name: siege.their_rows[each.oid] for each in siege.tables}
    for statement, digest in (
        ("select * from tegata.find_session(%s, %s, 'web', 2000000000, 0)", theirs["session"]["digest"]),
        ("select * from tegata.find_interaction(%s, %s, 0)", theirs["interaction"]["digest"]),
        ("select * from tegata.find_opaque_token(%s, %s, 0)", theirs["opaque_token"]["digest"]),
    ):
        with siege.connection() as connection:
            connection.execute(SHADOWS.replace("{theirs}", str(siege.theirs)).encode())
            outcome = siege.attempt("temporary objects", statement, [siege.mine, digest], connection=connection)
            siege.expect(outcome.is_empty, f"temporary objects: {statement}")
            found = connection.execute(b"select tegata.find_tenant('theirs-name')").fetchone()
            siege.expect(found == (siege.theirs,), "temporary objects: the directory")
