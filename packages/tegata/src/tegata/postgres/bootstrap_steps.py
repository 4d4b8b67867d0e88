"""What the bootstrap wants, as questions to the catalogue that answer with the statements still missing.

Each step is one query; its rows are statements with what they are for. A step finds nothing on a database that is in
order, so a second run changes nothing. Running and printing use the same text: each step becomes one DO block.
"""

from __future__ import annotations

from tegata.postgres.bootstrap_pairs import KEPT_PAIRS, MADE_PAIRS
from tegata.postgres.bootstrap_step import Step

STEPS = (
    Step(
        "the roles",
        """select format('create role %I %s nosuperuser nobypassrls nocreatedb nocreaterole noreplication',
                          w.name, case when w.name <> 'tegata_owner'
                                        and current_setting('tegata_bootstrap.alternating')::boolean
                                       then 'no' else '' end || w.login),
                   format('role %s made', w.name), 'self', true
              from <roles>
             where not exists (select from pg_roles where rolname = w.name) order by 1""",
    ),
    MADE_PAIRS,
    Step(
        "attributes that none of them may have",
        """select format('alter role %I no%s', r.rolname, a.word),
                   format('%s loses the attribute %s', r.rolname, upper(a.word)), 'self', false
              from pg_roles r
             cross join lateral (values ('superuser', r.rolsuper), ('bypassrls', r.rolbypassrls),
                    ('createrole', r.rolcreaterole), ('createdb', r.rolcreatedb), ('replication', r.rolreplication),
                    ('login', r.rolcanlogin and r.rolname = 'tegata_owner'),
                    ('inherit', r.rolinherit and r.rolname = 'tegata_migrator')) a (word, present)
             where r.rolname in <all> and a.present
             union all
            -- Somebody may have shut a role out on purpose: this is not the place to let it in again.
            select null, format('%s may not log in; if nobody meant that: alter role %I login', r.rolname, r.rolname),
                   'no', false
              from pg_roles r where r.rolname in <all> and r.rolname <> 'tegata_owner' and not r.rolcanlogin
               -- Where logins take turns, their role needs none of its own.
               and not exists (select from <pairs> join pg_roles m on m.rolname = p.login where p.role = r.rolname)""",
    ),
    Step(
        "memberships that would let them act with more rights",
        """select format('revoke %I from %I', g.rolname, m.rolname)
                     || case when <modern> then format(' granted by %I', by.rolname) else '' end || ' cascade',
                   format('%s is no member of %s any more', m.rolname, g.rolname), 'self', false
              from pg_auth_members a
              join pg_roles m on m.oid = a.member and m.rolname in <ours>
              join pg_roles g on g.oid = a.roleid
              left join pg_roles by on by.oid = a.grantor
             where not (m.rolname = 'tegata_migrator' and g.rolname in ('tegata_owner', 'tegata_app'))
               and exists (select from (<dangerous>) d where d.oid <> m.oid and pg_has_role(g.oid, d.oid, 'MEMBER')
                              and not (m.rolname in ('tegata_owner', 'tegata_migrator') and d.rolname = 'tegata_maint'))
             union all
            select format('revoke admin option for %I from %I', g.rolname, m.rolname)
                     || case when <modern> then format(' granted by %I', by.rolname) else '' end || ' cascade',
                   format('%s cannot pass on %s any more', m.rolname, g.rolname), 'self', false
              from pg_auth_members a
              join pg_roles m on m.oid = a.member and m.rolname in <all>
              join pg_roles g on g.oid = a.roleid and g.rolname in <all>
              left join pg_roles by on by.oid = a.grantor
             where a.admin_option""",
    ),
    Step(
        "the migrator may act as the owner, and look with the application's eyes, but only after SET ROLE",
        """select format('grant %I to tegata_migrator', g.rolname)
                     || case when <modern> then ' with set true, inherit false' else '' end,
                   format('tegata_migrator may SET ROLE %s', g.rolname), 'self', true
              from pg_roles g
             where g.rolname in ('tegata_owner', 'tegata_app')
               and not exists (select from pg_auth_members a
                                where a.roleid = g.oid and a.member = 'tegata_migrator'::regrole
                                  and coalesce((to_jsonb(a) ->> 'set_option')::boolean, true)
                                  and not coalesce((to_jsonb(a) ->> 'inherit_option')::boolean, false))
             union all
            select format('grant %I to tegata_migrator with inherit false granted by %I', g.rolname, by.rolname),
                   format('tegata_migrator has the rights of %s only after SET ROLE', g.rolname), 'self', false
              from pg_auth_members a join pg_roles g on g.oid = a.roleid join pg_roles by on by.oid = a.grantor
             where g.rolname in ('tegata_owner', 'tegata_app') and a.member = 'tegata_migrator'::regrole
               and (to_jsonb(a) ->> 'inherit_option')::boolean""",
    ),
    Step(
        "what a login by identity needs on Amazon RDS",
        """select 'do $missing$ begin raise exception ''this server has no role rds_iam: is it Amazon RDS?''; end '
                    || '$missing$', '', 'self', true
             where current_setting('tegata_bootstrap.provider') = 'rds'
               and not exists (select from pg_roles where rolname = 'rds_iam')
            union all
           select format('grant rds_iam to %I', r.rolname),
                  format('%s logs in with IAM tokens, and with nothing else', r.rolname), 'self', true
             from pg_roles r join pg_roles iam on iam.rolname = 'rds_iam'
            where current_setting('tegata_bootstrap.provider') = 'rds'
              and r.rolname in ('tegata_app', 'tegata_maint', 'tegata_migrator')
              and not exists (select from pg_auth_members a where a.roleid = iam.oid and a.member = r.oid)""",
    ),
    Step(
        "passwords, as verifiers: the server never hears the password itself",
        """select format('alter role %I password %L', p.role, p.verifier), format('%s has a new password', p.role),
                  'self', true
             from jsonb_each_text(current_setting('tegata_bootstrap.verifiers')::jsonb) p (role, verifier)""",
    ),
    Step(
        "the schema",
        """select format('create schema %I authorization tegata_owner', w.name), format('schema %s made', w.name),
                  'member', true
             from (values ('tegata'), ('tegata_jobs')) w (name)
            where not exists (select from pg_namespace where nspname = w.name)
            union all
           select format('alter schema %I owner to tegata_owner', nspname),
                  format('schema %s belongs to tegata_owner, no longer to %s', nspname, pg_get_userbyid(nspowner)),
                  'member', false
             from pg_namespace
            where nspname in ('tegata', 'tegata_jobs') and pg_get_userbyid(nspowner) <> 'tegata_owner'""",
    ),
    # Never changed from here: a function that somebody has planted would get the owner's rights by it.
    Step(
        "what lies in the schemas and belongs to somebody else",
        """select format('alter %s %s owner to tegata_owner', o.kind, o.name),
                  format('%s %s belongs to %s, who can change it; look at it first', o.kind, o.name,
                         pg_get_userbyid(o.owner)), 'no', false
             from (select 'table', c.oid::regclass::text, c.relowner, c.relnamespace
                     from pg_class c where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
                    union all
                   select 'routine', p.oid::regprocedure::text, p.proowner, p.pronamespace from pg_proc p
                    union all
                   select 'type', format_type(t.oid, null), t.typowner, t.typnamespace
                     from pg_type t where t.typtype in ('e', 'd', 'r')) o (kind, name, owner, namespace)
             join pg_namespace n on n.oid = o.namespace
            where n.nspname in ('tegata', 'tegata_jobs') and pg_get_userbyid(o.owner) <> 'tegata_owner'
            order by 1""",
    ),
    Step(
        "rights on the schema: the application and maintenance look in, nobody else makes anything",
        """select format('grant usage on schema tegata to %I', r.rolname),
                  format('%s may look into schema tegata', r.rolname), 'owner', true
             from pg_roles r
            where r.rolname in ('tegata_app', 'tegata_maint')
              and not exists (select from pg_namespace n, aclexplode(n.nspacl) x
                               where n.nspname = 'tegata' and x.grantee = r.oid and x.privilege_type = 'USAGE')
            union all
           select format('revoke %s on schema %I from %s cascade', x.privilege_type, n.nspname,
                         case when x.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(x.grantee)) end),
                  format('%s loses %s on schema %s',
                         case when x.grantee = 0 then 'PUBLIC' else pg_get_userbyid(x.grantee) end,
                         x.privilege_type, n.nspname),
                  'owner', false
             from pg_namespace n, aclexplode(n.nspacl) x
            where n.nspname in ('tegata', 'tegata_jobs') and x.grantee <> n.nspowner
              and (x.privilege_type = 'CREATE' or x.grantee = 0)""",
    ),
    Step(
        "rights on other schemas: the application and maintenance make nothing anywhere",
        """select format('revoke create on schema %I from %s', n.nspname,
                         case when x.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(x.grantee)) end),
                  format('%s may make nothing in schema %s any more',
                         case when x.grantee = 0 then 'PUBLIC' else pg_get_userbyid(x.grantee) end, n.nspname),
                  case when pg_has_role(n.nspowner, 'USAGE') then 'self' else 'no' end, false
             from pg_namespace n, aclexplode(n.nspacl) x
            where n.nspname not in ('tegata', 'tegata_jobs', 'pg_catalog', 'information_schema')
              and n.nspname !~ '^pg_(toast|temp)'
              and x.privilege_type = 'CREATE' and x.grantee <> n.nspowner
              and (x.grantee = 0 or pg_get_userbyid(x.grantee) in <all>)""",
    ),
    Step(
        "rights on the database: connecting, and no temporary tables (functions would find their names in them)",
        """select format('revoke %s on database %I from %s', x.privilege_type, d.datname,
                         case when x.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(x.grantee)) end),
                  format('%s loses %s on database %s',
                         case when x.grantee = 0 then 'PUBLIC' else pg_get_userbyid(x.grantee) end,
                         x.privilege_type, d.datname),
                  case when pg_has_role(d.datdba, 'USAGE') then 'self' else 'no' end, false
             from pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) x
            where d.datname = current_database() and x.privilege_type in ('TEMPORARY', 'CREATE')
              and x.grantee <> d.datdba
              and (x.grantee = 0 or pg_get_userbyid(x.grantee) in <all>)
            union all
           select format('grant connect on database %I to %I', d.datname, r.rolname),
                  format('%s may connect to database %s', r.rolname, d.datname),
                  case when pg_has_role(d.datdba, 'USAGE') then 'self' else 'no' end, false
             from pg_database d cross join pg_roles r
            where d.datname = current_database() and r.rolname in <ours> and r.rolname <> 'tegata_owner'
              and not has_database_privilege(r.oid, d.oid, 'CONNECT')""",
    ),
    Step(
        "default privileges: what is made tomorrow gives nothing by itself",
        """select 'alter default privileges for role tegata_owner revoke execute on functions from public',
                  'PUBLIC will not execute functions that are made later', 'owner', true
            where not exists (select from pg_default_acl where defaclrole = 'tegata_owner'::regrole
                                 and defaclnamespace = 0 and defaclobjtype = 'f')
            union all
           select format('alter default privileges for role %I%s revoke %s on %s from %s',
                         pg_get_userbyid(d.defaclrole),
                         case when d.defaclnamespace = 0 then '' else format(' in schema %I', n.nspname) end,
                         x.privilege_type,
                         case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions'
                                              when 'T' then 'types' when 'n' then 'schemas' end,
                         case when x.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(x.grantee)) end),
                  format('%s gets no %s by default on what %s makes',
                         case when x.grantee = 0 then 'PUBLIC' else pg_get_userbyid(x.grantee) end,
                         x.privilege_type, pg_get_userbyid(d.defaclrole)),
                  case when pg_get_userbyid(d.defaclrole) = 'tegata_owner' then 'owner'
                       when pg_has_role(d.defaclrole, 'USAGE') then 'self' else 'no' end, false
             from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace, aclexplode(d.defaclacl) x
            where x.grantee <> d.defaclrole and d.defaclobjtype in ('r', 'S', 'f', 'n')
              and (pg_get_userbyid(d.defaclrole) in ('tegata_owner', 'tegata_migrator')
                   or pg_get_userbyid(x.grantee) in <all> and pg_get_userbyid(x.grantee) <> 'tegata_owner')""",
    ),
    Step(
        "settings of roles that would stand in for a tenant or another role",
        """select format('alter role %s%s reset %I', case when s.setrole = 0 then 'all' else r.rolname end,
                         case when s.setdatabase = 0 then '' else format(' in database %I', current_database()) end,
                         split_part(c, '=', 1)),
                  format('%s starts without %s', coalesce(r.rolname, 'everybody'), split_part(c, '=', 1)), 'self', false
             from pg_db_role_setting s left join pg_roles r on r.oid = s.setrole, unnest(s.setconfig) c
            where s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
              and (s.setrole = 0 or r.rolname in <all>)
              and split_part(c, '=', 1) in ('app.tenant_id', 'role')
              -- By this a login of a pair becomes its role.
              and not (s.setdatabase = 0
                       and exists (select from <pairs> where p.login = r.rolname and c = 'role=' || p.role))""",
    ),
    *KEPT_PAIRS,
    Step(
        "what the administrator keeps: to act as the roles, where that is asked for",
        """select format('grant %I to current_user', r.rolname)
                     || case when <modern> then ' with set true, inherit false' else '' end,
                   format('%s may SET ROLE %s', current_user, r.rolname), 'self', true
              from pg_roles r
             where current_setting('tegata_bootstrap.stay_member')::boolean
               and r.rolname in ('tegata_owner', 'tegata_app', 'tegata_maint')
               -- Through such a role an administrator of Amazon RDS would lose its password, see the next step.
               and not exists (select from pg_auth_members a join pg_roles iam on iam.oid = a.roleid
                                where a.member = r.oid and iam.rolname = 'rds_iam')
               and not pg_has_role(r.oid, case when <modern> then 'SET' else 'MEMBER' end)
             union all
            select 'revoke tegata_owner from current_user', '', 'self', true
             where current_setting('tegata_bootstrap.joined', true) = 'yes'
               and not current_setting('tegata_bootstrap.stay_member')::boolean""",
    ),
    # Seen in the field: hashicorp/terraform-provider-postgresql#120, movetokube/postgres-operator#315.
    Step(
        "an administrator of Amazon RDS who acts as a role with rds_iam cannot use its own password any more",
        """select null, format('%s is a member of %s and through it of rds_iam, so Amazon RDS may refuse its password;'
                    || ' before you log out: revoke %I from %I', current_user, g.rolname, g.rolname, current_user),
                  'no', false
             from pg_auth_members a join pg_roles g on g.oid = a.roleid
            where current_setting('tegata_bootstrap.provider') = 'rds' and a.member = current_user::regrole
              and g.rolname in ('tegata_app', 'tegata_maint', 'tegata_migrator')
              and coalesce((to_jsonb(a) ->> 'set_option')::boolean or (to_jsonb(a) ->> 'inherit_option')::boolean,
                           true)""",
    ),
)

# SECURITY LABEL is how Azure's documentation maps a role that exists already; the map is by object id.
AZURE_QUERY = """select format('security label for "pgaadauth" on role %I is %L', p.role, l.label),
                        format('%s is the Entra object %s', p.role, p.object_id), 'self', true
                   from jsonb_each_text(current_setting('tegata_bootstrap.object_ids')::jsonb) p (role, object_id)
                  cross join lateral (values ('aadauth,oid=' || p.object_id || ',type=service')) l (label)
                  where not exists (select from pg_shseclabel s
                                     where s.classoid = 'pg_authid'::regclass and s.provider = 'pgaadauth'
                                       and s.objoid = to_regrole(p.role) and s.label = l.label)
                  order by p.role"""
