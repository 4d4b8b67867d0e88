# ruff: noqa: S608 - the parts that are filled in are constants of this package
"""What is executed or read with somebody else's rights: views, functions, triggers, foreign servers (V)."""

from __future__ import annotations

from tegata.postgres.doctor.question import OF_USERS, Check, no_member, of_tables

# A temporary schema that is not named is searched first, so it has to be named, and last (CREATE FUNCTION, "Writing
# SECURITY DEFINER Functions Safely").
_PINNED = (
    """exists (select from unnest(p.proconfig) c where c ~ '^search_path=(.+, )?"?pg_temp"?$' and c !~ '[$]user')"""
)
_DML = """(has_any_column_privilege(%(app)s, v.oid, 'SELECT') or has_any_column_privilege(%(app)s, v.oid, 'INSERT')
           or has_any_column_privilege(%(app)s, v.oid, 'UPDATE') or has_table_privilege(%(app)s, v.oid, 'DELETE'))"""
_SUPERUSERS = "(select r.oid from pg_roles r where r.rolsuper or r.rolname = any (%(trusted)s))"

CHECKS = (
    Check(
        "V01",
        f"""select n.nspname || '.' || v.relname from pg_class v join pg_namespace n on n.oid = v.relnamespace
            where v.relkind in ('v', 'm') and {OF_USERS} and {no_member("pg_class", "v.oid")} and {_DML}
              and not (v.relkind = 'v' and coalesce((
                select o.option_value::boolean from pg_options_to_table(v.reloptions) o
                 where o.option_name = 'security_invoker'), false)) order by 1""",
        "a view that reads or writes with its owner's rights, or a materialized view, reaches all tenants' rows",
        "ALTER VIEW ... SET (security_invoker = true); no materialized view over tenants' tables",
    ),
    Check(
        "V02",
        f"""select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
            where p.prosecdef and {OF_USERS} and has_function_privilege(%(app)s, p.oid, 'EXECUTE')
              and (p.oid::regprocedure::text <> all (%(definers)s) or not {_PINNED}) order by 1""",
        "a SECURITY DEFINER function that is not on the allow-list (or does not name pg_temp last in its search_path)"
        " runs with its owner's rights",
        "REVOKE EXECUTE ... FROM PUBLIC and the application role, or make it SECURITY INVOKER",
    ),
    Check(
        "V03",
        f"""select 'foreign table ' || n.nspname || '.' || v.relname
             from pg_class v join pg_namespace n on n.oid = v.relnamespace where v.relkind = 'f' and {_DML}
            union all
           select 'foreign server ' || s.srvname from pg_foreign_server s
            where has_server_privilege(%(app)s, s.oid, 'USAGE')
            union all
           select 'foreign-data wrapper ' || w.fdwname from pg_foreign_data_wrapper w
            where has_foreign_data_wrapper_privilege(%(app)s, w.oid, 'USAGE') order by 1""",
        "a foreign table has no row-level security, whatever stands behind it",
        "REVOKE ALL ON ... FROM the application role and from PUBLIC",
    ),
    Check(
        "V04",
        of_tables(
            f"""select t.name || ', trigger ' || g.tgname || ': ' || p.oid::regprocedure
               from tables t join pg_trigger g on g.tgrelid = t.oid and not g.tgisinternal
               join pg_proc p on p.oid = g.tgfoid
              where p.prosecdef and (p.oid::regprocedure::text <> all (%(definers)s) or not {_PINNED})
                 or p.proowner <> t.relowner and p.proowner not in {_SUPERUSERS}
              union all
             select t.name || ', rule ' || r.rulename from tables t join pg_rewrite r on r.ev_class = t.oid
              union all
             select 'event trigger ' || e.evtname from pg_event_trigger e join pg_proc p on p.oid = e.evtfoid
              where e.evtenabled <> 'D' and p.proowner not in {_SUPERUSERS} order by 1"""
        ),
        "it runs on the way of every row without being called: with its owner's rights (rule, SECURITY DEFINER, which"
        " needs no EXECUTE there), or written by a role that nobody trusts",
        "DROP RULE; a trigger's function belongs to the owner of the table and is SECURITY INVOKER",
    ),
    Check(
        "V05",
        f"""select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
              join pg_language l on l.oid = p.prolang
            where n.nspname = any (%(schemas)s) and l.lanname in ('sql', 'plpgsql') and p.prosqlbody is null
              and not p.prosecdef and {no_member("pg_proc", "p.oid")} and not {_PINNED} order by 1""",
        "the function looks its names up along its caller's search_path, temporary schema first",
        "ALTER FUNCTION ... SET search_path = pg_catalog, pg_temp, and write schemas in its body",
        "warning",
    ),
    Check(
        "V06",
        f"""select p.oid::regprocedure || ': ' || split_part(c, '=', 1)
             from pg_proc p join pg_namespace n on n.oid = p.pronamespace, unnest(p.proconfig) c
            where {OF_USERS} and has_function_privilege(%(app)s, p.oid, 'EXECUTE')
              and lower(split_part(c, '=', 1)) in
                (lower(%(setting)s), 'row_security', 'role', 'session_authorization', 'session_replication_role')
            order by 1""",
        "the function changes the tenant, the role or row-level security for as long as it runs",
        "ALTER FUNCTION ... RESET; the tenant is an argument",
    ),
    Check(
        "V07",
        f"""select p.oid::regprocedure || ': ' || l.lanname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
              join pg_language l on l.oid = p.prolang
            where not l.lanpltrusted and {OF_USERS} and {no_member("pg_proc", "p.oid")}
              and has_function_privilege(%(app)s, p.oid, 'EXECUTE') order by 1""",
        "code of an untrusted language is bound by nothing: it can read files and memory of the server",
        "REVOKE EXECUTE ... FROM PUBLIC and the application role",
    ),
    Check(
        "V08",
        f"""select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
            where p.proleakproof and {OF_USERS} and {no_member("pg_proc", "p.oid")} order by 1""",
        "a LEAKPROOF function is called before the policies have filtered: it sees every tenant's values",
        "ALTER FUNCTION ... NOT LEAKPROOF",
    ),
    Check(
        "V09",
        f"""select pg_describe_object('pg_cast'::regclass, c.oid, 0) from pg_cast c
            where c.oid >= 16384 and c.castcontext = 'i' and {no_member("pg_cast", "c.oid")}
              and %(tenant_type)s::regtype in (c.castsource, c.casttarget)
            union all
           select pg_describe_object('pg_operator'::regclass, o.oid, 0) from pg_operator o
            where o.oid >= 16384 and o.oprname = '=' and {no_member("pg_operator", "o.oid")}
              and %(tenant_type)s::regtype in (o.oprleft, o.oprright) order by 1""",
        "comparing with a tenant can mean something else than it says, where the search_path reaches it",
        "DROP CAST, DROP OPERATOR",
        "warning",
    ),
)
