"""The SQL that makes the roles of a pair once, and a rotator that can do nothing but set their two passwords.

The rotator is given no CREATEROLE, which before PostgreSQL 16 reaches nearly every role, and afterwards needs ADMIN on
both: it may call one function, which runs with the rights of whoever runs this set-up, knows the two names, and takes
a SCRAM verifier and nothing else (PostgreSQL documentation, "Writing SECURITY DEFINER Functions Safely").
"""

from __future__ import annotations

from collections.abc import Iterator

from tegata_credentials.rotation.postgres.pair import LoginPair, check_name, identifier
from tegata_credentials.rotation.postgres.sessions import Session

# Iterations, salt, stored key and server key: the text form in pg_authid.rolpassword. 16 bytes of salt or more.
_VERIFIER = "^SCRAM-SHA-256[$][1-9][0-9]{0,7}:[A-Za-z0-9+/]{22,}={0,2}[$][A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$"


def setup_statements(pair: LoginPair, rotator: str) -> Iterator[str]:
    """Yield the statements, each of which may be run again. They hold no password: roles begin without one.

    A group role that is there already keeps its LOGIN, for the application that uses it until now: take it away when
    nobody logs in as the group any more.
    """
    group = identifier(pair.group)
    # The owner of the database may have planted functions that an administrator would find before PostgreSQL's own.
    yield "set local search_path = pg_catalog, pg_temp"
    yield _role(pair.group, "nologin")
    for login in pair.logins:
        yield _role(login, "login")
        yield f"alter role {identifier(login)} login"
        yield f"grant {group} to {identifier(login)}"
        yield f"alter role {identifier(login)} set role = {_literal(pair.group)}"
    yield from rotator_statements(pair, rotator)


def rotator_statements(pair: LoginPair, rotator: str) -> Iterator[str]:
    """Yield the part of the rotator, for a pair that something else has made: its role, function and rights."""
    check_name(rotator)
    schema, agent = identifier(pair.setter_schema), identifier(rotator)
    setter = f"{schema}.set_verifier(name, text)"
    yield _role(rotator, "login noinherit")
    yield _reach(rotator)
    yield f"create schema if not exists {schema}"
    yield _ours(pair)
    yield f"revoke all on schema {schema} from public"
    yield _function(pair)
    yield f"revoke all on function {setter} from public"
    yield f"grant usage on schema {schema} to {agent}"
    yield f"grant execute on function {setter} to {agent}"


def setup_sql(pair: LoginPair, rotator: str) -> str:
    """Return a script for psql, all or nothing."""
    return "\n".join(["begin;", *(f"{statement};" for statement in setup_statements(pair, rotator)), "commit;", ""])


def set_up(session: Session, pair: LoginPair, rotator: str) -> None:
    """Run the statements in one transaction. `session` is that of a superuser, or of RDS's master user."""
    for statement in setup_statements(pair, rotator):
        session.execute(statement)
    session.commit()


def _role(name: str, attributes: str) -> str:
    return "do " + _body(
        f"begin if not exists (select from pg_catalog.pg_roles where rolname = {_literal(name)}) "
        f"then create role {identifier(name)} {attributes}; end if; end"
    )


def _reach(rotator: str) -> str:
    """The right to connect, where it has been taken from everybody."""
    return "do " + _body(
        f"begin if not has_database_privilege({_literal(rotator)}, current_database(), 'connect') "
        f"then execute format('grant connect on database %I to %I', current_database(), {_literal(rotator)}); "
        "end if; end"
    )


def _ours(pair: LoginPair) -> str:
    """Whoever owns a schema can put another function into it."""
    return "do " + _body(
        "begin if not exists (select from pg_catalog.pg_namespace n join pg_catalog.pg_roles r on r.oid = n.nspowner "
        f"where n.nspname = {_literal(pair.setter_schema)} and r.rolname = current_user) "
        "then raise exception 'the schema of the rotation belongs to another role: drop it, or run this as its owner' "
        "using errcode = 'insufficient_privilege'; end if; end"
    )


def _function(pair: LoginPair) -> str:
    names = ", ".join(_literal(login) for login in pair.logins)
    setter = f"{identifier(pair.setter_schema)}.set_verifier(login name, verifier text)"
    return f"""create or replace function {setter}
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as """ + _body(f"""begin
  if login is null or login not in ({names}) then
    raise exception 'this role is not one of the pair' using errcode = 'insufficient_privilege';
  end if;
  if exists (select from pg_roles where rolname in (login, {_literal(pair.group)}) and rolsuper) then
    raise exception 'this role has become a superuser' using errcode = 'insufficient_privilege';
  end if;
  if verifier is null or verifier !~ '{_VERIFIER}' then
    raise exception 'this is no SCRAM-SHA-256 verifier' using errcode = 'invalid_parameter_value';
  end if;
  execute format('alter role %I password %L', login, verifier);
end""")


def _body(text: str) -> str:
    """Quote a body of code by a mark that nobody can have put into a name."""
    mark = "$tegata$"
    while mark in text:
        mark = f"{mark[:-1]}_$"
    return f"{mark}{text}{mark}"


def _literal(text: str) -> str:
    """Quote a text for SQL; a backslash makes it an escape string, whatever standard_conforming_strings is."""
    quoted = text.replace("'", "''").replace("\\", "\\\\")
    return f"E'{quoted}'" if "\\" in text else f"'{quoted}'"
