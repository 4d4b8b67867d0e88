"""A password arrives at the replica later: nothing becomes current before it works there too.

The "reader" here is another server that a test brings up to date by hand; a real replica that lags is in
`rotation_histories`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tegata_credentials.rotation.errors import DatabaseConnectionError, NotYet, TestFailed
from tegata_credentials.rotation.postgres import Place
from tegata_credentials.versions import CURRENT

from .worlds import HOST


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self):
        self.now, self.naps, self.on_nap = 0.0, [], {}

    def sleep(self, seconds):
        self.naps.append(seconds)
        self.now += seconds
        self.on_nap.get(len(self.naps), lambda: None)()


@pytest.fixture
def replicated(server, started, new_world):
    """A world whose secret names a reader that knows the roles and the first user's password."""
    reader, clock = started(16), Clock()
    world = new_world(
        server,
        further={"readerHost": HOST, "readerPort": reader.port},
        patience=3.0,
        pause=1.0,
        retry_after=45.0,
        sleep=clock.sleep,
        ticks=lambda: clock.now,
    )
    pair = world.pair
    reader.execute(f'create role "{pair.group}"')
    for login in pair.logins:
        reader.execute(f'create role "{login}" login in role "{pair.group}"')
        reader.execute(f"alter role \"{login}\" set role = '{pair.group}'")

    def catch_up():
        for login in pair.logins:
            if verifier := server.verifier_of(login):
                reader.execute(f"alter role \"{login}\" password '{verifier}'")

    catch_up()
    return world, reader, clock, catch_up


def at_test(world):
    token = world.announce()
    world.do("createSecret", token)
    world.do("setSecret", token)
    return token


def test_a_reader_that_has_the_password_lets_the_rotation_end(replicated):
    world, _, clock, catch_up = replicated
    token = at_test(world)
    catch_up()
    world.do("testSecret", token)
    world.do("finishSecret", token)
    assert (world.version(), clock.naps) == (token, [])


def test_a_reader_that_catches_up_is_waited_for(replicated):
    world, _, clock, catch_up = replicated
    clock.on_nap[2] = catch_up
    token = at_test(world)
    world.do("testSecret", token)
    assert clock.naps == [1.0, 1.0]


@pytest.mark.parametrize("step", ["testSecret", "finishSecret"])
def test_a_reader_that_stays_behind_is_not_waited_for_without_end(replicated, step):
    world, _, clock, catch_up = replicated
    token, first = at_test(world), world.version()
    with pytest.raises(NotYet) as early:
        world.do(step, token)
    assert early.value.retry_after == 45.0
    assert clock.naps == [1.0, 1.0, 1.0]
    assert world.version() == first
    catch_up()
    world.do("finishSecret", token)
    assert world.version() == token


def test_a_reader_that_cannot_be_reached_is_no_reader_that_is_behind(replicated):
    world, reader, clock, _ = replicated
    token = at_test(world)
    limit = f'alter role "{world.pair.second}" connection limit'
    reader.execute(f"alter role \"{world.pair.second}\" password '{world.server.verifier_of(world.pair.second)}'")
    reader.execute(f"{limit} 0")
    with pytest.raises(DatabaseConnectionError, match="too many connections"):
        world.do("finishSecret", token)
    assert (clock.naps, world.document()["username"]) == ([], world.pair.first)


def test_a_login_that_cannot_work_at_the_reader_does_not_become_current(replicated):
    world, reader, _, catch_up = replicated
    token = at_test(world)
    catch_up()
    reader.execute(f'alter role "{world.pair.second}" reset role')
    with pytest.raises(TestFailed, match="and not as"):
        world.do("finishSecret", token)
    assert world.document()["username"] == world.pair.first


def test_a_reader_can_be_named_apart_from_the_secret(replicated, new_world):
    world, reader, _, catch_up = replicated
    proof = replace(world.strategy.proof, reader=Place(HOST, reader.port))
    strategy = replace(world.strategy, proof=proof)
    world.rotation._strategies[world.secret] = strategy
    token = at_test(world)
    with pytest.raises(NotYet):
        world.do("testSecret", token)
    catch_up()
    world.do("testSecret", token)


def test_the_way_back_is_tried_at_writer_and_reader(replicated):
    world, _, _, catch_up = replicated
    token = at_test(world)
    catch_up()
    world.do("finishSecret", token)
    versions = world.versions_of_a_test()
    world.strategy.may_return_to(versions)
    world.server.set_password(world.pair.first, "something-else-0123456789")
    with pytest.raises(TestFailed):
        world.strategy.may_return_to(versions)
    with pytest.raises(TestFailed, match="no previous"):
        world.strategy.may_return_to(replace(versions, previous=None))
    assert world.document(CURRENT)["username"] == world.pair.second
