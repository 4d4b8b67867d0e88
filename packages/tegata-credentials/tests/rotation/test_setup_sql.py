"""The set-up: it may be run again, and the rotator that it makes can set two passwords and do nothing else."""

from __future__ import annotations

import uuid
from contextlib import closing

import psycopg
import pytest

from tegata_credentials.errors import CredentialError
from tegata_credentials.rotation.postgres import Login, LoginPair, Place
from tegata_credentials.rotation.postgres.pair import identifier
from tegata_credentials.rotation.postgres.psycopg_sessions import PsycopgSessions
from tegata_credentials.rotation.postgres.setup import set_up, setup_sql, setup_statements
from tegata_credentials.token_state import HiddenText

from .worlds import HOST, make_pair, make_world

DENIED = psycopg.errors.InsufficientPrivilege
# For "swordfish", made by PostgreSQL.
SCRAM = (
    "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
)


def password():
    return f"begin-{uuid.uuid4().hex}"


@pytest.fixture(scope="module", params=[15, 16, 18], ids=lambda version: f"PostgreSQL {version}")
def rotator(request, started):
    """The pair, a connection of its rotator's, and the server."""
    server = started(request.param)
    pair, name, secret = make_pair(server)
    place = {"host": HOST, "port": server.port, "dbname": "postgres"}
    with psycopg.connect(**place, user=name, password=secret, autocommit=True) as connection:
        yield pair, connection, server


def setter(pair):
    return f"select {identifier(pair.setter_schema)}.set_verifier(%s, %s)"


def test_it_may_be_run_again(each_server, new_world):
    world = new_world(each_server)
    for statement in setup_statements(world.pair, f"{world.pair.group}_rotator"):
        each_server.execute(statement)
    assert each_server.lets_in(world.document())
    world.rotate()


def test_the_roles_are_what_they_should_be(each_server, new_world):
    pair = new_world(each_server).pair
    columns = "rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolinherit"
    names = [pair.group, *pair.logins, f"{pair.group}_rotator"]
    found = [each_server.execute(f"select {columns} from pg_roles where rolname = %s", name)[0] for name in names]
    assert [row[0] for row in found] == [False, True, True, True]
    assert not any(any(row[1:6]) for row in found)
    assert found[3][6] is False
    members = "select count(*) from pg_auth_members m join pg_roles r on r.oid = m.member where r.rolname = %s"
    assert each_server.execute(members, names[3]) == [(0,)]


def test_tables_of_one_user_are_the_others_too(each_server, new_world):
    world = new_world(each_server)
    each_server.execute(f'grant create on schema public to "{world.pair.group}"')
    table = f"made_by_{world.pair.first}"
    with psycopg.connect(**world.login()) as connection:
        connection.execute(f"create table {table} (i int)")
    world.rotate()
    with psycopg.connect(**world.login()) as connection:
        connection.execute(f"alter table {table} add j int")
        connection.execute(f"drop table {table}")


def test_the_script_for_psql_is_all_or_nothing():
    script = setup_sql(LoginPair.of("app"), "app_rotator")
    assert script.startswith("begin;\n")
    assert script.endswith("\ncommit;\n")
    assert "password" not in script.replace("alter role %I password %L", "")


def test_it_runs_as_the_master_user_of_a_service_who_is_no_superuser(each_server):
    master, secret, pair = f"master_{uuid.uuid4().hex[:8]}", password(), LoginPair.of(f"app_{uuid.uuid4().hex[:8]}")
    each_server.execute(f'create role "{master}" login createrole createdb')
    each_server.execute(f'grant create on database postgres to "{master}"')
    each_server.set_password(master, secret)
    login = Login(master, HiddenText(secret))
    for _ in range(2):
        with closing(PsycopgSessions().open(login, Place(HOST, each_server.port))) as session:
            set_up(session, pair, f"{pair.group}_rotator")
    world = make_world(each_server, pair=pair, is_made=True)
    before = world.document()
    world.rotate()
    assert each_server.lets_in(world.document())
    assert each_server.lets_in(before)


