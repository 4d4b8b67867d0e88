# ruff: noqa: S608 - the parts that are filled in are constants of this package
"""What tables, their policies, indexes and foreign keys must be like (T, I, F)."""

from __future__ import annotations

from tegata.postgres.doctor.question import OF_USERS, Check, no_member, of_tables

_COMMANDS = "(values ('r', 'SELECT'), ('a', 'INSERT'), ('w', 'UPDATE'), ('d', 'DELETE')) k (letter, command)"

TABLES = (
    Check(
        "T01",
        of_tables(
            f"""select name from tables where tenant_column is null and not relispartition
              union all
             select c.name || ': ' || string_agg(k.command, ', ' order by k.command)
               from named c cross join {_COMMANDS}
              where c.name = any (%(exempt)s)
                and case when k.command = 'DELETE' then has_table_privilege(%(app)s, c.oid, k.command)
                         else has_any_column_privilege(%(app)s, c.oid, k.command) end
                and (c.name || ' ' || k.command) <> all (%(rights)s)
              group by c.name order by 1"""
        ),
        "a table without a tenant that is not exempted by name, or an exempted one that gives the application more"
        " rights than it is meant to",
        "add the tenant's column (create_tenant_table), or revoke the rights",
    ),
    Check(
        "T02",
        of_tables(
            """select t.name from tables t join pg_attribute a on a.attrelid = t.oid and a.attnum = t.tenant_column
              where not a.attnotnull or a.atttypid <> %(tenant_type)s::regtype order by 1"""
        ),
        "the tenant's column may be null or has another type: a row without a tenant belongs to nobody's policy",
        "ALTER TABLE ... ALTER COLUMN ... TYPE uuid, ALTER COLUMN ... SET NOT NULL",
    ),
    Check(
        "T03",
        of_tables("select name from tables where not (relrowsecurity and relforcerowsecurity) order by 1"),
        "row-level security is not both enabled and forced",
        "ALTER TABLE ... ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY, and policies (create_tenant_table)",
    ),
    Check(
        "T04",
        of_tables(
            f"""select t.name || ': ' || string_agg(k.command, ', ' order by k.command) from tables t
               cross join {_COMMANDS}
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
        of_tables(
            """select t.name || ', policy ' || p.polname from tables t join policies p on p.polrelid = t.oid
              where p.polpermissive and p.applies
                and (p.polcmd <> 'a' and p.shown <> all (t.expected)
                     or p.polcmd = 'a' and p.written <> all (t.expected)
                     or p.polcmd <> 'a' and p.written <> '' and p.written <> all (t.expected)) order by 1"""
        ),
        "a permissive policy lets the application reach rows by another condition than its tenant; they are ORed",
        "DROP POLICY, or give it exactly the condition of tenant_allow",
    ),
    Check(
        "T06",
        of_tables(
            """select t.name from tables t where t.tenant_column is not null
              and not exists (select from policies p where p.polrelid = t.oid and p.applies and not p.polpermissive
                               and p.polcmd = '*' and p.shown = any (t.expected)
                               and (p.written = '' or p.written = any (t.expected)))
              order by 1"""
        ),
        "no restrictive policy holds when somebody adds a careless permissive one",
        "CREATE POLICY tenant_iso ... AS RESTRICTIVE FOR ALL",
    ),
    Check(
        "T07",
        of_tables(
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
        "T08",
        of_tables(
            """select t.name || ', policy ' || p.polname || ': ' || pg_get_userbyid(r)
               from tables t join policies p on p.polrelid = t.oid, unnest(p.polroles) r
              where p.polpermissive and r <> 0 and not p.applies and pg_get_userbyid(r) <> all (%(roles)s)
                and (p.shown <> '' and p.shown <> all (t.expected)
                     or p.written <> '' and p.written <> all (t.expected)) order by 1"""
        ),
        "a role that is neither the application's nor trusted gets rows of several tenants",
        "DROP POLICY, or name the role among the trusted ones",
    ),
    Check(
        "T09",
        of_tables(
            """select p.name || ' <- ' || c.name from pg_inherits h join named p on p.oid = h.inhparent
               join named c on c.oid = h.inhrelid where not c.relispartition order by 1"""
        ),
        "plain inheritance: a query of the parent reads the child's rows by the parent's policies, and unique keys and"
        " foreign keys stop at each table",
        "ALTER TABLE ... NO INHERIT; use partitions, each with its own policies",
    ),
    Check(
        "T10",
        of_tables(
            f"""select n.nspname || '.' || c.relname || ': ' || string_agg(k.command, ', ' order by k.command)
               from pg_class c join pg_namespace n on n.oid = c.relnamespace cross join {_COMMANDS}
              where c.relkind in ('r', 'p') and {OF_USERS} and n.nspname <> all (%(schemas)s)
                and {no_member("pg_class", "c.oid")} and c.oid not in (select oid from named)
                and has_schema_privilege(%(app)s, n.oid, 'USAGE')
                and case when k.command = 'DELETE' then has_table_privilege(%(app)s, c.oid, k.command)
                         else has_any_column_privilege(%(app)s, c.oid, k.command) end
                and (n.nspname || '.' || c.relname || ' ' || k.command) <> all (%(rights)s)
              group by n.nspname, c.relname order by 1"""
        ),
        "a table outside the wall's schemas that the application may use, a copy for example: nothing here looks at its"
        " policies",
        "REVOKE ALL ON ... FROM PUBLIC and the application role, or make its schema part of the wall",
    ),
)

KEYS = (
    Check(
        "I01",
        of_tables(
            """select t.name from tables t where t.tenant_column is not null
              and not exists (select from pg_index i where i.indrelid = t.oid and i.indisvalid and i.indpred is null
                               and i.indkey[0] = t.tenant_column) order by 1"""
        ),
        "no index starts with the tenant: each query of a small tenant reads all tenants' rows",
        "make the tenant's column the first one of the primary key",
    ),
    Check(
        "I02",
        of_tables(
            # Columns behind indnkeyatts are only carried along (INCLUDE).
            """select t.name || ', index ' || i.indexrelid::regclass from tables t
               join pg_index i on i.indrelid = t.oid and (i.indisunique or i.indisexclusion)
              where t.tenant_column is not null
                and not t.tenant_column = any ((i.indkey::int2[])[0:i.indnkeyatts - 1]) order by 1"""
        ),
        "a unique index without the tenant: its error tells one tenant that another one has the value",
        "put the tenant first into the unique key",
    ),
    Check(
        "I03",
        of_tables(
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
        of_tables(
            """select t.name from tables t where t.tenant_column is not null and t.name <> %(tenant_table)s
              and not exists (select from pg_constraint k
                                join named r on r.oid = k.confrelid and r.name = %(tenant_table)s
                                join pg_attribute a on a.attrelid = k.confrelid and a.attnum = k.confkey[1]
                               where k.conrelid = t.oid and k.contype = 'f' and k.conkey = array[t.tenant_column]
                                 and a.attname = %(tenant_key)s) order by 1"""
        ),
        "the tenant's column has no foreign key to the tenant table",
        "ALTER TABLE ... ADD FOREIGN KEY (...) REFERENCES the tenant table",
    ),
    Check(
        "F02",
        of_tables(
            """select t.name || ', ' || k.conname from tables t
               join pg_constraint k on k.conrelid = t.oid and k.contype = 'f'
               join tables other on other.oid = k.confrelid and other.tenant_column is not null
              where t.tenant_column is not null
                and not exists (select from unnest(k.conkey, k.confkey) pair (ours, theirs)
                                 where pair.ours = t.tenant_column and pair.theirs = other.tenant_column) order by 1"""
        ),
        "a foreign key without the tenant: its check bypasses row-level security, so a row of A may point at one of B",
        "make it composite: FOREIGN KEY (tenant_id, x_id) REFERENCES ... (tenant_id, x_id)",
    ),
)
