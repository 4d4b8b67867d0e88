"""What the doctor asks the catalogue: the written list of checks, each with what a finding means and how to mend it.

The list of objects always comes from the catalogue; a list kept by hand misses the table that was added yesterday.
Every query returns the objects at fault, one column. `tables` are the tables of the schema without the exempted ones;
partitions are tables of their own here, because row-level security of the parent does not reach them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One question. `query` may use the parameters schema, app, roles, exempt, rights, expected and definers."""

    id: str
    query: str
    explanation: str
    fix: str


_TABLES = """
    with tables as (
      select c.oid, c.relname::text as name, c.relkind, c.relispartition, c.relrowsecurity, c.relforcerowsecurity,
             (select a.attnum from pg_attribute a
               where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped) as tenant_column
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where n.nspname = %(schema)s and c.relkind in ('r', 'p') and c.relname <> all (%(exempt)s)
    ), policies as (
      select p.*, coalesce(pg_get_expr(p.polqual, p.polrelid), '') as shown,
             coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '') as written,
             p.polroles = '{0}' or exists (
               select from unnest(p.polroles) r where r <> 0 and pg_has_role(%(app)s, r, 'USAGE')) as applies
        from pg_policy p
    )
"""


def _of_tables(query: str) -> str:
    """A query over `tables` and `policies`."""
    return _TABLES + query


