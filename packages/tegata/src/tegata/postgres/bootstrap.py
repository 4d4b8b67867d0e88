"""The roles, the schema and what PUBLIC loses: the part of the set-up that needs an administrator.

Everything here is idempotent and changes nothing when nothing is missing. The administrator is a superuser (embedded
server) or the administrator of a managed service, who has CREATEROLE and may create schemas, but is no superuser.
"""

from __future__ import annotations

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from tegata.postgres.target import ConnectionTarget

SCHEMA = "tegata"
OWNER = "tegata_owner"
APPLICATION = "tegata_app"
MAINTENANCE = "tegata_maint"

# Serialises set-ups that start at the same moment; any constant would do.
_LOCK = 0x7467_0001


def bootstrap(administrator: ConnectionTarget) -> None:
    """Make the three roles and the schema in the target's database.

    Raises `psycopg.errors.InsufficientPrivilege` if the administrator lacks CREATEROLE, or CREATE on the database.
    """
    with psycopg.connect(administrator.psycopg_conninfo(), row_factory=dict_row) as connection:
        connection.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
        # A release that only looks must not wait behind a busy table, nor make others wait behind itself.
        connection.execute("set local lock_timeout = '3s'")
        _make_role(connection, OWNER, "nologin")
        _make_role(connection, APPLICATION, "login")
        _make_role(connection, MAINTENANCE, "login")
        _join_roles(connection)
        _make_schema(connection)
        _limit_public(connection)


def _make_role(connection: psycopg.Connection[dict[str, object]], name: str, login: str) -> None:
    if connection.execute("select from pg_roles where rolname = %s", (name,)).fetchone() is None:
        connection.execute(
            sql.SQL("create role {} {} nosuperuser nobypassrls nocreatedb nocreaterole noreplication").format(
                sql.Identifier(name), sql.SQL(login)
            )
        )


def _join_roles(connection: psycopg.Connection[dict[str, object]]) -> None:
    """Let an administrator who is no superuser act as the three roles.

    From PostgreSQL 16 on the creator of a role may grant it, but not become it (SET), unless it grants that to itself.
    """
    found = connection.execute(
        "select rolsuper, current_setting('server_version_num')::int as version from pg_roles"
        " where rolname = current_user"
    ).fetchone()
    assert found is not None
    if found["rolsuper"]:
        return
    modern = int(str(found["version"])) >= 160000
    needed, options = ("SET", " with set true, inherit false") if modern else ("MEMBER", "")
    for role in (OWNER, APPLICATION, MAINTENANCE):
        row = connection.execute("select pg_has_role(current_user, %s, %s) as enough", (role, needed)).fetchone()
        if row is None or not row["enough"]:
            connection.execute(sql.SQL("grant {} to current_user" + options).format(sql.Identifier(role)))


def _make_schema(connection: psycopg.Connection[dict[str, object]]) -> None:
    schema = sql.Identifier(SCHEMA)
    if connection.execute("select from pg_namespace where nspname = %s", (SCHEMA,)).fetchone() is None:
        connection.execute(sql.SQL("create schema {} authorization {}").format(schema, sql.Identifier(OWNER)))
    for role in (APPLICATION, MAINTENANCE):
        row = connection.execute("select has_schema_privilege(%s, %s, 'USAGE') as enough", (role, SCHEMA)).fetchone()
        if row is None or not row["enough"]:
            _as_owner(connection, sql.SQL("grant usage on schema {} to {}").format(schema, sql.Identifier(role)))


def _limit_public(connection: psycopg.Connection[dict[str, object]]) -> None:
    """Take from PUBLIC what PostgreSQL gives by default: EXECUTE on what the owner will make, and temporary tables.

    Only the owner of the database can take the latter. Where that is somebody else, functions still look for names in
    the catalogue before they look in a temporary schema.
    """
    temporary = connection.execute(
        "select d.datname from pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) x"
        " where d.datname = current_database() and x.grantee = 0 and x.privilege_type = 'TEMPORARY'"
        " and pg_has_role(current_user, d.datdba, 'USAGE')"
    ).fetchone()
    if temporary is not None:
        connection.execute(
            sql.SQL("revoke temporary on database {} from public").format(sql.Identifier(str(temporary["datname"])))
        )
    defaults = connection.execute(
        "select from pg_default_acl d, aclexplode(d.defaclacl) x"
        " where d.defaclrole = %s::regrole and d.defaclnamespace = 0 and d.defaclobjtype = 'f'"
        " having bool_and(x.grantee <> 0)",
        (OWNER,),
    ).fetchone()
    if defaults is None:
        _as_owner(
            connection,
            sql.SQL("alter default privileges for role {} revoke execute on functions from public").format(
                sql.Identifier(OWNER)
            ),
        )


def _as_owner(connection: psycopg.Connection[dict[str, object]], statement: sql.Composed) -> None:
    connection.execute(sql.SQL("set local role {}").format(sql.Identifier(OWNER)))
    connection.execute(statement)
    connection.execute("set local role none")