def test_a_database_that_is_closed_to_everybody_is_opened_to_the_rotator(server):
    pair, name = LoginPair.of(f"app_{uuid.uuid4().hex[:8]}"), f"closed_{uuid.uuid4().hex[:8]}"
    server.execute(f'create database "{name}"')
    server.execute(f'revoke connect on database "{name}" from public')
    with psycopg.connect(server.admin.in_database(name).psycopg_conninfo(), autocommit=True) as connection:
        for statement in setup_statements(pair, f"{pair.group}_rotator"):
            connection.execute(statement)
    server.execute(f'grant connect on database "{name}" to "{pair.group}"')
    world = make_world(server, pair=pair, is_made=True, place={"dbname": name})
    world.rotate()
    assert server.lets_in(world.document())


def test_a_group_that_logs_in_until_now_goes_on_doing_so(server):
    group = f"app_{uuid.uuid4().hex[:8]}"
    server.execute(f'create role "{group}" login')
    make_pair(server, LoginPair.of(group))
    assert server.execute("select rolcanlogin from pg_roles where rolname = %s", group) == [(True,)]


def test_a_schema_that_somebody_else_has_made_first_is_refused(server):
    pair, other = LoginPair.of(f"app_{uuid.uuid4().hex[:8]}"), f"other_{uuid.uuid4().hex[:8]}"
    server.execute(f'create role "{other}"')
    server.execute(f'create schema "{pair.setter_schema}" authorization "{other}"')
    with pytest.raises(DENIED, match="belongs to another role"):
        make_pair(server, pair)


@pytest.mark.parametrize("which", [0, 1], ids=["first", "second"])
def test_the_rotator_sets_the_passwords_of_the_pair(rotator, which):
    pair, connection, server = rotator
    secret, login = password(), pair.logins[which]
    server.secrets.add(secret)
    verifier = connection.pgconn.encrypt_password(secret.encode(), login.encode(), b"scram-sha-256").decode()
    connection.execute(setter(pair), [login, verifier])
    document = {"host": HOST, "port": server.port, "dbname": "postgres", "username": login, "password": secret}
    assert server.lets_in(document)


def test_the_rotator_sets_no_other_password(rotator):
    pair, connection, _ = rotator
    others = ["postgres", pair.group, f"{pair.group}_rotator", f"{pair.first}_x", pair.first.upper(), "", None]
    for name in others:
        with pytest.raises(DENIED, match="not one of the pair"):
            connection.execute(setter(pair), [name, SCRAM])


@pytest.mark.parametrize(
    "verifier",
    [
        "swordfish",
        "md5" + "0" * 32,
        "",
        None,
        "SCRAM-SHA-256$4096:x$y:z",
        SCRAM[:-1],
        SCRAM + "\nx",
        SCRAM + "' superuser '",
        "x" + SCRAM,
        SCRAM.replace("4096", "0"),
        SCRAM.replace("SCRAM-SHA-256", "SCRAM-SHA-1"),
    ],
    ids=repr,
)
def test_the_rotator_sets_nothing_but_a_verifier(rotator, verifier):
    pair, connection, _ = rotator
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        connection.execute(setter(pair), [pair.first, verifier])


@pytest.mark.parametrize(
    "statement",
    [
        "alter role {first} password 'x'",
        "alter role {first} superuser",
        "alter role {first} valid until 'infinity'",
        "alter role {group} login",
        "alter role postgres password 'x'",
        "create role {group}_more",
        "drop role {second}",
        "grant {group} to {group}_rotator",
        "grant {group}_rotator to {first}",
        "set role {group}",
        "set role {first}",
        "set role postgres",
        "set session authorization {first}",
        "create schema {group}_more",
        "create function {group}_rotation.more() returns int language sql as 'select 1'",
        "create or replace function {group}_rotation.set_verifier(login name, verifier text) returns void "
        "language sql as ''",
        "alter function {group}_rotation.set_verifier(name, text) owner to {group}_rotator",
        "drop schema {group}_rotation cascade",
        "select rolpassword from pg_authid",
        "select pg_read_file('postgresql.conf')",
        "copy (select 1) to program 'true'",
    ],
)
def test_the_rotator_can_do_nothing_else(rotator, statement):
    pair, connection, _ = rotator
    with pytest.raises(psycopg.Error) as refused:
        connection.execute(statement.format(group=pair.group, first=pair.first, second=pair.second))
    assert refused.value.sqlstate in ("42501", "0LP01", "2BP01")


