"""A database whose owner is an enemy: who owns it may plant functions and settings, and wait for an administrator.

PostgreSQL documentation, "Writing SECURITY DEFINER Functions Safely" and "Schemas", "Usage Patterns".
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import psycopg
import pytest

from tegata_credentials.rotation.errors import PasswordUpdateError, RotationError, RotationRefused
from tegata_credentials.rotation.postgres.pair import identifier
from tegata_credentials.rotation.postgres.setup import setup_statements
from tegata_credentials.token_state import HiddenText

from .worlds import World, make_world


@pytest.fixture
def owned(each_server) -> Iterator[World]:
    """A world in a database that belongs to the group, whose passwords an administrator sets: a superuser."""
    name = f"owned_{uuid.uuid4().hex[:8]}"
    each_server.execute(f"create database {name}")
    world = make_world(each_server, place={"dbname": name})
    each_server.execute(f'alter database {name} owner to "{world.pair.group}"')
    each_server.execute(f'alter role "{world.pair.group}_rotator" superuser')
    yield world
    for role in (world.pair.group, *world.pair.logins, f"{world.pair.group}_rotator"):
        assert not is_superuser(world, role) or role.endswith("_rotator")


def is_superuser(world: World, role: str) -> bool:
    ((found,),) = world.server.execute("select rolsuper from pg_roles where rolname = %s", role)
    return bool(found)


def as_owner(world: World, *statements: str) -> None:
    with psycopg.connect(**world.login(), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def escalation(world: World) -> str:
    return f'alter role "{world.pair.first}" superuser'


def test_a_planted_function_is_not_called_by_an_administrator(owned):
    schema = identifier(owned.pair.setter_schema)
    as_owner(
        owned,
        f"create schema {schema}",
        f"create function {schema}.set_verifier(login name, verifier text) returns void language plpgsql as "
        f"$$ begin {escalation(owned)}; end $$",
    )
    owned.rotate()
    assert not is_superuser(owned, owned.pair.first)
    assert owned.server.lets_in(owned.document())


def test_a_planted_function_gets_no_verifier_of_a_rotator(owned):
    schema, rotator = identifier(owned.pair.setter_schema), f"{owned.pair.group}_rotator"
    owned.server.execute(f'alter role "{rotator}" nosuperuser')
    as_owner(
        owned,
        f"create schema {schema}",
        f"create table {schema}.kept (verifier text)",
        f"create function {schema}.set_verifier(login name, verifier text) returns void language plpgsql "
        f"security definer as $$ begin insert into {schema}.kept values (verifier); end $$",
        f'grant usage on schema {schema} to "{rotator}"',
    )
    token = owned.announce()
    owned.do("createSecret", token)
    with pytest.raises(PasswordUpdateError):
        owned.do("setSecret", token)
    with pytest.raises(RotationError):
        owned.do("finishSecret", token)


PLANTED = (
    "create function evil.{name} returns boolean language plpgsql as $$ begin {escalation}; return true; end $$",
    ("has_function_privilege(oid, text)", "has_schema_privilege(oid, text)"),
)


@pytest.mark.parametrize("path", ["evil, pg_catalog", "evil"])
def test_planted_names_before_those_of_postgresql_are_not_found(owned, path):
    name = owned.document()["dbname"]
    as_owner(
        owned,
        "create schema evil",
        "grant usage on schema evil to public",
        *(PLANTED[0].format(name=function, escalation=escalation(owned)) for function in PLANTED[1]),
        f"create function evil.same(name, text) returns boolean language plpgsql as $$ begin {escalation(owned)}; "
        "return true; end $$",
        "create operator evil.= (leftarg = name, rightarg = text, procedure = evil.same)",
        "create function evil.set_config(text, text, boolean) returns text language plpgsql as "
        f"$$ begin {escalation(owned)}; return null; end $$",
        f"alter database {name} set search_path = {path}",
    )
    owned.rotate()
    assert not is_superuser(owned, owned.pair.first)
    assert owned.server.lets_in(owned.document())


def test_the_set_up_finds_no_planted_names_either(owned):
    name = owned.document()["dbname"]
    as_owner(
        owned,
        "create schema evil",
        "grant usage on schema evil to public",
        "create function evil.has_database_privilege(text, name, text) returns boolean language plpgsql as "
        f"$$ begin {escalation(owned)}; return true; end $$",
        "create function evil.same(name, text) returns boolean language plpgsql as "
        f"$$ begin {escalation(owned)}; return true; end $$",
        "create operator evil.= (leftarg = name, rightarg = text, procedure = evil.same)",
        f"alter database {name} set search_path = evil, pg_catalog",
    )
    target = {"host": owned.document()["host"], "port": owned.server.port, "dbname": name}
    rotator = f"{owned.pair.group}_rotator"
    password = owned.store.read(owned.document()["masterarn"]).document()["password"]
    with psycopg.connect(**target, user=rotator, password=password) as connection:
        for statement in setup_statements(owned.pair, rotator):
            connection.execute(statement)
    assert not is_superuser(owned, owned.pair.first)


def test_the_function_of_the_set_up_sets_no_password_of_a_superuser(each_server, new_world):
    world = new_world(each_server)
    each_server.execute(f'alter role "{world.pair.second}" superuser')
    token = world.announce()
    try:
        world.do("createSecret", token)
        with pytest.raises(PasswordUpdateError):
            world.do("setSecret", token)
        assert each_server.verifier_of(world.pair.second) is None
    finally:
        each_server.execute(f'alter role "{world.pair.second}" nosuperuser')


@pytest.mark.parametrize("host", ["db.example.com", "127.0.0.2"])
def test_an_administrator_is_not_shown_to_a_server_that_its_secret_does_not_name(server, new_world, host):
    """Whoever may write the rotated secret could lead the rotation elsewhere, and pass on what it says there."""
    opened = []

    class Noting:
        def __init__(self, sessions):
            self.sessions = sessions

        def open(self, login, place):
            opened.append(login.username)
            return self.sessions.open(login, place)

    world = new_world(server, wrap_sessions=Noting)
    rotator = world.document()["masterarn"]
    world.store.put_pending(
        rotator, "moved", HiddenText(json.dumps(world.store.read(rotator).document() | {"host": host}))
    )
    world.store.promote(rotator, "moved", replacing=world.store.labels(rotator).holder("AWSCURRENT"))
    token = world.announce()
    world.do("createSecret", token)
    with pytest.raises(RotationRefused, match="another host"):
        world.do("setSecret", token)
    assert f"{world.pair.group}_rotator" not in opened
