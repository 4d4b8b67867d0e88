"""One user that changes its own password: the gap that is documented, and who helps when everything is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tegata_credentials.rotation.errors import (
    DatabaseConnectionError,
    PasswordUpdateError,
    RotationRefused,
    TestFailed,
)
from tegata_credentials.rotation.postgres import Proof, SingleUser
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, PENDING, PREVIOUS

from .breaking import BreakingSessions, BreakingStore, Crash, Points
from .worlds import STEPS, make_world


def without_administrator(world):
    world.strategy = replace(world.strategy, administrator=None)
    world.rotation._strategies[world.secret] = world.strategy
    return world


def lose(world):
    """Let the database have a password that nobody knows."""
    token = world.announce()
    world.do("createSecret", token)
    world.do("setSecret", token)
    world.store.move(world.secret, PENDING, None)
    return token


def test_a_rotation_changes_the_users_own_password(each_server, new_world):
    world = without_administrator(new_world(each_server, single=True))
    before = world.document()
    world.rotate()
    after = world.document()
    assert after == before | {"password": after["password"]}
    assert after["password"] != before["password"]
    assert each_server.lets_in(after)
    assert not each_server.lets_in(before)
    assert world.document(PREVIOUS) == before
    world.rotate()
    assert each_server.lets_in(world.document())


def test_the_gap_between_the_databases_commit_and_the_end_is_closed_by_a_retry(server, new_world):
    world = without_administrator(new_world(server, single=True))
    token = world.announce()
    world.do("createSecret", token)
    world.do("setSecret", token)
    assert not server.lets_in(world.document(CURRENT))
    assert server.lets_in(world.document(PENDING))
    whole, broken = world.strategy, replace(world.strategy, proof=Proof("select * from a_table_that_is_not_there"))
    world.rotation._strategies[world.secret] = broken
    with pytest.raises(TestFailed) as failed:
        world.do("testSecret", token)
    assert "pending credential" in failed.value.still_valid
    world.rotation._strategies[world.secret] = whole
    world.rotate(token)
    assert server.lets_in(world.document(CURRENT))


def test_after_a_crash_anywhere_a_retry_with_the_same_token_completes(started):
    server, points = started(18), Points()
    world = make_world(
        server,
        single=True,
        wrap_sessions=lambda sessions: BreakingSessions(sessions, points),
        wrap_store=lambda store: BreakingStore(store, points),
    )
    without_administrator(world)
    points.begin(None)
    world.rotate()
    names = list(points.names)
    for crash_at in range(1, len(names), 2):  # after each act: before the next one is the same moment
        token = world.announce()
        points.begin(crash_at)
        with pytest.raises(Crash):
            world.rotate(token)
        points.begin(None)
        server.until_unlocked()
        world.rotate(token)
        assert (world.version(), server.lets_in(world.document())) == (token, True), names[crash_at]


def test_a_pending_value_that_was_taken_away_after_the_change_is_mended_by_the_administrator(server, new_world):
    world = new_world(server, single=True)
    server.execute(f'alter role "{world.pair.group}_rotator" superuser')
    lose(world)
    assert not server.lets_in(world.document())
    token = world.rotate()
    assert (world.version(), server.lets_in(world.document())) == (token, True)


def test_without_an_administrator_a_lost_password_is_told_to_a_person(server, new_world):
    world = without_administrator(new_world(server, single=True))
    lose(world)
    token = world.announce()
    world.do("createSecret", token)
    with pytest.raises(PasswordUpdateError, match="by hand") as failed:
        world.do("setSecret", token)
    assert failed.value.still_valid == "no known credential of this role is valid"
    server.set_password(world.document()["username"], world.document()["password"])
    world.rotate(token)


def test_the_rotator_of_a_pair_sets_the_password_of_its_users_only(server, new_world):
    """The rescue needs somebody who may: a rotator's function is for the pair, and is not asked for a single user."""
    world = new_world(server, single=True)
    lose(world)
    token = world.announce()
    world.do("createSecret", token)
    with pytest.raises(PasswordUpdateError, match="may not set the password"):
        world.do("setSecret", token)


def test_the_previous_value_helps_when_it_is_the_one_that_works(server, new_world):
    world = without_administrator(new_world(server, single=True))
    world.rotate()
    previous = world.document(PREVIOUS)
    server.set_password(previous["username"], previous["password"])  # a database that was restored from a backup
    assert not server.lets_in(world.document())
    token = world.rotate()
    assert (world.version(), server.lets_in(world.document())) == (token, True)


def test_a_server_that_cannot_be_reached_is_not_taken_for_a_lost_password(server, new_world):
    world = new_world(server, single=True)
    token = world.announce()
    world.do("createSecret", token)
    user = world.document()["username"]
    server.execute(f'alter role "{user}" connection limit 0')
    with pytest.raises(DatabaseConnectionError, match="too many connections"):
        world.do("setSecret", token)
    server.execute(f'alter role "{user}" connection limit -1')
    assert server.lets_in(world.document())
    world.rotate(token)


def test_after_a_rotation_there_is_no_way_back(server, new_world):
    world = new_world(server, single=True)
    world.rotate()
    versions = world.versions_of_a_test()
    with pytest.raises(TestFailed, match="refuses"):
        world.strategy.may_return_to(versions)
    with pytest.raises(TestFailed, match="no previous"):
        world.strategy.may_return_to(replace(versions, previous=None))


def test_the_password_of_another_user_is_never_set(server, new_world):
    world = new_world(server, single=True)
    token = world.announce()
    document = world.document() | {"username": world.pair.second, "password": "by-hand-0123456789ab"}
    world.store.put_pending(world.secret, token, HiddenText(json.dumps(document)))
    with pytest.raises(RotationRefused, match="another user"):
        world.do("setSecret", token)
    assert server.verifier_of(world.pair.second) is None


def test_a_pending_value_that_leads_elsewhere_is_refused(server, new_world):
    world = new_world(server, single=True)
    token = world.announce()
    document = world.document() | {"host": "evil.example", "password": "by-hand-0123456789ab"}
    world.store.put_pending(world.secret, token, HiddenText(json.dumps(document)))
    with pytest.raises(RotationRefused, match="another database"):
        world.do("setSecret", token)


def test_a_user_who_becomes_nobody_else_is_tested_as_itself(server, new_world):
    world = without_administrator(new_world(server, single=True))
    assert isinstance(world.strategy, SingleUser)
    server.execute(f'alter role "{world.pair.first}" reset role')
    token = world.announce()
    for step in STEPS[:2]:
        world.do(step, token)
    with pytest.raises(TestFailed, match="and not as"):
        world.do("testSecret", token)
    world.strategy = replace(world.strategy, becomes=None)
    world.rotation._strategies[world.secret] = world.strategy
    world.rotate(token)
    assert world.version() == token


def test_the_change_sends_a_verifier_here_too(server, new_world):
    world = without_administrator(new_world(server, single=True))
    before = len(server.log())
    world.rotate()
    log = server.log()[before:]
    assert "alter role" in log
    assert world.document()["password"] not in log


def test_a_database_that_is_read_only_changes_nothing_and_is_completed_later(server, new_world):
    world = without_administrator(new_world(server, single=True))
    user = world.document()["username"]
    token = world.announce()
    world.do("createSecret", token)
    server.execute(f'alter role "{user}" set default_transaction_read_only = on')
    with pytest.raises(PasswordUpdateError, match="read-only"):
        world.do("setSecret", token)
    server.execute(f'alter role "{user}" reset default_transaction_read_only')
    assert server.lets_in(world.document())
    world.rotate(token)
