# ruff: noqa: S608 - the parts that are filled in are constants of this package
"""What the roles may be and do (R)."""

from __future__ import annotations

from tegata.postgres.doctor.question import LOGINS, OF_USERS, Check

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
              and (r.rolsuper or r.rolbypassrls or r.rolname ~ '^pg_' or r.rolname = any (%(trusted)s)
                   or exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                               where n.nspname = any (%(schemas)s) and c.relowner = r.oid)) order by 1""",
        "the application role is a member of this role and can act with its rights",
        "REVOKE this role FROM the application role",
    ),
    Check(
        "R03",
        """select pg_describe_object(d.classid, d.objid, d.objsubid) from pg_shdepend d
            where d.refclassid = 'pg_authid'::regclass and d.refobjid = %(app)s::regrole and d.deptype = 'o'
              and d.dbid in (0, (select oid from pg_database where datname = current_database())) order by 1""",
        "the application role owns this object and can switch off its protection",
        "ALTER ... OWNER TO the owner role",
    ),
    Check(
        "R04",
        f"""select 'schema ' || n.nspname from pg_namespace n
             where {OF_USERS} and has_schema_privilege(%(app)s, n.oid, 'CREATE')
              union all
             select 'database ' || current_database()
              where has_database_privilege(%(app)s, current_database(), 'CREATE') order by 1""",
        "the application role can create objects here, for example a view or a function that others trust",
        "REVOKE CREATE ON ... FROM the application role and from PUBLIC",
    ),
    Check(
        "R05",
        """select 'database ' || current_database()
            where has_database_privilege(%(app)s, current_database(), 'TEMPORARY')""",
        "the application role can make temporary tables and functions, whose names come before others' unless"
        " search_path says otherwise",
        "REVOKE TEMPORARY ON DATABASE ... FROM PUBLIC, as the owner of the database",
        "warning",
    ),
    Check(
        "R06",
        f"""{LOGINS}
           select coalesce('role ' || pg_get_userbyid(nullif(s.setrole, 0)) || ', ', '') || split_part(c, '=', 1)
             from pg_db_role_setting s, unnest(s.setconfig) c
            where s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
              and (s.setrole = 0 or pg_get_userbyid(s.setrole) = %(app)s or s.setrole in (select oid from logins))
              and lower(split_part(c, '=', 1)) in (lower(%(setting)s), 'row_security', 'session_replication_role')
            order by 1""",
        "every new session begins with this setting: a forgotten tenant context becomes somebody's context",
        "ALTER ROLE ... RESET, ALTER DATABASE ... RESET",
    ),
    Check(
        "R07",
        """select distinct a.parname || ': ' || x.privilege_type from pg_parameter_acl a, aclexplode(a.paracl) x
            where case when x.grantee = 0 then true else pg_has_role(%(app)s, x.grantee, 'USAGE') end order by 1""",
        "the application role may change a setting that is a superuser's; session_replication_role, for one, switches"
        " off foreign keys",
        "REVOKE SET, ALTER SYSTEM ON PARAMETER ... FROM the application role",
    ),
    Check(
        "R08",
        f"""{LOGINS}
           select l.rolname || ': ' || a.word from logins l
            cross join lateral (values ('SUPERUSER', l.rolsuper), ('BYPASSRLS', l.rolbypassrls),
                   ('CREATEROLE', l.rolcreaterole), ('CREATEDB', l.rolcreatedb),
                   ('REPLICATION', l.rolreplication)) a (word, present) where a.present
            union
           select l.rolname || ': member of ' || g.rolname || case when a.admin_option then ', with ADMIN' else '' end
             from logins l join pg_auth_members a on a.member = l.oid join pg_roles g on g.oid = a.roleid
            where a.admin_option or g.rolname <> %(app)s and not pg_has_role(%(app)s, g.oid, 'MEMBER')
            union
           select l.rolname || case d.deptype when 'o' then ': owner of ' else ': rights on ' end
                  || pg_describe_object(d.classid, d.objid, d.objsubid)
             from logins l join pg_shdepend d on d.refclassid = 'pg_authid'::regclass and d.refobjid = l.oid
            where d.deptype in ('o', 'a', 'r')
              and d.dbid in (0, (select oid from pg_database where datname = current_database())) order by 1""",
        "this login becomes the application role, but has rights of its own beside: a session that gives the role up"
        " (RESET ROLE, SET ROLE NONE) has them",
        "REVOKE them: such a login is a member of the application role and nothing else",
    ),
)
