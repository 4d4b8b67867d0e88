"""What can be wrong at the database: each fault is told apart, nothing is changed, and a retry completes."""

from __future__ import annotations

import json
import re
import socket
import uuid
from contextlib import closing, contextmanager

import psycopg
import pytest

from tegata_credentials.rotation.errors import (
    DatabaseConnectionError,
    PasswordUpdateError,
    RotationBusy,
    RotationError,
    TestFailed,
)
from tegata_credentials.rotation.postgres import Login, LoginRefused, Place, StatementFailed
from tegata_credentials.rotation.postgres.psycopg_sessions import PsycopgSessions
from tegata_credentials.rotation.postgres.sessions import update_error
from tegata_credentials.testing import free_port
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, PENDING

from .worlds import HOST


@pytest.fixture
def created(world):
    """A rotation whose value exists, and whose password is not set."""
    token = world.announce()
    world.do("createSecret", token)
    return world, token


def unchanged(world):
    return world.server.verifier_of(world.pair.second) is None and world.server.lets_in(world.document(CURRENT))


def refusal(world, token, step="setSecret"):
    with pytest.raises(RotationError) as failed:
        world.do(step, token)
    return failed.value


@contextmanager
def altered(server, there, back):
    server.execute(there)
    try:
        yield
    finally:
        server.execute(back)


# The connection.


def moved(world, **place):
    """Another world whose secret leads elsewhere."""
    document = world.document() | place
    world.store.put_pending(world.secret, "elsewhere", HiddenText(json.dumps(document)))
    world.store.move(world.secret, CURRENT, "elsewhere")
    world.store.move(world.secret, PENDING, None)
    token = world.announce()
    world.do("createSecret", token)
    return token


def test_a_port_where_nobody_listens_is_a_connection_error_and_says_so(world):
    error = refusal(world, moved(world, port=free_port()))
    assert type(error) is DatabaseConnectionError
    assert "refused" in str(error)
    assert error.still_valid == "the current credential is unchanged and valid"


def test_a_host_that_is_not_found_is_a_connection_error(world):
    error = refusal(world, moved(world, host="nowhere.invalid"))
    assert type(error) is DatabaseConnectionError
    assert "nowhere.invalid" in str(error)


def test_a_database_that_is_not_there_is_no_wrong_password(world):
    error = refusal(world, moved(world, dbname="nothing"))
    assert type(error) is DatabaseConnectionError
    assert "nothing" in str(error)
    assert world.server.verifier_of(world.pair.second) is None


def test_a_server_that_never_answers_is_given_up(world):
    with closing(socket.create_server((HOST, 0))) as silent:
        place = Place(HOST, silent.getsockname()[1])
        with pytest.raises(DatabaseConnectionError, match="timeout"):
            PsycopgSessions(connect_timeout=1).open(Login("app", HiddenText("p" * 20)), place)


def test_too_many_connections_are_no_wrong_password(created):
    world, token = created
    rotator = f"{world.pair.group}_rotator"
    limit = 'alter role "{}" connection limit {}'
    with altered(world.server, limit.format(rotator, 0), limit.format(rotator, -1)):
        error = refusal(world, token)
    assert type(error) is DatabaseConnectionError
    assert "too many connections" in str(error)
    assert unchanged(world)
    world.rotate(token)


def test_a_rotator_whose_password_is_refused_is_named(created):
    world, token = created
    rotator = f"{world.pair.group}_rotator"
    world.server.set_password(rotator, "another-password-0123456789")
    error = refusal(world, token)
    assert type(error) is DatabaseConnectionError
    assert rotator in str(error)
    assert "correct the secret" in str(error)
    assert unchanged(world)


def test_a_server_that_asks_for_no_password_proves_nothing(world):
    world.server.execute("do $$ begin create role trusted_user login; exception when duplicate_object then end $$")
    with pytest.raises(DatabaseConnectionError, match=r"requirement .* failed"):
        PsycopgSessions().open(Login("trusted_user", HiddenText("any")), Place(HOST, world.server.port))


def test_a_server_that_asks_for_the_password_in_clear_does_not_get_it(world):
    world.server.execute("do $$ begin create role clear_user login; exception when duplicate_object then end $$")
    world.server.set_password("clear_user", "clear-password-0123456789")
    login = Login("clear_user", HiddenText("clear-password-0123456789"))
    with pytest.raises(DatabaseConnectionError, match=r"requirement .* failed") as failed:
        PsycopgSessions().open(login, Place(HOST, world.server.port))
    assert not isinstance(failed.value, LoginRefused)


def test_a_refused_password_and_an_unknown_user_are_told_alike(world):
    place = Place(HOST, world.server.port)
    for name in (world.pair.first, "nobody_of_this_name"):
        with pytest.raises(LoginRefused):
            PsycopgSessions().open(Login(name, HiddenText("wrong-password-0123456789")), place)


