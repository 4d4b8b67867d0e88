"""Everything beside rows: files, definitions, partitions, sequences, roles, statistics; as the application role."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from .siege import Siege

# No right, or a setting that may not be changed.
REFUSED = frozenset({"42501"})


def refused(siege: Siege, kind: str, statement: str | sql.Composed, *also: str, in_context: bool = True) -> None:
    outcome = siege.attempt(kind, statement, in_context=in_context)
    siege.expect(outcome.sqlstate in {*REFUSED, *also}, f"{kind}: {statement!r} {outcome.sqlstate} {outcome.message}")


def on(text: str, identifier: sql.Identifier) -> sql.Composed:
    return sql.SQL(text).format(table=identifier)


def test_copy(siege: Siege, tmp_path: Path) -> None:
    file = tmp_path / "stolen"
    for relation in siege.relations:
        with siege.connection() as connection, connection.transaction():
            connection.execute("select set_config('app.tenant_id', %s, true)", (str(siege.mine),))
            siege.attempts["copy to"] = siege.attempts.get("copy to", 0) + 1
            copied = b""
            try:
                statement = on("copy {table} to stdout", relation.identifier)
                with connection.transaction(), connection.cursor().copy(statement) as out:
                    copied = b"".join(bytes(part) for part in out)
            except psycopg.errors.InsufficientPrivilege:
                pass
            shown = copied.decode()
            siege.expect(str(siege.theirs) not in shown, f"copy to: {relation}")
            siege.expect(not [secret for secret in siege.secrets if secret in shown], f"copy to: {relation}")
        refused(siege, "copy from", on("copy {table} from stdin", relation.identifier), "0A000")
        for text in (
            f"copy {{table}} to '{file}'",
            f"copy {{table}} from '{file}'",
            f"copy {{table}} to program 'cat > {file}'",
            "copy {table} from program 'echo'",
            f"copy (select * from {{table}}) to program 'cat > {file}'",
        ):
            refused(siege, "copy from" if " from " in text else "copy to", on(text, relation.identifier), "0A000")
    assert not file.exists()


DEFINITIONS = [
    "alter table {table} disable row level security",
    "alter table {table} no force row level security",
    "alter table {table} owner to tegata_app",
    "alter table {table} add column mine int",
    "alter table {table} disable trigger all",
    "create policy open on {table} to tegata_app using (true)",
    "drop policy tenant_iso on {table}",
    "alter policy tenant_allow on {table} using (true)",
    "create trigger t before insert on {table} for each row execute function suppress_redundant_updates_trigger()",
    "create rule r as on select to {table} do instead select 1",
    "create index on {table} (ctid)",
    "truncate {table}",
    "truncate {table} cascade",
    "drop table {table}",
    "drop table {table} cascade",
    "cluster {table}",
    "comment on table {table} is 'mine'",
    "create statistics stolen on tableoid, ctid from {table}",
    "alter table {table} set schema public",
    "alter table {table} rename to other",
    "select pg_relation_filepath({name}), pg_read_binary_file(pg_relation_filepath({name}))",
]


def test_definitions_are_not_the_intruders_to_change(siege: Siege) -> None:
    for statement in DEFINITIONS:
        kind = "truncate" if statement.startswith("truncate") else "definition"
        for relation in siege.relations:
            composed = sql.SQL(statement).format(table=relation.identifier, name=sql.Literal(str(relation)))
            refused(siege, kind, composed, "42P17", "42809", "0A000")


def test_granting_gives_nothing(siege: Siege) -> None:
    """Who has no right to grant gets a warning instead of an error, and nothing has changed."""
    rights = "select oid, relacl::text, (select array_agg(attacl::text) from pg_attribute where attrelid = c.oid)"
    rights += " from pg_class c order by oid"
    before = siege.attempt("grant", rights).rows
    for relation in siege.relations:
        for statement in (
            "grant all on {table} to tegata_app",
            "grant select on {table} to public",
            "grant update (tenant_id) on {table} to tegata_app",
            "revoke all on {table} from tegata_maint",
            "revoke select on {table} from tegata_app",
        ):
            siege.attempt("grant", on(statement, relation.identifier))
    siege.expect(siege.attempt("grant", rights).rows == before, "grant: rights have changed")


def test_partitions(siege: Siege) -> None:
    assert siege.partitions
    for part in siege.partitions:
        for statement in (
            "select * from {table}",
            "select count(*) from {table}",
            "select * from only {table}",
            "insert into {table} select * from {table}",
            "update {table} set tenant_id = tenant_id",
            "delete from {table}",
            "alter table tegata.audit_event detach partition {table}",
            "create table tegata.stolen partition of tegata.audit_event for values from (maxvalue) to (maxvalue)",
            "create table tegata.stolen (like {table})",
            "alter table tegata.audit_event attach partition {table} default",
            "alter table {table} inherit tegata.session",
            "select tableoid::regclass, * from tegata.audit_event where tableoid = {name}::regclass"
            " and tenant_id <> current_setting('app.tenant_id')::uuid and 1 / 0 = 1",
        ):
            composed = sql.SQL(statement).format(table=part.identifier, name=sql.Literal(str(part)))
            outcome = siege.attempt("partition", composed)
            siege.expect(outcome.is_empty, f"partition: {part}")
            siege.expect(outcome.is_refused or "tableoid" in statement, f"partition: {statement}")


def test_sequences(siege: Siege) -> None:
    with psycopg.connect(siege.database.admin.psycopg_conninfo()) as connection:
        connection.execute("create sequence tegata.counter")
        found = connection.execute("select oid::regclass::text from pg_class where relkind = 'S'").fetchall()
    for (name,) in found:
        for statement in ("select nextval({0})", "select currval({0})", "select setval({0}, 1)"):
            refused(siege, "sequence", sql.SQL(statement).format(sql.Literal(name)), "55000")
        refused(siege, "sequence", f"select * from {name}")
        refused(siege, "sequence", f"alter sequence {name} restart")
        outcome = siege.attempt("sequence", "select last_value from pg_sequences where last_value is not null")
        siege.expect(outcome.is_empty, "sequence: pg_sequences")


def test_views_and_functions_of_ones_own(siege: Siege) -> None:
    for statement in (
        "create view tegata.stolen as select * from tegata.session",
        "create view public.stolen as select * from tegata.session",
        "create temporary view stolen as select * from tegata.session",
        "create materialized view tegata.stolen as select * from tegata.session",
        "create temporary table stolen as select * from tegata.session",
        "select * into temporary stolen from tegata.session",
        "create schema stolen",
        "create function tegata.f() returns int language sql security definer as 'select 1'",
        "create function pg_temp.f() returns int language sql as 'select 1'",
        "create or replace function tegata.current_tenant() returns uuid language sql as 'select null::uuid'",
        "alter function tegata.current_tenant() volatile",
        "alter function tegata.find_tenant(text) set row_security = off",
        "create operator public.= (leftarg = uuid, rightarg = uuid, function = uuid_eq)",
        "create cast (text as uuid) with inout as implicit",
        "create aggregate public.a(int) (sfunc = int4pl, stype = int)",
        "create extension plperl",
        "create language c",
        "create event trigger e on ddl_command_start execute function suppress_redundant_updates_trigger()",
        "create publication everything for all tables",
        "create subscription s connection '' publication everything with (connect = false)",
        "create server s foreign data wrapper w",
        "create foreign data wrapper w",
        "do language c 'x'",
        "security label on table tegata.session is 'x'",
        "load '$libdir/plpgsql'",
    ):
        refused(siege, "view" if "view" in statement else "function", statement, "42704", "22023", "0A000", "58P01")
    refused(siege, "function", "do $$ begin execute 'create table tegata.stolen ()'; end $$")


def test_functions_that_are_not_the_applications(siege: Siege) -> None:
    """Each function of every schema that the application may not execute; those that it may are under `flows`."""
    listed = siege.attempt(
        "function",
        "select p.oid::regproc::text, (select string_agg('null::' || format_type(a, null), ', ' order by n)"
        " from unnest(p.proargtypes::oid[]) with ordinality t (a, n)), p.prokind::text from pg_proc p"
        " join pg_namespace n on n.oid = p.pronamespace where n.nspname ~ '^tegata'"
        " and p.prorettype <> 'trigger'::regtype and not (has_function_privilege(p.oid, 'EXECUTE')"
        " and has_schema_privilege(n.oid, 'USAGE'))",
    ).rows
    names = {str(row[0]) for row in listed}
    assert {"tegata.purge_audit_rows", "tegata.drop_audit_partition"} <= names
    for name, arguments, kind in listed:
        call = "call" if kind == "p" else "select"
        refused(siege, "function", f"{call} {name}({arguments or ''})")


def test_what_the_server_keeps_to_itself(siege: Siege) -> None:
    for statement in (
        "select * from pg_authid",
        "select * from pg_shadow",
        "select * from pg_statistic",
        "select * from pg_statistic_ext_data",
        "select * from pg_largeobject",
        "select * from pg_user_mapping",
        "select * from pg_hba_file_rules",
        "select pg_read_file('postgresql.conf')",
        "select pg_ls_dir('.')",
        "select pg_stat_file('postgresql.conf')",
        "select lo_import('/etc/passwd')",
        "select lo_export(1, '/tmp/x')",
        "select pg_reload_conf()",
        "select pg_switch_wal()",
        "select pg_create_logical_replication_slot('s', 'test_decoding')",
        "select pg_stat_reset()",
        "checkpoint",
        "alter database postgres set app.tenant_id = 'x'",
        "alter role tegata_app bypassrls",
        "alter role tegata_app superuser",
        "alter role tegata_maint password 'x'",
        "create role stolen superuser",
        "grant tegata_owner to tegata_app",
        "grant tegata_maint to tegata_app",
        "reassign owned by tegata_owner to tegata_app",
    ):
        refused(siege, "server", statement, "0A000")
    refused(siege, "server", "alter system set row_security = off", in_context=False)
    outcome = siege.attempt("server", "select pg_terminate_backend(pid) from pg_stat_activity where usename <> user")
    siege.expect(outcome.sqlstate in {None, "42501"}, f"server: {outcome.message}")


def test_roles(siege: Siege) -> None:
    for role in ("tegata_owner", "tegata_maint", "postgres", "pg_read_all_data"):
        refused(siege, "role", f"set role {role}")
        refused(siege, "role", f"set local role {role}")
        refused(siege, "role", f"select set_config('role', '{role}', true)")
        refused(siege, "role", f"set session authorization {role}")
    for setting in (
        "session_replication_role = replica",
        "session_preload_libraries = 'x'",
        "lo_compat_privileges = on",
    ):
        refused(siege, "role", f"set {setting}")
    assert os.environ.get("PGOPTIONS") is None
    for options in ("-c session_replication_role=replica", "-c role=tegata_maint", "-c is_superuser=on"):
        siege.attempts["role"] += 1
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(siege.database.app.psycopg_conninfo(), options=options).close()


def test_row_security_off_is_an_error_not_a_way(siege: Siege) -> None:
    for relation in siege.relations:
        with siege.connection() as connection:
            connection.execute("set row_security = off")
            outcome = siege.attempt("role", on("select * from {table}", relation.identifier), connection=connection)
            siege.expect(outcome.sqlstate == "42501", f"role: row_security = off {relation} {outcome.message}")


def test_statistics_show_no_values(siege: Siege) -> None:
    with psycopg.connect(siege.database.admin.psycopg_conninfo(), autocommit=True) as connection:
        connection.execute("create statistics tegata.both (mcv) on user_id, username from tegata.account")
        connection.execute("analyze")
    for view in ("pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"):
        outcome = siege.attempt("statistics", f"select * from {view} where schemaname = 'tegata'")
        seen = {row[1] for row in outcome.rows}
        siege.expect(seen <= {"schema_version"}, f"statistics: {view} of {seen}")
    for text in (
        "select * from pg_stat_user_tables",
        "select * from pg_statio_user_indexes",
        "select * from pg_class",
        "select * from pg_stat_activity",
        "select * from pg_locks",
        "select * from pg_stat_database",
        "select * from pg_prepared_statements",
        "select * from pg_cursors",
        "select * from pg_stat_progress_analyze",
        "select pg_get_expr(conbin, conrelid), * from pg_constraint",
        "select * from pg_stat_replication",
    ):
        siege.attempt("statistics", text)
    for relation in siege.tables:
        siege.attempt(
            "statistics", on("explain (analyze, verbose, buffers) select * from {table}", relation.identifier)
        )


def test_large_objects_of_others(siege: Siege) -> None:
    with psycopg.connect(siege.database.admin.psycopg_conninfo()) as connection:
        connection.execute("select lo_from_bytea(4711, %s)", (str(siege.theirs).encode(),))
    for statement in (
        "select lo_get(4711)",
        "select lo_put(4711, 0, 'x')",
        "select lo_unlink(4711)",
        "select lo_open(4711, x'40000'::int)",
    ):
        refused(siege, "large object", statement)
