"""The SQL that lets a cloud identity log in to PostgreSQL without a password, as text for an administrator to run.

Azure: "Manage Microsoft Entra roles in Azure Database for PostgreSQL". AWS: "IAM database authentication for MariaDB,
MySQL, and PostgreSQL". Nothing here connects to anything. Names and values are quoted, so that a role called
`x"; drop table t; --` is a role with a strange name and nothing else.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Literal

from tegata_credentials.errors import CredentialError

Cloud = Literal["azure", "aws"]
PrincipalType = Literal["service", "user", "group"]

# NAMEDATALEN - 1. PostgreSQL would cut a longer name off silently and so mean another role.
_LONGEST_NAME = 63
_RESERVED = frozenset({"public", "none", "current_role", "current_user", "session_user"})
_DML = "SELECT, INSERT, UPDATE, DELETE"


class GrantsError(CredentialError):
    """A name or identifier that no correct SQL can be written for; the text says what to give instead."""


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of SQL: who runs it, connected to which database."""

    title: str
    database: str
    sql: str


def quote_identifier(name: str) -> str:
    """Return `name` as a quoted identifier. PostgreSQL §4.1.1. Raises `GrantsError` if it cannot be one."""
    if not name:
        raise GrantsError("a name is empty")
    if not name.isprintable():
        raise GrantsError("a name holds a control character or another one that cannot be seen")
    if len(name.encode()) > _LONGEST_NAME:
        raise GrantsError(f"a name is longer than {_LONGEST_NAME} bytes, and PostgreSQL would cut it off")
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """Return `text` as a string constant, whatever `standard_conforming_strings` says. PostgreSQL §4.1.2."""
    if "\0" in text:
        raise GrantsError("a text holds a NUL, which PostgreSQL cannot keep")
    quoted = "'" + text.replace("'", "''") + "'"
    return " E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted


def check_role(role: str) -> None:
    """Refuse what PostgreSQL keeps for itself as the name of a role."""
    quote_identifier(role)
    if role.startswith("pg_") or role.lower() in _RESERVED:
        raise GrantsError("the role has a name that PostgreSQL keeps for itself: choose another role")


def build_mapping(
    cloud: Cloud,
    role: str,
    *,
    object_id: str | None = None,
    identity: str | None = None,
    principal_type: PrincipalType = "service",
    is_existing: bool = False,
) -> Step:
    """Build what ties the database role to the cloud's identity; the role is made unless `is_existing`.

    `object_id` is the identity's object (principal) id in Entra, not its client id. `identity` is its display name in
    Entra, or the name of the IAM role (which is only mentioned). Raises `GrantsError`.
    """
    check_role(role)
    if identity is not None and not identity.isprintable():
        raise GrantsError("the identity's name holds a character that cannot be seen")
    if cloud == "aws":
        return _map_for_aws(role, identity, is_existing)
    if object_id is not None:
        return _map_object_id(role, _check_object_id(object_id), principal_type, is_existing)
    return _map_display_name(role, identity, is_existing)


def build_rights(role: str, *, database: str, schema: str = "public", owner: str | None = None) -> Step:
    """Build the rights an application with one tenant needs on the tables of a schema: DML and nothing else.

    It stops at a schema with row-level security: there the identity belongs to the role the policies were written for
    (`is_existing` of `build_mapping`), because a right on all tables also reaches partitions and tables without a
    policy. `owner` is the role that makes the tables; only with it are later tables covered.
    """
    check_role(role)
    to, place, text = quote_identifier(role), quote_identifier(schema), quote_literal(schema)
    guard = (
        "IF EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace\n"
        f"             WHERE n.nspname = {text} AND c.relrowsecurity) THEN\n"
        "    RAISE EXCEPTION 'this schema has row-level security: rights on all its tables would go around it'\n"
        "      USING HINT = 'Map the identity to the role the policies are for: grants --existing-role';\n"
        "  END IF;"
    )
    lines = [
        "BEGIN;",
        _anonymous_block(guard),
        f"GRANT CONNECT ON DATABASE {quote_identifier(database)} TO {to};",
        f"GRANT USAGE ON SCHEMA {place} TO {to};",
        f"GRANT {_DML} ON ALL TABLES IN SCHEMA {place} TO {to};",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {place} TO {to};",
    ]
    if owner is not None:
        later = f"ALTER DEFAULT PRIVILEGES FOR ROLE {quote_identifier(owner)} IN SCHEMA {place}"
        lines += [f"{later} GRANT {_DML} ON TABLES TO {to};", f"{later} GRANT USAGE ON SEQUENCES TO {to};"]
    else:
        lines.append(
            "-- Tables made later are not covered: give --owner, the role that makes them, or grant after each."
        )
    lines.append("COMMIT;")
    return Step("As the owner of the tables, or an administrator who may grant for it", database, "\n".join(lines))


