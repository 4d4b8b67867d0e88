# ruff: noqa: S608 - the parts that are filled in are constants of this package
"""Who was given which rights, on what is there and on what will be (G)."""

from __future__ import annotations

from tegata.postgres.doctor.question import Check, of_tables

_MEANS_APP = "case when x.grantee = 0 then true else pg_has_role(%(app)s, x.grantee, 'USAGE') end"

CHECKS = (
    Check(
        "G01",
        f"""with relations as (
              select c.*, n.nspname || '.' || c.relname as name
                from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where n.nspname = any (%(schemas)s) and c.relkind in ('r', 'p', 'v', 'm', 'f')
            ), given as (
              select c.name, x.privilege_type from relations c,
                     aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) x where {_MEANS_APP}
              union
              select c.name, 'REFERENCES' from relations c where has_any_column_privilege(%(app)s, c.oid, 'REFERENCES')
            )
           select name || ': ' || string_agg(privilege_type, ', ' order by privilege_type) from given
            where privilege_type in ('TRUNCATE', 'TRIGGER', 'REFERENCES', 'MAINTAIN') group by name order by 1""",
        "these rights are not filtered by policies: TRUNCATE empties every tenant's rows",
        "REVOKE TRUNCATE, TRIGGER, REFERENCES, MAINTAIN ON ... FROM the application role",
    ),
    Check(
        "G02",
        of_tables(
            """select name from tables where relispartition and not relrowsecurity
              and has_any_column_privilege(%(app)s, oid, 'SELECT') order by 1"""
        ),
        "the partition can be read directly, and the policies of its parent do not apply then",
        "REVOKE ALL ON the partition FROM the application role, and fence() it",
    ),
    Check(
        "G03",
        of_tables(
            """select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
              where n.nspname = any (%(schemas)s) and c.relkind = 'S'
                and (has_sequence_privilege(%(app)s, c.oid, 'SELECT') or has_sequence_privilege(%(app)s, c.oid, 'USAGE')
                     or has_sequence_privilege(%(app)s, c.oid, 'UPDATE'))
              union all
             select t.name || ', identity column ' || a.attname from tables t
               join pg_attribute a on a.attrelid = t.oid and a.attidentity <> '' and not a.attisdropped
              where not t.relispartition and has_any_column_privilege(%(app)s, t.oid, 'INSERT') order by 1"""
        ),
        "one counter for all tenants tells each of them how much the others do (an identity column needs no right on"
        " its sequence)",
        "use UUID keys, and REVOKE ALL ON SEQUENCE",
    ),
    Check(
        "G04",
        """select 'default privileges of ' || pg_get_userbyid(d.defaclrole) || ' on ' || case d.defaclobjtype
                    when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions'
                    when 'n' then 'schemas' else 'other objects' end
             from pg_default_acl d, aclexplode(d.defaclacl) x
            where (x.grantee = 0 or x.grantee = %(app)s::regrole) and d.defaclobjtype <> 'T'
            union
           select 'default privileges of ' || r.rolname || ' on functions'
             from pg_roles r
            where r.oid in (select nspowner from pg_namespace where nspname = any (%(schemas)s))
              and not exists (select from pg_default_acl d where d.defaclrole = r.oid and d.defaclnamespace = 0
                                and d.defaclobjtype = 'f') order by 1""",
        "what is created tomorrow gets rights by itself: a new partition would be readable without a policy",
        "ALTER DEFAULT PRIVILEGES ... REVOKE; grant table by table",
    ),
    Check(
        "G05",
        of_tables(
            """, given as (
              select c.name, x.grantee, x.privilege_type from named c, aclexplode(c.relacl) x
               where x.grantee <> c.relowner
              union
              select c.name, x.grantee, x.privilege_type from named c join pg_attribute a on a.attrelid = c.oid,
                     aclexplode(a.attacl) x where x.grantee <> c.relowner
              union
              select n.nspname || '.' || c.relname, x.grantee, x.privilege_type
                from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) x
               where n.nspname = any (%(schemas)s) and c.relkind in ('v', 'm', 'S') and x.grantee <> c.relowner
            )
             select name || ': ' || case grantee when 0 then 'PUBLIC' else pg_get_userbyid(grantee) end || ', '
                    || string_agg(privilege_type, ', ' order by privilege_type)
               from given where (grantee = 0 or pg_get_userbyid(grantee) <> all (%(roles)s))
                and (name || ' ' || privilege_type) <> all (%(rights)s) group by name, grantee order by 1"""
        ),
        "somebody who is neither the application nor trusted has rights here; PUBLIC is every role of the server",
        "REVOKE ... FROM PUBLIC or that role, or name it among the trusted ones",
    ),
    Check(
        "G06",
        """select what || ': ' || string_agg(distinct x.privilege_type, ', ') from (
              select n.nspname || '.' || c.relname, c.relacl
                from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where n.nspname = any (%(schemas)s) and c.relowner <> %(app)s::regrole
              union all
              select p.oid::regprocedure::text, p.proacl from pg_proc p join pg_namespace n on n.oid = p.pronamespace
               where n.nspname = any (%(schemas)s) and p.proowner <> %(app)s::regrole
              union all
              select 'schema ' || n.nspname, n.nspacl from pg_namespace n
               where n.nspname = any (%(schemas)s) and n.nspowner <> %(app)s::regrole
            ) o (what, acl), aclexplode(o.acl) x
            where x.is_grantable and x.grantee = %(app)s::regrole group by what order by 1""",
        "the application role may hand its rights on to other roles",
        "REVOKE GRANT OPTION FOR ... FROM the application role",
    ),
    Check(
        "G07",
        f"""select pg_describe_object(i.classoid, i.objoid, 0) || ': ' || string_agg(distinct x.privilege_type, ', ')
             from pg_init_privs i left join pg_proc p on i.classoid = 'pg_proc'::regclass and p.oid = i.objoid
             left join pg_class c on i.classoid = 'pg_class'::regclass and c.oid = i.objoid,
                  aclexplode(coalesce(p.proacl, c.relacl)) x
            where i.privtype = 'i' and i.objsubid = 0 and {_MEANS_APP}
              and not exists (select from aclexplode(i.initprivs) b
                               where b.grantee = x.grantee and b.privilege_type = x.privilege_type)
            group by i.classoid, i.objoid order by 1""",
        "PostgreSQL keeps this to itself, and somebody has opened it: files, passwords or other sessions' secrets",
        "REVOKE ... FROM PUBLIC and the application role",
    ),
    Check(
        "G08",
        f"""select 'large object ' || m.oid from pg_largeobject_metadata m
            where exists (select from aclexplode(m.lomacl) x where x.grantee <> m.lomowner and {_MEANS_APP})
            union all
           select 'setting lo_compat_privileges' where current_setting('lo_compat_privileges')::boolean order by 1""",
        "large objects have no row-level security and no tenant",
        "REVOKE ALL ON LARGE OBJECT ...; keep bytes in a column of a tenant's table",
    ),
    Check(
        "G09",
        of_tables(
            """select 'publication ' || b.pubname from pg_publication b
              where b.pubname <> all (%(publications)s)
                and (b.puballtables
                     or exists (select from pg_publication_rel r join tables t on t.oid = r.prrelid
                                 where r.prpubid = b.oid)
                     or exists (select from pg_publication_namespace s join pg_namespace n on n.oid = s.pnnspid
                                 where s.pnpubid = b.oid and n.nspname = any (%(schemas)s))) order by 1"""
        ),
        "logical replication carries every tenant's rows to whoever subscribes, without policies",
        "DROP PUBLICATION, or name it among the publications of the wall",
    ),
)
