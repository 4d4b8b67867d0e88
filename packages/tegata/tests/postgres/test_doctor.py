"""The doctor finds nothing on the schema as migrated, and finds each hole that is made on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from tegata.postgres.doctor import Diagnosis, examine
from tegata.postgres.doctor_checks import CHECKS
from tegata.testing.clusters import Cluster, MigratedDatabase


@dataclass(frozen=True, slots=True)
class Hole:
    """Statements that make a hole (as superuser), what the doctor must say, and how roles are mended afterwards.

    `checks` are all checks that find something, no more and no fewer; `object` is part of what one of them names.
    """

    make: str
    checks: frozenset[str]
    object: str
    mend: str = ""


FENCED = """
    alter table tegata.{0} owner to tegata_owner;
    alter table tegata.{0} enable row level security;
    alter table tegata.{0} force row level security;
    create policy tenant_allow on tegata.{0} for all to tegata_app
      using (tenant_id = (select tegata.current_tenant())) with check (tenant_id = (select tegata.current_tenant()));
    create policy tenant_iso on tegata.{0} as restrictive for all to tegata_app
      using (tenant_id = (select tegata.current_tenant())) with check (tenant_id = (select tegata.current_tenant()));
    create policy maint_all on tegata.{0} for all to tegata_maint, tegata_owner using (true) with check (true);
"""
TABLE = """
    create table tegata.extra (
      tenant_id uuid not null references tegata.tenant, id uuid, primary key (tenant_id, id));
