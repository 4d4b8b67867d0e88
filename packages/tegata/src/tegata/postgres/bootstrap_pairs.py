"""Two logins for each role, so that a password changes while nobody uses it: the other login is the one in use.

Each login is a member of its role and of nothing else, and becomes that role at once (`SET role`): what a session makes
or may do does not depend on which of the two it came in by. Inheritance is on, so that a session which gives its role
up (`SET ROLE NONE`, `DISCARD ALL`) still has that role's rights and no others. The migrator keeps what sets it apart:
its own memberships are not inherited, by its logins neither.
"""

from __future__ import annotations

from psycopg import sql

from tegata.postgres.bootstrap_step import PAIRS, Step

ROTATOR = "tegata_rotator"
LOGIN_PAIRS = {role: tuple(login for login, of in PAIRS if of == role) for role in dict.fromkeys(of for _, of in PAIRS)}

MADE_PAIRS = Step(
    "login pairs, where they are asked for",
    """select format('create role %I login inherit nosuperuser nobypassrls nocreatedb nocreaterole noreplication',
                         p.login), format('role %s made', p.login), 'self', true
             from <pairs>
            where current_setting('tegata_bootstrap.alternating')::boolean
              and not exists (select from pg_roles where rolname = p.login)
            union all
           select 'create role tegata_rotator login noinherit nosuperuser nobypassrls nocreatedb nocreaterole'
                    || ' noreplication', 'role tegata_rotator made', 'self', true
            where current_setting('tegata_bootstrap.alternating')::boolean
              and not exists (select from pg_roles where rolname = 'tegata_rotator') order by 1""",
)

KEPT_PAIRS = (
    Step(
        "each login of a pair is a member of its role, and of nothing else",
        """select format('revoke %I from %I', g.rolname, m.rolname)
                     || case when <modern> then format(' granted by %I', by.rolname) else '' end || ' cascade',
                   format('%s is no member of %s any more', m.rolname, g.rolname), 'self', false
              from pg_auth_members a
              join pg_roles m on m.oid = a.member
              join <pairs> on p.login = m.rolname
              join pg_roles g on g.oid = a.roleid and g.rolname <> p.role
              left join pg_roles by on by.oid = a.grantor
             union all
            select format('alter role %I inherit', m.rolname), format('%s gets the attribute INHERIT', m.rolname),
                   'self', false
              from pg_roles m join <pairs> on p.login = m.rolname where not m.rolinherit
             union all
            select format('grant %I to %I', g.rolname, m.rolname)
                     || case when <modern> then ' with inherit true, set true' else '' end,
                   format('%s has what %s has', m.rolname, g.rolname), 'self', true
              from <pairs>
              join pg_roles m on m.rolname = p.login
              join pg_roles g on g.rolname = p.role
             where not exists (select from pg_auth_members a where a.roleid = g.oid and a.member = m.oid
                                  and coalesce((to_jsonb(a) ->> 'inherit_option')::boolean, true)
                                  and coalesce((to_jsonb(a) ->> 'set_option')::boolean, true))""",
    ),
    Step(
        "each login of a pair begins its sessions as its role",
        """select format('alter role %I set role = %L', m.rolname, p.role),
                  format('%s begins its sessions as %s', m.rolname, p.role), 'self', true
             from <pairs>
             join pg_roles m on m.rolname = p.login
            where not exists (select from pg_db_role_setting s, unnest(s.setconfig) c
                               where s.setrole = m.oid and s.setdatabase = 0 and c = 'role=' || p.role)""",
    ),
    Step(
        "what a pair leaves for others to decide",
        """select null, format('%s can still log in by itself; when nothing does so any more: alter role %I nologin',
                               g.rolname, g.rolname), 'no', false
             from pg_roles g
            where current_setting('tegata_bootstrap.alternating')::boolean and g.rolcanlogin
              and exists (select from <pairs> where p.role = g.rolname)
            union all
           select null, format('%s is through %s a member of rds_iam, so Amazon RDS refuses its password; either drop'
                   || ' the pairs, or revoke rds_iam from %I', m.rolname, p.role, p.role), 'no', false
             from <pairs>
             join pg_roles m on m.rolname = p.login
             join pg_auth_members a on a.member = (select oid from pg_roles where rolname = p.role)
             join pg_roles iam on iam.oid = a.roleid and iam.rolname = 'rds_iam'""",
    ),
)


def rotator_step() -> Step:
    """Return the step that lets the rotator set the passwords of the pairs, by one function for each pair."""
    # Only who asks for it loads it.
    from tegata_credentials.rotation.postgres.pair import LoginPair
    from tegata_credentials.rotation.postgres.setup import rotator_statements

    rows = []
    for role, (first, second) in LOGIN_PAIRS.items():
        pair = LoginPair(role, first, second)
        statements = list(rotator_statements(pair, ROTATOR))
        text = "\n".join(statements)
        told = {statements[-1]: f"{ROTATOR} may set the passwords of {first} and {second}"}
        rows += [
            (pair.setter_schema, place, statement, told.get(statement, ""), text)
            for place, statement in enumerate(statements)
        ]
    values = sql.SQL(", ").join(sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, row))) for row in rows)
    return Step("the rotator, who sets the passwords of pairs", _ROTATOR.replace("<values>", values.as_string(None)))


# A function that was made by the same text, for the rotator and nobody else, by whoever may make roles, needs nothing.
# If somebody else owns its schema, whose hands could exchange it at any time, the set-up says so, and rotation does not
# call it.
_ROTATOR = """select v.statement, v.says, 'self', false
             from (values <values>) v (schema, place, statement, says, texts)
            where not exists (select from pg_proc f join pg_namespace n on n.oid = f.pronamespace
                               where n.nspname = v.schema and f.proname = 'set_verifier' and f.prosecdef
                                 and position('$tegata$' || f.prosrc || '$tegata$' in v.texts) > 0
                                 and f.proconfig = array['search_path=pg_catalog, pg_temp']
                                 and has_function_privilege('tegata_rotator', f.oid, 'EXECUTE')
                                 and has_schema_privilege('tegata_rotator', n.oid, 'USAGE')
                                 and exists (select from pg_roles o where o.oid = f.proowner and o.oid = n.nspowner
                                                and (o.rolsuper or o.rolcreaterole or o.rolname = current_user))
                                 and not exists (select from aclexplode(coalesce(f.proacl, acldefault('f', f.proowner)))
                                                  x where x.grantee = 0))
            order by v.schema, v.place"""