# Setting the password.


@pytest.mark.parametrize(
    ("there", "back", "says"),
    [
        (
            'alter role "{second}" nologin',
            'alter role "{second}" login',
            'may not log in: alter role "{second}" login',
        ),
        (
            "alter role \"{second}\" valid until '2020-01-01'",
            "alter role \"{second}\" valid until 'infinity'",
            "past: alter role \"{second}\" valid until 'infinity'",
        ),
        (
            'revoke "{group}" from "{second}"',
            'grant "{group}" to "{second}"',
            'is no member of {group}: grant "{group}" to "{second}"',
        ),
        (
            'alter role "{second}" reset role',
            "alter role \"{second}\" set role = '{group}'",
            'at login: alter role "{second}" set role = "{group}"',
        ),
        (
            'alter role "{second}" rename to "{second}x"',
            'alter role "{second}x" rename to "{second}"',
            "no role {second}: an administrator runs the set-up, which `tegata-credentials pair --group {group}` ",
        ),
        (
            'revoke execute on function "{group}_rotation".set_verifier from "{group}_rotator"',
            'grant execute on function "{group}_rotation".set_verifier to "{group}_rotator"',
            "may not set the password: an administrator runs the set-up, which `tegata-credentials pair --group ",
        ),
    ],
    ids=["no login", "password has ended", "no member", "no set role", "no role", "no right"],
)
def test_a_role_that_is_not_as_the_set_up_makes_it_stops_the_rotation(created, there, back, says):
    world, token = created
    names = {"group": world.pair.group, "second": world.pair.second}
    with altered(world.server, there.format(**names), back.format(**names)):
        error = refusal(world, token)
    assert type(error) is PasswordUpdateError
    assert says.format(**names) in str(error)
    assert not error.is_retryable
    assert str(error).endswith("the current credential is unchanged and valid; a person has to look into this")
    assert unchanged(world)
    world.rotate(token)
    assert world.server.lets_in(world.document())


def test_a_database_that_is_read_only_is_told_and_completed_later(created):
    world, token = created
    rotator = f"{world.pair.group}_rotator"
    only = 'alter role "{}" {} default_transaction_read_only{}'
    with altered(world.server, only.format(rotator, "set", " = on"), only.format(rotator, "reset", "")):
        error = refusal(world, token)
    assert type(error) is PasswordUpdateError
    assert "read-only" in str(error)
    assert unchanged(world)
    world.rotate(token)


def test_a_role_that_somebody_else_is_changing_is_waited_for_and_then_busy(server, new_world):
    class Sessions:
        """Those of the product, with little patience while somebody has the lock."""

        patience = 60.0

        def open(self, login, place):
            return PsycopgSessions(lock_timeout=self.patience).open(login, place)

    sessions = Sessions()
    world = new_world(server, wrap_sessions=lambda _: sessions)
    token = world.announce()
    world.do("createSecret", token)
    sessions.patience = 0.1
    with psycopg.connect(server.admin.psycopg_conninfo()) as other:
        other.execute(f"alter role \"{world.pair.second}\" valid until 'infinity'")
        error = refusal(world, token)
    assert type(error) is RotationBusy
    assert unchanged(world)
    sessions.patience = 60.0
    world.rotate(token)


@pytest.mark.parametrize("version", [15, 18])
def test_a_server_that_makes_md5_of_passwords_by_itself_still_gets_a_verifier(started, new_world, version):
    world = new_world(started(version))
    world.server.execute(f"alter role \"{world.pair.group}_rotator\" set password_encryption = 'md5'")
    world.rotate()
    assert world.server.verifier_of(world.pair.second).startswith("SCRAM-SHA-256$")
    assert world.server.lets_in(world.document())


def test_a_server_whose_rules_still_say_md5_accepts_a_verifier(server):
    """PostgreSQL documentation, "Password Authentication": with a SCRAM verifier, `md5` in pg_hba.conf means SCRAM."""
    server.execute("do $$ begin create role md5_user login; exception when duplicate_object then end $$")
    server.set_password("md5_user", "md5-password-0123456789")
    login = Login("md5_user", HiddenText("md5-password-0123456789"))
    PsycopgSessions().open(login, Place(HOST, server.port)).close()


