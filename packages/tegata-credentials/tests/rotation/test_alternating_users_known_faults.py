"""The known faults of the widespread template for rotating PostgreSQL passwords on AWS, one test for each.

The numbers are issues of aws-samples/aws-secrets-manager-rotation-lambdas.
"""

from __future__ import annotations

import re
import uuid

import psycopg
import pytest

from tegata_credentials.rotation.errors import (
    DatabaseConnectionError,
    NotYet,
    RotationBusy,
    RotationRefused,
    TestFailed,
)
from tegata_credentials.rotation.postgres import LoginPair
from tegata_credentials.rotation.postgres.change import lock_key
from tegata_credentials.versions import PENDING

from .worlds import ELSEWHERE, HOST


def begun(world):
    token = world.announce()
    world.do("createSecret", token)
    return token


def test_the_password_in_clear_in_the_servers_log(server, new_world):
    world = new_world(server)
    before = len(server.log())
    world.rotate()
    assert world.document()["password"] not in server.log()[before:]


def test_no_tls_where_the_secret_does_not_ask_for_it(started, new_world):
    without_tls = started(18)
    world = new_world(without_tls, place={"host": ELSEWHERE})
    assert not any("ssl" in name for name in world.document())
    with pytest.raises(DatabaseConnectionError, match="SSL"):
        world.do("setSecret", begun(world))
    assert without_tls.verifier_of(world.pair.second) is None


def test_13_and_77_any_failure_to_connect_is_taken_for_a_wrong_password(server, new_world):
    world = new_world(server)
    token = begun(world)
    world.do("setSecret", token)
    verifier = server.verifier_of(world.pair.second)
    limit = f'alter role "{world.pair.second}" connection limit'
    server.execute(f"{limit} 0")
    try:
        for step in ("setSecret", "testSecret", "finishSecret"):
            with pytest.raises(DatabaseConnectionError, match="too many connections for role"):
                world.do(step, token)
    finally:
        server.execute(f"{limit} -1")
    assert server.verifier_of(world.pair.second) == verifier


def test_a_port_and_a_database_that_are_taken_for_granted(server, new_world):
    name = f"shop_{uuid.uuid4().hex[:8]}"
    server.execute(f'create database "{name}"')
    assert server.port != 5432
    world = new_world(server, place={"dbname": name})
    # The function of the set-up is in the other database: who may, sets the password without it.
    server.execute(f'alter role "{world.pair.group}_rotator" superuser')
    world.rotate()
    assert server.lets_in(world.document())


def test_names_of_63_bytes(each_server, new_world):
    group = uuid.uuid4().hex[:8] + "x" * 53
    rotators_own = LoginPair(group, group + "_a", group + "_b")
    assert len(rotators_own.first) == 63
    world = new_world(each_server, pair=rotators_own, rotator=f"rotator_{group[:8]}")
    before = world.document()
    world.rotate()
    world.rotate()
    assert world.document()["username"] == before["username"]
    assert each_server.lets_in(world.document())


def test_50_punctuation_in_passwords(world):
    world.rotate()
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", world.document()["password"])


def test_the_test_is_a_login_and_nothing_more(server, new_world):
    world = new_world(server, canary="select 1 from pg_authid")
    token = begun(world)
    world.do("setSecret", token)
    with pytest.raises(TestFailed, match="42501"):
        world.do("testSecret", token)


def test_142_the_replica_has_not_heard_of_the_password(server, started, new_world):
    reader, naps = started(16), []
    further = {"readerHost": HOST, "readerPort": reader.port}
    world = new_world(server, further=further, patience=1.0, sleep=naps.append, ticks=lambda: float(len(naps)))
    token = begun(world)
    world.do("setSecret", token)
    with pytest.raises(NotYet):
        world.do("finishSecret", token)
    assert world.document()["username"] == world.pair.first


def test_the_secret_is_not_checked(world):
    other = world.store.add("acme-prod-secret-payments", world.document())
    world.store.announce(other, "0b51")
    with pytest.raises(RotationRefused, match="not one of those"):
        world.rotation.handle({"SecretId": other, "ClientRequestToken": "0b51", "Step": "createSecret"})


def test_two_invocations_at_the_same_time(server, new_world):
    world = new_world(server)
    token = begun(world)
    with psycopg.connect(server.admin.psycopg_conninfo()) as other:
        other.execute("select pg_advisory_xact_lock(%s)", [lock_key(world.secret)])
        with pytest.raises(RotationBusy):
            world.do("setSecret", token)
    world.rotate(token)


def test_38_44_56_and_175_a_clone_owns_nothing_and_lacks_rights(server, new_world):
    world = new_world(server)
    group, table = world.pair.group, f"orders_{uuid.uuid4().hex[:8]}"
    server.execute(f'create schema "{group}" authorization "{group}"')
    with psycopg.connect(**world.login()) as connection:
        connection.execute(f'create table "{group}".{table} (i int)')
    world.rotate()
    with psycopg.connect(**world.login()) as connection:
        connection.execute(f'insert into "{group}".{table} values (1)')
        connection.execute(f'alter table "{group}".{table} add j int')
        connection.execute(f'create index on "{group}".{table} (i)')
        owner = connection.execute("select tableowner from pg_tables where tablename = %s", [table]).fetchone()
    assert owner == (group,)


def test_the_current_password_is_kept_by_whoever_has_cached_it(world):
    cached = world.document()
    token = begun(world)
    for step in ("setSecret", "testSecret", "finishSecret"):
        world.do(step, token)
        assert world.server.lets_in(cached)
    assert world.server.lets_in(world.document())
    assert world.document() != cached


def test_a_rotation_that_was_given_up_after_the_change_locks_nobody_out(world):
    token = begun(world)
    world.do("setSecret", token)
    world.store.move(world.secret, PENDING, None)
    assert world.server.lets_in(world.document())
    world.rotate()
    assert world.server.lets_in(world.document())
