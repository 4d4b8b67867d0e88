"""No password on the wire without verified TLS, in a log, in an error, or where the server shows what it does."""

from __future__ import annotations

import json
import re
import threading
from contextlib import closing, suppress

import psycopg
import pytest

from tegata_credentials.errors import CredentialError
from tegata_credentials.rotation.errors import DatabaseConnectionError, RotationError
from tegata_credentials.rotation.postgres import Login, LoginRefused, Place
from tegata_credentials.rotation.postgres.psycopg_sessions import PsycopgSessions
from tegata_credentials.testing.authority import Authority
from tegata_credentials.testing.leaks import text_of
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, PENDING

from .worlds import ELSEWHERE, HOST

WRONG = "wrong-password-0123456789"


# TLS.


def test_to_another_machine_a_rotation_needs_and_gets_verified_tls(server, new_world, authority):
    world = new_world(server, place={"host": ELSEWHERE, "sslrootcert": str(authority.root)})
    world.rotate()
    assert world.document()["username"] == world.pair.second
    place = Place(ELSEWHERE, server.port, "postgres", str(authority.root))
    login = Login(world.document()["username"], HiddenText(world.document()["password"]))
    with closing(PsycopgSessions().open(login, place)) as session:
        session.execute("set role none")  # a group is not shown what its members do
        assert session.execute("select ssl from pg_stat_ssl where pid = pg_backend_pid()") == [(True,)]


def test_an_authority_that_is_not_trusted_gets_no_password(server, new_world, tmp_path):
    stranger = Authority(tmp_path)
    world = new_world(server, place={"host": ELSEWHERE, "sslrootcert": str(stranger.root)})
    token = world.announce()
    world.do("createSecret", token)
    with pytest.raises(DatabaseConnectionError, match="certificate verify failed"):
        world.do("setSecret", token)
    assert server.verifier_of(world.pair.second) is None


def test_a_certificate_for_another_name_gets_no_password(server, authority):
    place = Place("127.2", server.port, "postgres", str(authority.root))
    with pytest.raises(DatabaseConnectionError, match="certificate"):
        PsycopgSessions().open(Login("app", HiddenText(WRONG)), place)


def test_a_server_without_tls_gets_no_password(started, authority):
    place = Place(ELSEWHERE, started(18).port, "postgres", str(authority.root))
    with pytest.raises(DatabaseConnectionError, match="SSL"):
        PsycopgSessions().open(Login("app", HiddenText(WRONG)), place)


def test_the_certificates_of_the_function_go_before_those_of_the_secret(server, authority, tmp_path):
    stranger = Authority(tmp_path)
    place = Place(ELSEWHERE, server.port, "postgres", str(stranger.root))
    with pytest.raises(LoginRefused):
        PsycopgSessions(sslrootcert=str(authority.root)).open(Login("app", HiddenText(WRONG)), place)


@pytest.mark.parametrize("name", ["PGSSLMODE", "PGHOSTADDR", "PGSERVICE"])
def test_no_variable_of_the_environment_weakens_it(server, authority, tmp_path, name, monkeypatch):
    stranger = Authority(tmp_path)
    value = {"PGSSLMODE": "disable", "PGHOSTADDR": HOST, "PGSERVICE": "nothing"}[name]
    monkeypatch.setenv(name, value)
    with pytest.raises((DatabaseConnectionError, CredentialError)) as failed:
        PsycopgSessions().open(
            Login("app", HiddenText(WRONG)), Place(ELSEWHERE, server.port, "postgres", str(stranger.root))
        )
    assert not isinstance(failed.value, LoginRefused)


def test_a_user_whom_the_server_rejects_without_asking_is_no_refused_password(server):
    with pytest.raises(DatabaseConnectionError, match=r"pg_hba\.conf") as failed:
        PsycopgSessions().open(Login("rejected_user", HiddenText(WRONG)), Place(HOST, server.port))
    assert not isinstance(failed.value, LoginRefused)


# Logs and views of the server.