"""


def hole(make: str, checks: str, what: str, mend: str = "") -> Hole:
    return Hole(make, frozenset(checks.split()), what, mend)


HOLES = {
    "the application role bypasses row-level security": hole(
        "alter role tegata_app bypassrls", "R01 L00 L01 L02 L03 L04", "tegata_app", "alter role tegata_app nobypassrls"
    ),
    "the maintenance role may create roles": hole(
        "alter role tegata_maint createrole", "R01", "tegata_maint", "alter role tegata_maint nocreaterole"
    ),
    "the application role is a member of the owner": hole(
        "grant tegata_owner to tegata_app",
        "R02 R04 T01 T05 G01",
        "tegata_owner",
        "revoke tegata_owner from tegata_app",
    ),
    "the application role may read all data": hole(
        "grant pg_read_all_data to tegata_app",
        "R02 T01",
        "pg_read_all_data",
        "revoke pg_read_all_data from tegata_app",
    ),
    "the application role owns a table": hole(
        TABLE + FENCED.format("extra") + "alter table tegata.extra owner to tegata_app", "R03 G01", "tegata.extra"
    ),
    "the application role may create in the schema": hole(
        "grant create on schema tegata to tegata_app", "R04", "schema tegata"
    ),
    "everybody may create schemas in the database": hole(
        "do $$ begin execute format('grant create on database %I to public', current_database()); end $$",
        "R04",
        "database test_",
    ),
    "a table without tenant_id": hole("create table tegata.extra (id uuid primary key)", "T01 T03", "extra"),
    "the directory of tenants is readable": hole(
        "grant select on tegata.tenant_directory to tegata_app", "T01", "tenant_directory: SELECT"
    ),
    "a table without a tenant is writable": hole(
        "grant update on tegata.schema_version to tegata_app", "T01", "schema_version: UPDATE"
    ),
    "tenant_id may be null": hole(
        "create table tegata.extra (tenant_id uuid references tegata.tenant, id uuid);"
        "create index on tegata.extra (tenant_id);" + FENCED.format("extra"),
        "T02",
        "extra",
    ),
    "tenant_id is text": hole(
        "create table tegata.extra (tenant_id text not null, id uuid, primary key (tenant_id, id));"
        "alter table tegata.extra enable row level security; alter table tegata.extra force row level security",
        "T02 T06 F01",
        "extra",
    ),
    "a table without row-level security": hole(
        TABLE + "grant select, insert, update, delete on tegata.extra to tegata_app",
        "T03 T04 T06 L01 L02 L03 L04",
        "extra",
    ),
    "row-level security that does not bind the owner": hole(
        "alter table tegata.session no force row level security", "T03", "session"
    ),
    "row-level security that is switched off": hole(
        "alter table tegata.session disable row level security", "T03 L01 L02 L03 L04", "session"
    ),
    "a granted command without a policy": hole("grant insert on tegata.tenant to tegata_app", "T04", "tenant: INSERT"),
    "a second policy that is always true": hole(
        "create policy open on tegata.session to tegata_app using (true)", "T05", "session, policy open"
    ),
    "a policy for everybody that is always true": hole(
        "create policy open on tegata.session using (true)", "T05", "session, policy open"
    ),
    "a policy that only looks like the condition": hole(
        "alter policy tenant_allow on tegata.session"
        " using (tenant_id = (select tegata.current_tenant()) or tenant_id is not null)",
        "T05",
        "session, policy tenant_allow",
    ),
    "both policies are always true": hole(
        "alter policy tenant_allow on tegata.session using (true) with check (true);"
        "alter policy tenant_iso on tegata.session using (true) with check (true)",
        "T05 T06 L01 L02 L03 L04",
        "session",
    ),
    "an insert policy that is always true": hole(
        "create policy open on tegata.session for insert to tegata_app with check (true)", "T05", "policy open"
    ),
    "no restrictive policy": hole("drop policy tenant_iso on tegata.session", "T06", "session"),
    "a policy with a volatile function": hole(
        "alter function tegata.current_tenant() volatile", "T07", "session, policy tenant_allow: current_tenant"
    ),
    "the context function answers for everybody": hole(
        "create or replace function tegata.current_tenant() returns uuid language sql stable as"
        " $$ select coalesce(nullif(current_setting('app.tenant_id', true), ''), gen_random_uuid()::text)::uuid $$",
        "L01",
        "session",
    ),
    "no index starts with the tenant": hole(
        "create table tegata.extra (tenant_id uuid not null references tegata.tenant, id uuid,"
        " primary key (id, tenant_id));" + FENCED.format("extra"),
        "I01",
        "extra",
    ),
    "a unique index without the tenant": hole(
        "create unique index on tegata.account (login_email)", "I02", "account_login_email_idx"
    ),
    "an index on an expression": hole(
        "create index on tegata.account (tenant_id, lower(username))", "I03", "account_tenant_id_lower_idx"
    ),
    "an index with an operator that is not leakproof": hole(
        "alter table tegata.account add column address inet; create index on tegata.account (tenant_id, claims)",
        "I03",
        "account_tenant_id_claims_idx",
    ),
    "a tenant_id without foreign key": hole(
        "alter table tegata.session drop constraint session_tenant_id_fkey", "F01", "session"
    ),
    "a foreign key without the tenant": hole(
        "create unique index only_id on tegata.account (user_id);"
        "alter table tegata.session add constraint across foreign key (user_id) references tegata.account (user_id)",
        "I02 F02",
        "session, across",
    ),
    "a foreign key that pairs the columns wrongly": hole(
        "create unique index pair on tegata.account (tenant_id, user_id);"
        "alter table tegata.session add constraint crossed foreign key (user_id, tenant_id)"
        " references tegata.account (tenant_id, user_id) not valid",
        "F02",
        "session, crossed",
    ),
    "a view that reads with its owner's rights": hole(
        "create view tegata.sessions as select * from tegata.session; grant select on tegata.sessions to tegata_app",
        "V01 L01 L02 L03",
        "tegata.sessions",
    ),
    "a view in another schema": hole(
        "create schema reports; create view reports.sessions as select * from tegata.session;"
        "grant select (tenant_id) on reports.sessions to tegata_app",
        "V01",
        "reports.sessions",
    ),
    "a materialized view": hole(
        "create materialized view tegata.sessions as select * from tegata.session;"
        "grant select on tegata.sessions to tegata_app",
        "V01 L01",
        "tegata.sessions",
    ),
    "a function that runs with its owner's rights": hole(
        "create function tegata.peek() returns bigint language sql security definer set search_path = ''"
        " as 'select count(*) from tegata.session'; grant execute on function tegata.peek() to tegata_app",
        "V02",
        "tegata.peek()",
    ),
    "the allowed function lost its search path": hole(
        "alter function tegata.find_tenant(text) reset search_path", "V02", "tegata.find_tenant(text)"
    ),
    "the allowed function looks into temporary schemas first": hole(
        "alter function tegata.find_tenant(text) set search_path = ''", "V02", "tegata.find_tenant(text)"
    ),
    "the application role may truncate": hole(
        "grant truncate, references, trigger on tegata.session to tegata_app",
        "G01",
        "session: REFERENCES, TRIGGER, TRUNCATE",
    ),
    "a partition that can be read directly": hole(
        "create table tegata.extra (tenant_id uuid not null references tegata.tenant, id uuid, at timestamptz not null"
        " default now(), primary key (tenant_id, id, at)) partition by range (at);"
        + FENCED.format("extra")
        + "create table tegata.extra_all partition of tegata.extra for values from (minvalue) to (maxvalue);"
        "grant select on tegata.extra to tegata_app; grant select on tegata.extra_all to tegata_app",
        "T03 T04 T06 G02 L01 L02 L03",
        "extra_all",
    ),
    "a sequence that can be read": hole(
        "create sequence tegata.counter; grant usage on sequence tegata.counter to tegata_app", "G03", "counter"
    ),
    "default privileges for the application role": hole(
        "alter default privileges for role tegata_owner in schema tegata grant select on tables to tegata_app",
        "G04",
        "default privileges of tegata_owner on tables",
    ),
    "new functions are executable by everybody": hole(
        "alter default privileges for role tegata_owner grant execute on functions to public",
        "G04",
        "default privileges of tegata_owner on functions",
    ),
}


@pytest.fixture
def database(each_cluster: Cluster) -> Iterator[MigratedDatabase]:
    with each_cluster.migrated_database() as migrated:
        yield migrated


def run(database: MigratedDatabase, statements: str) -> None:
    with psycopg.connect(database.admin.psycopg_conninfo()) as connection:
        connection.execute(statements.encode())


def diagnose(database: MigratedDatabase) -> Diagnosis:
    return examine(database.admin, application=database.app)


@pytest.mark.parametrize("name", HOLES)
def test_a_hole_is_found(database: MigratedDatabase, name: str) -> None:
    hole = HOLES[name]
    run(database, hole.make)
    try:
        found = diagnose(database).findings
    finally:
        if hole.mend:
            run(database, hole.mend)
    assert {finding.check for finding in found} == hole.checks
    assert any(hole.object in finding.object for finding in found), found


def test_every_check_has_a_hole_that_it_finds() -> None:
    assert {check.id for check in CHECKS} <= {check for hole in HOLES.values() for check in hole.checks}
    assert len(CHECKS) == 22


def test_the_schema_as_migrated_is_healthy_and_proven(each_migrated_database: MigratedDatabase) -> None:
    for catalogue in (each_migrated_database.admin, each_migrated_database.owner):
        diagnosis = examine(catalogue, application=each_migrated_database.app)
        assert diagnosis.findings == ()
        assert diagnosis.remarks == ()
        assert diagnosis.probes > 100


@pytest.mark.parametrize("entered_as", ["maintenance", "app"])
def test_a_role_with_few_rights_can_ask_too_and_is_told_what_was_not_tried(
    each_migrated_database: MigratedDatabase, entered_as: str
) -> None:
    diagnosis = examine(getattr(each_migrated_database, entered_as))
    assert diagnosis.findings == ()
    assert diagnosis.remarks


def test_the_examination_leaves_nothing_behind(database: MigratedDatabase) -> None:
    diagnose(database)
    with psycopg.connect(database.admin.psycopg_conninfo()) as connection:
        rows = connection.execute("select count(*) from tegata.tenant").fetchall()
    assert rows == [(0,)]


def test_a_server_that_logs_in_as_somebody_stronger_is_found_out(each_migrated_database: MigratedDatabase) -> None:
    as_superuser = examine(each_migrated_database.admin, application=each_migrated_database.admin)
    assert {"R01", "L00", "L01"} <= {finding.check for finding in as_superuser.findings}
    with_role = each_migrated_database.admin.taking_role("tegata_app")
    assert {finding.check for finding in examine(each_migrated_database.admin, application=with_role).findings} == {
        "L00"
    }


def test_a_database_that_was_never_set_up_is_one_finding(each_cluster: Cluster) -> None:
    with each_cluster.empty_database() as target:
        assert [finding.check for finding in examine(target).findings] == ["R00"]
