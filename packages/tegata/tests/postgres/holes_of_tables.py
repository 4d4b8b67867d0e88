"""Holes of roles, tables, policies, indexes and foreign keys (R, T, I, F)."""

from __future__ import annotations

from .holes import FENCED, TABLE, hole

HOLES = {
    "the application role bypasses row-level security": hole(
        "alter role tegata_app bypassrls", "R01 L00 L01 L02 L03 L04", "tegata_app", "alter role tegata_app nobypassrls"
    ),
    "the maintenance role may create roles": hole(
        "alter role tegata_maint createrole", "R01", "tegata_maint", "alter role tegata_maint nocreaterole"
    ),
    "the application role is a member of the owner": hole(
        "grant tegata_owner to tegata_app",
        "R02 R04 T01 T05 T10 G01 V02",
        "tegata_owner",
        "revoke tegata_owner from tegata_app",
    ),
    "the application role may read all data": hole(
        "grant pg_read_all_data to tegata_app",
        "R02 T01 T10",
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
        "create or replace function tegata.current_tenant() returns uuid language sql stable"
        " set search_path = pg_catalog, pg_temp as"
        " $$ select coalesce(nullif(current_setting('app.tenant_id', true), ''), gen_random_uuid()::text)::uuid $$",
        "L01",
        "session",
    ),
    "no index starts with the tenant": hole(
        "create table tegata.extra (tenant_id uuid not null references tegata.tenant, id uuid,"
        " primary key (id, tenant_id)); create index on tegata.extra (tenant_id) where id is null;"
        + FENCED.format("extra"),
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
    "everybody may make temporary tables": hole(
        "do $$ begin execute format('grant temporary on database %I to public', current_database()); end $$",
        "R05",
        "database test_",
    ),
    "the application role owns the database": hole(
        "do $$ begin execute format('alter database %I owner to tegata_app', current_database()); end $$",
        "R02 R03 R04 R05",
        "database test_",
    ),
    "the application role may create in another schema": hole(
        "grant create on schema public to tegata_app", "R04", "schema public"
    ),
    "the application role may stop its own programs": hole(
        "grant pg_signal_backend to tegata_app", "R02", "pg_signal_backend", "revoke pg_signal_backend from tegata_app"
    ),
    "the database begins each session with a tenant": hole(
        "do $$ begin execute format('alter database %I set app.tenant_id = %L', current_database(),"
        " gen_random_uuid()); end $$",
        "R06 L05",
        "app.tenant_id",
    ),
    "the application role begins without row-level security": hole(
        "alter role tegata_app set row_security = off",
        "R06",
        "role tegata_app, row_security",
        "alter role tegata_app reset row_security",
    ),
    "the application role may switch off triggers": hole(
        "grant set on parameter session_replication_role to tegata_app",
        "R07",
        "session_replication_role: SET",
        "revoke set on parameter session_replication_role from tegata_app",
    ),
    "a login of the application role reads everything": hole(
        "create role turn_a login in role tegata_app; alter role turn_a set role = 'tegata_app';"
        "grant pg_read_all_data to turn_a",
        "R08",
        "turn_a: member of pg_read_all_data",
        "drop role turn_a",
    ),
    "a policy for a role that nobody knows": hole(
        "create role tegata_reporter;"
        "create policy open on tegata.session for select to tegata_reporter using (true);"
        "grant select on tegata.session to tegata_reporter",
        "T08 G05",
        "session, policy open: tegata_reporter",
        "drop owned by tegata_reporter; drop role tegata_reporter",
    ),
    "a table in another schema that inherits": hole(
        TABLE + FENCED.format("extra") + "create schema side; create table side.child () inherits (tegata.extra)",
        "T09 T03 T06 I01 F01",
        "tegata.extra <- side.child",
    ),
    "a partition in another schema": hole(
        "create table tegata.extra (tenant_id uuid not null references tegata.tenant, id uuid,"
        " primary key (tenant_id, id)) partition by hash (tenant_id);" + FENCED.format("extra") + "create schema side;"
        "create table side.part partition of tegata.extra for values with (modulus 1, remainder 0)",
        "T03 T06",
        "side.part",
    ),
    "a unique index that only carries the tenant": hole(
        "create unique index on tegata.account (login_email) include (tenant_id)",
        "I02",
        "account_login_email_tenant_id_idx",
    ),
    "an exclusion constraint without the tenant": hole(
        "alter table tegata.account add constraint sole exclude using btree (username with =)", "I02", "sole"
    ),
    "a copy that everybody may read": hole(
        "create table public.session_backup as select * from tegata.session;"
        "grant select on public.session_backup to public",
        "T10",
        "public.session_backup: SELECT",
    ),
}