def build_grants(
    cloud: Cloud,
    *,
    role: str,
    database: str,
    object_id: str | None = None,
    identity: str | None = None,
    principal_type: PrincipalType = "service",
    schema: str = "public",
    owner: str | None = None,
    is_existing: bool = False,
) -> tuple[Step, ...]:
    """Build everything for one role and database. A role that exists keeps the rights it has. Raises `GrantsError`."""
    mapping = build_mapping(
        cloud, role, object_id=object_id, identity=identity, principal_type=principal_type, is_existing=is_existing
    )
    if is_existing:
        return (mapping,)
    return mapping, build_rights(role, database=database, schema=schema, owner=owner)


def format_script(steps: tuple[Step, ...]) -> str:
    """Return the steps as one text to read and to run piece by piece. It names databases, it does not connect."""
    parts = [
        f"-- {number}. {step.title},\n--    connected to the database {quote_identifier(step.database)}:\n{step.sql}"
        for number, step in enumerate(steps, start=1)
    ]
    return "\n\n".join(parts) + "\n"


def _map_object_id(role: str, object_id: str, principal_type: PrincipalType, is_existing: bool) -> Step:
    if is_existing:
        label = quote_literal(f"aadauth,oid={object_id},type={principal_type}")
        sql = f'SECURITY LABEL FOR "pgaadauth" ON ROLE {quote_identifier(role)} IS {label};'
    else:
        arguments = ", ".join(quote_literal(text) for text in (role, object_id, principal_type))
        sql = (
            "-- Fails if the role exists already: then give --existing-role and it is mapped as it is.\n"
            f"SELECT * FROM pgaadauth_create_principal_with_oid({arguments}, false, false);"
        )
    return Step("As the Microsoft Entra administrator of the server", "postgres", sql)


def _map_display_name(role: str, identity: str | None, is_existing: bool) -> Step:
    if identity is None:
        raise GrantsError(
            "for Azure give --object-id: the object (principal) id of the identity, shown by `az identity show` as "
            "principalId, or by `az webapp identity show` for an identity assigned by the system"
        )
    if is_existing or role != identity:
        raise GrantsError(
            "without --object-id Azure maps by name: then the role must be new and have the identity's own name"
        )
    sql = (
        "-- By name; --object-id is better, because names in a directory are not unique.\n"
        f"SELECT * FROM pgaadauth_create_principal({quote_literal(role)}, false, false);"
    )
    return Step("As the Microsoft Entra administrator of the server", "postgres", sql)


def _map_for_aws(role: str, identity: str | None, is_existing: bool) -> Step:
    make = (
        f"IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {quote_literal(role)}) THEN\n"
        f"    CREATE ROLE {quote_identifier(role)} LOGIN;\n"
        "  END IF;"
    )
    lines = [] if is_existing else [_anonymous_block(make)]
    lines += [
        "-- From now on the role logs in with IAM tokens only, and so does everybody who is a member of it: before you",
        "-- log out, see that another login of yours still works (revoke the role from yourself if it does not).",
        f"GRANT rds_iam TO {quote_identifier(role)};",
        f"-- {identity or 'The IAM role of the service'} needs rds-db:connect on"
        f" arn:aws:rds-db:REGION:ACCOUNT:dbuser:RESOURCE-ID/{role}",
    ]
    return Step("As the master user, or a role that may grant rds_iam", "postgres", "\n".join(lines))


def _check_object_id(object_id: str) -> str:
    try:
        return str(uuid.UUID(object_id))
    except ValueError:
        raise GrantsError(
            "the object id is no UUID: `az identity show` prints it as principalId (clientId is another one)"
        ) from None


def _anonymous_block(body: str) -> str:
    """Wrap a PL/pgSQL statement in DO, with a dollar quote that the names in it cannot end. PostgreSQL §4.1.2.4."""
    number, tag = 0, "$do$"
    while tag in body:
        number, tag = number + 1, f"$do{number}$"
    return f"DO {tag}\nBEGIN\n  {body}\nEND\n{tag};"
