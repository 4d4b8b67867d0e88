"""Holes of views, functions, triggers and grants (V, G)."""

from __future__ import annotations

from .holes import FENCED, hole

FOREIGN = "create foreign data wrapper nowhere; create server far foreign data wrapper nowhere;"

HOLES = {
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
        "V01",
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
    "a view that can only be written to": hole(
        "create view tegata.sessions as select * from tegata.session; grant insert on tegata.sessions to tegata_app",
        "V01",
        "tegata.sessions",
    ),
    "a foreign table": hole(
        FOREIGN + "create foreign table tegata.remote (tenant_id uuid) server far;"
        "grant select on tegata.remote to tegata_app",
        "V03",
        "foreign table tegata.remote",
    ),
    "a foreign server": hole(FOREIGN + "grant usage on foreign server far to tegata_app", "V03", "foreign server far"),
    "a trigger with its owner's rights": hole(
        "create function tegata.spy() returns trigger language plpgsql security definer"
        " set search_path = pg_catalog, pg_temp as 'begin return null; end';"
        "revoke all on function tegata.spy() from public;"
        "create trigger spy after insert on tegata.session for each row execute function tegata.spy()",
        "V04",
        "session, trigger spy",
    ),
    "a trigger that a stranger has written": hole(
        "create role tegata_stranger; create function public.spy() returns trigger language plpgsql"
        " as 'begin return null; end'; alter function public.spy() owner to tegata_stranger;"
        "create trigger spy after insert on tegata.session for each row execute function public.spy()",
        "V04",
        "session, trigger spy",
        "drop owned by tegata_stranger cascade; drop role tegata_stranger",
    ),
    "a rule": hole("create rule quiet as on delete to tegata.client do also nothing", "V04", "client, rule quiet"),
    "an event trigger that a stranger has written": hole(
        "create role tegata_stranger; create function public.watch() returns event_trigger language plpgsql"
        " as 'begin end'; alter function public.watch() owner to tegata_stranger;"
        "create event trigger watch on sql_drop execute function public.watch()",
        "V04",
        "event trigger watch",
        "drop event trigger watch; drop owned by tegata_stranger cascade; drop role tegata_stranger",
    ),
    "a function without a search path": hole(
        "create function tegata.loose() returns int language sql as 'select 1';"
        "revoke all on function tegata.loose() from public",
        "V05",
        "tegata.loose()",
    ),
    "a function that switches row-level security off": hole(
        "create function tegata.off() returns int language sql set row_security = off"
        " set search_path = pg_catalog, pg_temp as 'select 1'",
        "V06",
        "tegata.off(): row_security",
    ),
    "a function of an untrusted language": hole(
        "create function public.raw(text) returns int language internal strict as 'textlen'", "V07", "public.raw(text)"
    ),
    "a function that claims to be leakproof": hole(
        "create function public.sees(text) returns boolean language plpgsql leakproof as 'begin return true; end'",
        "V08",
        "public.sees(text)",
    ),
    "a cast that makes tenants of texts": hole("create cast (text as uuid) with inout as implicit", "V09", "text"),
    "an operator that compares tenants": hole(
        "create function public.same(uuid, uuid) returns boolean language sql as 'select true';"
        "create operator public.= (leftarg = uuid, rightarg = uuid, function = public.same)",
        "V09",
        "operator",
    ),
    "the application role may refer to one column": hole(
        "grant references (user_id) on tegata.session to tegata_app", "G01", "session: REFERENCES"
    ),
    "an identity column": hole(
        "create table tegata.extra (tenant_id uuid not null references tegata.tenant,"
        " id bigint generated always as identity, primary key (tenant_id, id));"
        + FENCED.format("extra")
        + "grant select, insert on tegata.extra to tegata_app",
        "G03",
        "tegata.extra, identity column id",
    ),
    "everybody may read a table": hole("grant select on tegata.session to public", "G05", "session: PUBLIC, SELECT"),
    "everybody may write a column": hole(
        "grant update (claims) on tegata.account to public", "G05", "account: PUBLIC, UPDATE"
    ),
    "a stranger may count": hole(
        "create role tegata_stranger; create sequence tegata.counter;"
        "grant usage on sequence tegata.counter to tegata_stranger",
        "G05",
        "counter: tegata_stranger, USAGE",
        "drop owned by tegata_stranger; drop role tegata_stranger",
    ),
    "a right that can be handed on": hole(
        "grant select on tegata.session to tegata_app with grant option", "G06", "session: SELECT"
    ),
    "the server's files can be read": hole(
        "grant execute on function pg_read_file(text) to tegata_app", "G07", "pg_read_file(text): EXECUTE"
    ),
    "passwords can be read by everybody": hole("grant select on pg_authid to public", "G07", "pg_authid: SELECT"),
    "a large object for everybody": hole(
        "select lo_from_bytea(4711, 'x'); grant select on large object 4711 to public", "G08", "large object 4711"
    ),
    "large objects without rights": hole(
        "do $$ begin execute format('alter database %I set lo_compat_privileges = on', current_database()); end $$",
        "G08",
        "lo_compat_privileges",
    ),
    "a publication of everything": hole("create publication everything for all tables", "G09", "everything"),
    "a publication of the schema": hole("create publication tenants for tables in schema tegata", "G09", "tenants"),
    "a publication of one table": hole("create publication people for table tegata.account", "G09", "people"),
}