def test_an_administrator_without_the_function_sets_the_password_directly(each_server, new_world):
    world = new_world(each_server)
    each_server.execute(f'drop schema "{world.pair.setter_schema}" cascade')
    rotator = f"{world.pair.group}_rotator"
    each_server.execute(f'alter role "{rotator}" createrole')
    if each_server.version >= 16:
        each_server.execute(f'grant "{world.pair.first}", "{world.pair.second}" to "{rotator}" with admin option')
    before = world.document()
    world.rotate()
    assert each_server.lets_in(world.document())
    assert each_server.lets_in(before)


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        ("08006", DatabaseConnectionError),
        ("57P01", DatabaseConnectionError),
        ("57P03", DatabaseConnectionError),
        ("53300", DatabaseConnectionError),
        ("53100", DatabaseConnectionError),
        ("58030", DatabaseConnectionError),
        ("40P01", RotationBusy),
        ("55P03", RotationBusy),
        ("57014", RotationBusy),
        ("XX000", RotationBusy),
        ("25006", PasswordUpdateError),
        ("42501", PasswordUpdateError),
        ("42704", PasswordUpdateError),
        ("42883", PasswordUpdateError),
        ("0LP01", PasswordUpdateError),
        (None, PasswordUpdateError),
    ],
)
def test_failures_of_the_change_are_told_apart_by_sqlstate(sqlstate, kind):
    error = update_error(StatementFailed(sqlstate, "a statement failed"))
    assert type(error) is kind
    assert (sqlstate or "unknown") in str(error)


@pytest.mark.parametrize(
    "broken",
    ['alter role "{second}" nologin', 'revoke "{group}" from "{second}"', 'alter role "{second}" reset role'],
    ids=["no login", "no member", "no set role"],
)
def test_what_a_message_says_to_paste_mends_it(created, broken):
    world, token = created
    world.server.execute(broken.format(group=world.pair.group, second=world.pair.second))
    cure = re.search(r": ((?:alter|grant) [^;]+)", str(refusal(world, token)))
    world.server.execute(cure[1])
    world.rotate(token)
    assert world.document()["username"] == world.pair.second


def test_a_rotator_by_another_name_stands_in_the_command_of_the_set_up(server, new_world):
    turner = f"turner_{uuid.uuid4().hex[:8]}"
    world = new_world(server, rotator=turner)
    token = world.announce()
    world.do("createSecret", token)
    server.execute(f'drop function "{world.pair.setter_schema}".set_verifier')
    error = refusal(world, token)
    assert f"`tegata-credentials pair --group {world.pair.group} --rotator {turner}`" in str(error)


# The test.


@pytest.mark.parametrize(
    ("there", "back", "says"),
    [
        (
            'alter role "{second}" reset role',
            "alter role \"{second}\" set role = '{group}'",
            'and not as {group}: grant "{group}" to "{second}"; alter role "{second}" set role = "{group}"',
        ),
        ('alter role "{second}" nologin', 'alter role "{second}" login', "refuses"),
        ('revoke "{group}" from "{second}"', 'grant "{group}" to "{second}"', "and not as"),
    ],
    ids=["no set role", "no login", "no member"],
)
def test_a_login_that_does_not_work_as_it_should_never_becomes_current(created, there, back, says):
    world, token = created
    world.do("setSecret", token)
    names = {"group": world.pair.group, "second": world.pair.second}
    with altered(world.server, there.format(**names), back.format(**names)):
        for step in ("testSecret", "finishSecret"):
            error = refusal(world, token, step)
            assert type(error) is TestFailed
            assert says.format(**names) in str(error)
    assert world.document()["username"] == world.pair.first
    world.rotate(token)
    assert world.document()["username"] == world.pair.second


def test_a_canary_that_does_not_work_never_lets_it_become_current(server, new_world):
    world = new_world(server, canary="select * from a_table_that_is_not_there")
    token = world.announce()
    world.do("createSecret", token)
    world.do("setSecret", token)
    error = refusal(world, token, "finishSecret")
    assert type(error) is TestFailed
    assert "42P01" in str(error)
    assert world.document()["username"] == world.pair.first


def test_a_login_that_something_on_the_way_makes_another_users_never_becomes_current(server, new_world):
    class Mapped:
        """A session of a pooler that logs in as somebody else."""

        def __init__(self, session):
            self.session = session

        def __getattr__(self, name):
            return getattr(self.session, name)

        def execute(self, statement, *values):
            found = self.session.execute(statement, *values)
            return [("pooler", *row[1:]) for row in found] if "session_user" in statement else found

    class Pooler:
        def __init__(self, sessions):
            self.sessions = sessions

        def open(self, login, place):
            return Mapped(self.sessions.open(login, place))

    world = new_world(server, wrap_sessions=Pooler)
    with pytest.raises(TestFailed, match="one of pooler"):
        world.rotate()
    assert world.document()["username"] == world.pair.first


def test_a_canary_may_contain_percent_signs(server, new_world):
    world = new_world(server, canary="select 5 % 3 where 'a' like 'a%'")
    world.rotate()
    assert world.document()["username"] == world.pair.second


def test_a_password_that_was_changed_again_after_the_test_is_found_at_the_end(created):
    world, token = created
    for step in ("setSecret", "testSecret"):
        world.do(step, token)
    world.server.set_password(world.pair.second, "changed-by-somebody-0123456789")
    assert type(refusal(world, token, "finishSecret")) is TestFailed
    world.rotate(token)
    assert world.server.lets_in(world.document())
