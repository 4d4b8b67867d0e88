"""What a check is, and the parts that most of their queries begin with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Check:
    """One question to the catalogue: a query that returns the objects at fault, one column.

    Its parameters: schemas, app, login (as whom the server logs in, if that is known), trusted, roles (app and
    trusted), exempt, rights ("schema.table RIGHT"), column, tenant_table, tenant_key, tenant_type, expected, setting,
    definers, publications. A warning is something the wall leans on, or that nobody but an administrator of the server
    can mend; an error is a hole, or makes the wall so slow that somebody will take it down.
    """

    id: str
    query: str
    explanation: str
    fix: str
    severity: Severity = "error"


# `tables`: the tables of the schemas with everything that inherits from them or that they inherit from, in whatever
# schema that is, without the exempted ones. Partitions are tables of their own here, because row-level security of the
# parent does not reach them.
_TABLES = """
    with recursive family (oid) as (
      select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where n.nspname = any (%(schemas)s) and c.relkind in ('r', 'p', 'f')
      union
      select case when h.inhparent = f.oid then h.inhrelid else h.inhparent end
        from family f join pg_inherits h on f.oid in (h.inhparent, h.inhrelid)
    ), named as (
      select c.*, n.nspname || '.' || c.relname as name,
             case when n.nspname || '.' || c.relname = %(tenant_table)s
                  then %(tenant_key)s else %(column)s end as holder
        from family f join pg_class c on c.oid = f.oid join pg_namespace n on n.oid = c.relnamespace
    ), tables as (
      select t.oid, t.name, t.relkind, t.relispartition, t.relrowsecurity, t.relforcerowsecurity, t.relowner,
             (select a.attnum from pg_attribute a
               where a.attrelid = t.oid and a.attname = t.holder and not a.attisdropped) as tenant_column,
             array(select replace(e, '{column}', quote_ident(t.holder)) from unnest(%(expected)s::text[]) e) as expected
        from named t where t.relkind in ('r', 'p') and t.name <> all (%(exempt)s)
    ), policies as (
      select p.*, coalesce(pg_get_expr(p.polqual, p.polrelid), '') as shown,
             coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '') as written,
             p.polroles = '{0}' or exists (
               select from unnest(p.polroles) r where r <> 0 and pg_has_role(%(app)s, r, 'USAGE')) as applies
        from pg_policy p
    )
"""

# `logins`: who logs in and becomes the application role at once, by a setting of its own (`ALTER ROLE ... SET role`),
# or as the server itself does. A superuser among the latter is a finding of its own (L00).
LOGINS = """
    with logins as (
      select r.* from pg_roles r
       where r.rolname <> %(app)s
         and (r.rolname = %(login)s and not r.rolsuper
              or exists (select from pg_db_role_setting s, unnest(s.setconfig) c
                          where s.setrole = r.oid and c = 'role=' || %(app)s
                            and s.setdatabase in (0, (select oid from pg_database where datname = current_database()))))
    )
"""

# Schemas that are PostgreSQL's own; to be put behind a `where`, n is pg_namespace.
OF_USERS = "n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"


def of_tables(query: str) -> str:
    """A query over `tables` and `policies`; `named` has the foreign tables and the exempted ones as well."""
    return _TABLES + query


def no_member(catalogue: str, oid: str) -> str:
    """A condition: the object was not made by CREATE EXTENSION."""
    return (
        f"not exists (select from pg_depend e where e.classid = '{catalogue}'::regclass and e.objid = {oid}"
        " and e.deptype = 'e')"
    )