@pytest.mark.parametrize("setting", ["ddl", "mod", "all"])
@pytest.mark.parametrize("way", ["by the function", "by alter role"])
def test_the_servers_log_shows_no_password(each_server, new_world, setting, way):
    world = new_world(each_server)
    rotator = f"{world.pair.group}_rotator"
    if way == "by alter role":
        each_server.execute(f'drop schema "{world.pair.setter_schema}" cascade')
        each_server.execute(f'alter role "{rotator}" superuser')
    each_server.execute(f"alter role \"{rotator}\" set log_statement = '{setting}'")
    each_server.execute(f'alter role "{rotator}" set log_min_duration_statement = 0')
    before = len(each_server.log())
    world.rotate()
    log = each_server.log()[before:]
    assert ("set_verifier" if way == "by the function" else "alter role") in log
    for stage in (CURRENT, "AWSPREVIOUS"):
        assert world.document(stage)["password"] not in log


def test_a_change_that_fails_leaves_no_password_in_the_log(each_server, new_world):
    world = new_world(each_server)
    token = world.announce()
    world.do("createSecret", token)
    before = len(each_server.log())
    each_server.execute(f'alter role "{world.pair.group}_rotator" set default_transaction_read_only = on')
    with pytest.raises(RotationError):
        world.do("setSecret", token)
    log = each_server.log()[before:]
    assert "read-only" in log, log
    assert world.document(PENDING)["password"] not in log


def test_whoever_looks_at_the_activity_of_the_server_sees_no_password(server, new_world):
    """The transaction is held open by a lock, so that its last statement can be read like any other's."""
    world = new_world(server)
    token = world.announce()
    world.do("createSecret", token)
    seen = []
    with psycopg.connect(server.admin.psycopg_conninfo()) as other:
        other.execute(f"alter role \"{world.pair.second}\" valid until 'infinity'")
        thread = threading.Thread(target=lambda: _swallow(lambda: world.do("setSecret", token)))
        thread.start()
        while not any("set_verifier" in query for query in seen):
            asked = "select query from pg_stat_activity where application_name = 'tegata-rotation'"
            seen += [query for (query,) in server.execute(asked)]
        other.rollback()
        thread.join(60)
    assert world.document(PENDING)["password"] not in " ".join(seen)
    assert server.lets_in(world.document(PENDING))


def _swallow(act):
    with suppress(RotationError):
        act()


def test_the_session_says_who_it_is_and_has_limits(server, new_world):
    world = new_world(server)
    document = world.document()
    login = Login(document["username"], HiddenText(document["password"]))
    session = PsycopgSessions(statement_timeout=2, lock_timeout=1).open(login, Place(HOST, server.port))
    shown = [
        session.execute(f"show {name}")[0][0]
        for name in ("application_name", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    ]
    session.close()
    assert shown == ["tegata-rotation", "2s", "1s", "4s"]


# Errors.


@pytest.mark.parametrize(
    "fault",
    ["refused", "no host", "no database", "malformed", "by hand"],
)
def test_no_error_shows_a_password(server, new_world, fault):
    changes = {
        "refused": {},
        "no host": {"host": "nowhere.invalid"},
        "no database": {"dbname": "nothing"},
        "malformed": {"port": "none"},
        "by hand": {"username": "postgres"},
    }[fault]
    world = new_world(server, place=changes if fault in ("no host", "no database") else None)
    token = world.announce()
    world.do("createSecret", token)
    if fault == "refused":
        server.set_password(f"{world.pair.group}_rotator", "another-password-0123456789")
    if fault in ("malformed", "by hand"):
        document = world.document(PENDING) | changes
        world.store._kept(world.secret).values[token] = HiddenText(json.dumps(document))
    with pytest.raises(CredentialError) as failed:
        world.do("setSecret", token)
    shown = text_of(failed.value)
    for stage in (CURRENT, PENDING):
        assert world.document(stage)["password"] not in shown
    assert "psycopg" not in shown


def test_what_is_made_of_a_secret_shows_no_password(world):
    password = world.document()["password"]
    assert password not in repr(world.strategy)
    assert password not in repr(world.rotation)
    assert password not in repr(Login("app", HiddenText(password)))
    with pytest.raises(TypeError):
        Login("app", HiddenText(password)).__reduce__()


def test_a_password_has_256_random_bits_and_needs_no_quoting(world):
    found = {world.strategy.new_password() for _ in range(50)}
    assert len(found) == 50
    assert all(len(each) == 43 and re.fullmatch(r"[\w-]+", each, re.ASCII) for each in found)