CHECKS = (
    Check(
        "R01",
        """select rolname::text from pg_roles where rolname = any (%(roles)s)
            and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication) order by 1""",
        "the role is superuser, BYPASSRLS, CREATEROLE, CREATEDB or REPLICATION; the first two see every tenant's rows",
        "ALTER ROLE ... NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION",
    ),
    Check(
        "R02",
        """select r.rolname::text from pg_roles r
            where r.rolname <> %(app)s and pg_has_role(%(app)s, r.oid, 'MEMBER')
              and (r.rolsuper or r.rolbypassrls
                   or r.rolname = any ('{pg_read_all_data,pg_write_all_data,pg_read_server_files,pg_write_server_files,
                                         pg_execute_server_program,pg_database_owner,pg_maintain}')
                   or r.rolname = any (%(roles)s)
                   or exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                               where n.nspname = %(schema)s and c.relowner = r.oid)) order by 1""",
        "the application role is a member of this role and can act with its rights",
        "REVOKE this role FROM the application role",
    ),
    Check(
        "R03",
        """select pg_describe_object(d.classid, d.objid, d.objsubid) from pg_shdepend d
            where d.refclassid = 'pg_authid'::regclass and d.refobjid = %(app)s::regrole and d.deptype = 'o'
              and d.dbid = (select oid from pg_database where datname = current_database()) order by 1""",
        "the application role owns this object and can switch off its protection",
        "ALTER ... OWNER TO the owner role",
    ),
    Check(
        "R04",
        """select what from (values
              ('schema ' || %(schema)s, has_schema_privilege(%(app)s, %(schema)s, 'CREATE')),
              ('database ' || current_database(), has_database_privilege(%(app)s, current_database(), 'CREATE'))
            ) v (what, may) where may""",
        "the application role can create objects here, for example a view or a function that others trust",
        "REVOKE CREATE ON ... FROM the application role and from PUBLIC",
    ),
    Check(
        "T01",
        _of_tables(
            """select name from tables where tenant_column is null and not relispartition
              union all
             select c.relname || ': ' || string_agg(k.right_name, ', ' order by k.right_name)
               from pg_class c join pg_namespace n on n.oid = c.relnamespace
                cross join (values ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) k (right_name)
              where n.nspname = %(schema)s and c.relname = any (%(exempt)s)
                and case when k.right_name = 'DELETE' then has_table_privilege(%(app)s, c.oid, k.right_name)
                         else has_any_column_privilege(%(app)s, c.oid, k.right_name) end
                and (c.relname || ' ' || k.right_name) <> all (%(rights)s)
              group by c.relname order by 1"""
        ),
        "a table without tenant_id that is not exempted by name, or an exempted one that gives the application more"
        " rights than it is meant to",
        "add tenant_id (create_tenant_table), or revoke the rights",
    ),
    Check(
        "T02",
        _of_tables(
            """select t.name from tables t join pg_attribute a on a.attrelid = t.oid and a.attnum = t.tenant_column
              where not a.attnotnull or a.atttypid <> 'uuid'::regtype order by 1"""
        ),
        "tenant_id may be null or is no uuid: a row without a tenant belongs to nobody's policy",
        "ALTER TABLE ... ALTER COLUMN tenant_id TYPE uuid, ALTER COLUMN tenant_id SET NOT NULL",
    ),
    Check(
        "T03",
        _of_tables("select name from tables where not (relrowsecurity and relforcerowsecurity) order by 1"),
        "row-level security is not both enabled and forced",
        "ALTER TABLE ... ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY, and policies (create_tenant_table)",
    ),
    Check(
        "T04",
        _of_tables(
            """select t.name || ': ' || string_agg(k.command, ', ' order by k.command) from tables t
               cross join (values ('r', 'SELECT'), ('a', 'INSERT'), ('w', 'UPDATE'), ('d', 'DELETE'))
                 k (letter, command)
              where case when k.letter = 'd' then has_table_privilege(%(app)s, t.oid, k.command)
                         else has_any_column_privilege(%(app)s, t.oid, k.command) end
                and not exists (select from policies p where p.polrelid = t.oid and p.applies and p.polpermissive
                                 and p.polcmd in ('*', k.letter::"char"))
              group by t.name order by 1"""
        ),
        "commands are granted for which no policy applies: they fail silently, or everything is open without RLS",
        "revoke the grant, or add the policy tenant_allow",
    ),
    Check(
        "T05",
        _of_tables(
            """select t.name || ', policy ' || p.polname from tables t join policies p on p.polrelid = t.oid
              where p.polpermissive and p.applies
                and (p.polcmd <> 'a' and p.shown <> %(expected)s
                     or p.polcmd = 'a' and p.written <> %(expected)s
                     or p.polcmd <> 'a' and p.written not in ('', %(expected)s)) order by 1"""
        ),
        "a permissive policy lets the application reach rows by another condition than its tenant; they are ORed",
        "DROP POLICY, or give it exactly the condition of tenant_allow",
    ),
    Check(
        "T06",
        _of_tables(
            """select t.name from tables t where t.tenant_column is not null
              and not exists (select from policies p where p.polrelid = t.oid and p.applies and not p.polpermissive
                               and p.polcmd = '*' and p.shown = %(expected)s and p.written in ('', %(expected)s))
              order by 1"""
        ),
        "no restrictive policy holds when somebody adds a careless permissive one",
        "CREATE POLICY tenant_iso ... AS RESTRICTIVE FOR ALL",
    ),
    Check(
        "T07",
        _of_tables(
            """select t.name || ', policy ' || p.polname || ': ' || f.proname from tables t
               join pg_policy p on p.polrelid = t.oid
               join pg_depend d on d.classid = 'pg_policy'::regclass and d.objid = p.oid
                               and d.refclassid = 'pg_proc'::regclass
               join pg_proc f on f.oid = d.refobjid
              where f.provolatile = 'v' order by 1"""
        ),
        "the policy calls a VOLATILE function, once for each row and never from an index",
        "declare the function STABLE",
    ),
    Check(
        "I01",
        _of_tables(
            """select t.name from tables t where t.tenant_column is not null
              and not exists (select from pg_index i where i.indrelid = t.oid and i.indisvalid
                               and i.indkey[0] = t.tenant_column) order by 1"""
        ),
        "no index starts with tenant_id: each query of a small tenant reads all tenants' rows",
        "make tenant_id the first column of the primary key",
    ),
    Check(
        "I02",
        _of_tables(
            """select t.name || ', index ' || i.indexrelid::regclass from tables t
               join pg_index i on i.indrelid = t.oid and i.indisunique
              where t.tenant_column is not null and not t.tenant_column = any (i.indkey::int2[]) order by 1"""
        ),
        "a unique index without tenant_id: its error tells one tenant that another one has the value",
        "put tenant_id first into the unique key",
    ),
    Check(
        "I03",
        _of_tables(
            """select t.name || ', index ' || i.indexrelid::regclass from tables t
               join pg_index i on i.indrelid = t.oid
               join pg_class x on x.oid = i.indexrelid
               join pg_am am on am.oid = x.relam and am.amname = 'btree'
              where 0 = any (i.indkey::int2[])
                 or exists (select from unnest(i.indclass::oid[]) c
                              join pg_opclass o on o.oid = c
                              join pg_amop s on s.amopfamily = o.opcfamily and s.amoplefttype = o.opcintype
                                            and s.amoprighttype = o.opcintype and s.amopstrategy = 3
                              join pg_operator e on e.oid = s.amopopr
                              join pg_proc f on f.oid = e.oprcode
                             where not f.proleakproof) order by 1"""
        ),
        "an index on an expression or with an operator that is not leakproof is never used behind a policy",
        "store the normalised value in a column of its own and index that",
    ),
    Check(
        "F01",
        _of_tables(
            """select t.name from tables t where t.tenant_column is not null and t.name <> 'tenant'
              and not exists (select from pg_constraint k
                                join pg_attribute a on a.attrelid = k.confrelid and a.attnum = k.confkey[1]
                               where k.conrelid = t.oid and k.contype = 'f' and k.conkey = array[t.tenant_column]
                                 and k.confrelid = (
                                   select r.oid from pg_class r join pg_namespace n on n.oid = r.relnamespace
                                    where n.nspname = %(schema)s and r.relname = 'tenant')
                                 and a.attname = 'tenant_id') order by 1"""
        ),
        "tenant_id has no foreign key to the tenant table",
        "ALTER TABLE ... ADD FOREIGN KEY (tenant_id) REFERENCES tenant",
    ),
    Check(
        "F02",
        _of_tables(
            """select t.name || ', ' || k.conname from tables t
               join pg_constraint k on k.conrelid = t.oid and k.contype = 'f'
               join pg_attribute other on other.attrelid = k.confrelid and other.attname = 'tenant_id'
              where t.tenant_column is not null
                and not exists (select from unnest(k.conkey, k.confkey) pair (ours, theirs)
                                 where pair.ours = t.tenant_column and pair.theirs = other.attnum) order by 1"""
        ),
        "a foreign key without the tenant: its check bypasses row-level security, so a row of A may point at one of B",
        "make it composite: FOREIGN KEY (tenant_id, x_id) REFERENCES ... (tenant_id, x_id)",
    ),
    Check(
        "V01",
        """select n.nspname || '.' || v.relname from pg_class v join pg_namespace n on n.oid = v.relnamespace
            where v.relkind in ('v', 'm') and n.nspname not in ('pg_catalog', 'information_schema')
              and has_any_column_privilege(%(app)s, v.oid, 'SELECT')
              and not (v.relkind = 'v' and coalesce((
                select o.option_value::boolean from pg_options_to_table(v.reloptions) o
                 where o.option_name = 'security_invoker'), false)) order by 1""",
        "a view that reads with its owner's rights, or a materialized view, shows all tenants' rows",
        "ALTER VIEW ... SET (security_invoker = true); no materialized view over tenants' tables",
    ),
    Check(
        "V02",
        """select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
            where p.prosecdef and n.nspname not in ('pg_catalog', 'information_schema')
              and has_function_privilege(%(app)s, p.oid, 'EXECUTE')
              and (p.oid::regprocedure::text <> all (%(definers)s)
                   or not coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false)) order by 1""",
        "a SECURITY DEFINER function that is not on the allow-list (or has no pinned search_path) runs with its owner's"
        " rights",
        "REVOKE EXECUTE ... FROM PUBLIC and the application role, or make it SECURITY INVOKER",
    ),
    Check(
        "G01",
        """select c.relname || ': ' || string_agg(k.right_name, ', ' order by k.right_name)
             from pg_class c join pg_namespace n on n.oid = c.relnamespace
              cross join (values ('TRUNCATE'), ('TRIGGER'), ('REFERENCES')) k (right_name)
            where n.nspname = %(schema)s and c.relkind in ('r', 'p', 'v', 'm')
              and has_table_privilege(%(app)s, c.oid, k.right_name) group by c.relname order by 1""",
        "these rights are not filtered by policies: TRUNCATE empties every tenant's rows",
        "REVOKE TRUNCATE, TRIGGER, REFERENCES ON ... FROM the application role",
    ),
    Check(
        "G02",
        _of_tables(
            """select name from tables where relispartition and not relrowsecurity
              and has_any_column_privilege(%(app)s, oid, 'SELECT') order by 1"""
        ),
        "the partition can be read directly, and the policies of its parent do not apply then",
        "REVOKE ALL ON the partition FROM the application role, and fence() it",
    ),
    Check(
        "G03",
        """select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = %(schema)s and c.relkind = 'S'
              and (has_sequence_privilege(%(app)s, c.oid, 'SELECT') or has_sequence_privilege(%(app)s, c.oid, 'USAGE'))
            order by 1""",
        "one counter for all tenants tells each of them how much the others do",
        "use UUID keys, and REVOKE ALL ON SEQUENCE",
    ),
    Check(
        "G04",
        """select 'default privileges of ' || pg_get_userbyid(d.defaclrole) || ' on ' || case d.defaclobjtype
                    when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions' else 'other objects' end
             from pg_default_acl d, aclexplode(d.defaclacl) x
            where x.grantee in (0, %(app)s::regrole) and d.defaclobjtype in ('r', 'S', 'f')
            union
           select 'default privileges of ' || r.rolname || ' on functions'
             from pg_roles r
            where r.oid = (select nspowner from pg_namespace where nspname = %(schema)s)
              and not exists (select from pg_default_acl d where d.defaclrole = r.oid and d.defaclnamespace = 0
                                and d.defaclobjtype = 'f') order by 1""",
        "what is created tomorrow gets rights by itself: a new partition would be readable without a policy",
        "ALTER DEFAULT PRIVILEGES ... REVOKE; grant table by table",
    ),
)