def test_the_users_of_the_pair_do_not_set_passwords(each_server, new_world):
    world = new_world(each_server)
    with psycopg.connect(**world.login(), autocommit=True) as connection:
        for role in (identifier(world.pair.group), "none"):  # what an application works as, and the login itself
            connection.execute(f"set role {role}")
            with pytest.raises(DENIED):
                connection.execute(setter(world.pair), [world.pair.second, SCRAM])


def test_the_function_runs_with_a_search_path_that_nobody_can_change(each_server, new_world):
    pair = new_world(each_server).pair
    asked = (
        "select p.prosecdef, p.proconfig from pg_proc p join pg_namespace n on n.oid = p.pronamespace "
        "where n.nspname = %s"
    )
    assert each_server.execute(asked, pair.setter_schema) == [(True, ["search_path=pg_catalog, pg_temp"])]


def test_rights_that_everybody_was_given_are_taken_back(each_server, new_world):
    pair = new_world(each_server).pair
    schema, rotator = pair.setter_schema, f"{pair.group}_rotator"
    each_server.execute(f'grant usage, create on schema "{schema}" to public')
    each_server.execute(f'grant execute on function "{schema}".set_verifier to public')
    for statement in setup_statements(pair, rotator):
        each_server.execute(statement)
    asked = (
        "select array(select grantee::regrole::text from aclexplode(nspacl)), "
        "array(select grantee::regrole::text from aclexplode(proacl)) "
        "from pg_namespace n join pg_proc p on p.pronamespace = n.oid where nspname = %s"
    )
    ((of_schema, of_function),) = each_server.execute(asked, schema)
    assert set(of_schema) == set(of_function) == {"postgres", rotator}


def test_what_the_callers_search_path_offers_is_not_called(rotator):
    pair, connection, _ = rotator
    for kind in ("format(text, name, text)", "format(text, text, text)"):
        connection.execute(f"create function pg_temp.{kind} returns text language sql as $$ select 'select 1' $$")
    connection.execute("set search_path = pg_temp, pg_catalog")
    with pytest.raises(DENIED):
        connection.execute(setter(pair), ["postgres", SCRAM])
    connection.execute(setter(pair), [pair.first, SCRAM])
    connection.execute("reset search_path")


@pytest.mark.parametrize(
    "group",
    [
        "it's",
        'a "quoted" one',
        "x; drop role postgres; --",
        "back\\slash",
        "$tegata$ end; $tegata$",
        "per%cent %s %I",
        "グループ",
        "new\nline",
    ],
)
def test_a_name_is_a_name_and_nothing_else(server, new_world, group):
    world = new_world(server, pair=LoginPair.of(f"{group}{uuid.uuid4().hex[:6]}"))
    before = world.document()
    world.rotate()
    world.rotate()
    after = world.document()
    assert (after["username"], server.lets_in(after)) == (before["username"], True)
    assert server.execute("select count(*) from pg_roles where rolname = 'postgres'") == [(1,)]


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 62, "グ" * 21], ids=["empty", "nul", "too long", "too many bytes"])
def test_a_name_that_postgresql_would_cut_off_is_refused(name):
    with pytest.raises(CredentialError):
        LoginPair.of(name)
    with pytest.raises(CredentialError):
        list(setup_statements(LoginPair.of("app"), name * 2))


def test_three_roles_need_three_names():
    with pytest.raises(CredentialError, match="three names"):
        LoginPair("app", "app_a", "app")
