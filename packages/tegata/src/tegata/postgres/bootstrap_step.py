"""A step of the bootstrap, the names it speaks of, and the block that it becomes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One part of the set-up.

    query: rows of (statement, says, acts, essential). `statement` may be null: then `says` is only told. `acts` is how
    it is run: 'self', 'owner' (as tegata_owner), 'member' (as a member of tegata_owner), or 'no' (this administrator
    may not: others must). What is `essential` ends the set-up if it fails; the rest is told, and left for others.
    <roles>, <pairs>, <ours>, <all>, <dangerous> and <modern> stand for the parts below.
    """

    title: str
    query: str


# The four roles, and what each must not be.
_ROLES = """(values ('tegata_owner', 'nologin'), ('tegata_app', 'login'), ('tegata_maint', 'login'),
                     ('tegata_migrator', 'login noinherit')) w (name, login)"""
_OURS = "('tegata_owner', 'tegata_app', 'tegata_maint', 'tegata_migrator', 'tegata_rotator')"

# The logins that take turns, with their roles; tegata_rotator sets their passwords and can do nothing else.
PAIRS = tuple(
    (f"{role}_{turn}", role) for role in ("tegata_app", "tegata_maint", "tegata_migrator") for turn in ("a", "b")
)
_PAIRS = f"(values {', '.join(str(pair) for pair in PAIRS)}) p (login, role)"
_ALL = _OURS.removesuffix(")") + "".join(f", '{login}'" for login, _ in PAIRS) + ")"

# Roles whose rights reach past row-level security, or into files and programs of the server. Whoever owns the database
# is a member of pg_database_owner without being granted it.
_DANGEROUS = """
       select d.oid, d.rolname from pg_roles d
        where d.rolsuper or d.rolbypassrls or d.rolcreaterole or d.rolreplication
           or d.rolname in ('pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files',
                            'pg_execute_server_program', 'pg_database_owner', 'pg_maintain', 'pg_create_subscription',
                            'rds_superuser', 'rds_replication', 'azure_pg_admin', 'cloudsqlsuperuser',
                            'tegata_owner', 'tegata_migrator', 'tegata_maint')"""

_MODERN = "current_setting('server_version_num')::integer >= 160000"
_PARTS = {
    "<roles>": _ROLES,
    "<pairs>": _PAIRS,
    "<ours>": _OURS,
    "<all>": _ALL,
    "<dangerous>": _DANGEROUS,
    "<modern>": _MODERN,
}

# One step as a block. What fails for want of rights is told with the statement, and everything else goes on.
_BLOCK = """-- <title>
do <mark>
declare
  missing record;
  modern constant boolean := current_setting('server_version_num')::integer >= 160000;
begin
  for missing in
    select * from (
      <query>
    ) m (statement, says, acts, essential)
  loop
    if missing.statement is null then
      raise warning 'left alone: %', missing.says;
      continue;
    end if;
    if missing.acts = 'no' then
      raise warning 'left alone, because % may not: % [%;]', current_user, missing.says, missing.statement;
      continue;
    end if;
    begin
      if missing.acts in ('owner', 'member')
         and not pg_has_role('tegata_owner', case when modern then 'SET' else 'MEMBER' end) then
        execute 'grant tegata_owner to current_user'
          || case when modern then ' with set true, inherit false' else '' end;
        perform set_config('tegata_bootstrap.joined', 'yes', true);
      end if;
      if missing.acts = 'owner' then
        set local role tegata_owner;
        execute missing.statement;
        set local role none;
      else
        execute missing.statement;
      end if;
      if missing.says <> '' then
        raise notice 'changed: %', missing.says;
      end if;
    exception when insufficient_privilege or invalid_grant_operation then
      if missing.essential then
        raise exception using errcode = sqlstate, message = sqlerrm, hint = format(
          'the set-up needs this and %s may not do it; let somebody who may run: %s;', session_user, missing.statement);
      end if;
      raise warning 'left alone, because % may not: % [%;] (%)', session_user, missing.says, missing.statement, sqlerrm;
    end;
  end loop;
end <mark>;
"""


def script(title: str, query: str) -> str:
    """Return a step as one block, which runs its statements and tells what it did."""
    for name, text in _PARTS.items():
        query = query.replace(name, text)
    mark = "$tegata$"
    while mark in query:  # a statement with a body of its own
        mark = f"{mark[:-1]}_$"
    parts = {"<title>": title, "<mark>": mark, "<query>": query}
    block = _BLOCK
    for name, text in parts.items():
        block = block.replace(name, text)
    return block
