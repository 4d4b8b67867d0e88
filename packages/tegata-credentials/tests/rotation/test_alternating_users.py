"""Two users that take turns, against real servers: whoever logs in with AWSCURRENT or AWSPREVIOUS is let in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tegata_credentials.rotation.errors import NotYet
from tegata_credentials.versions import CURRENT, PREVIOUS


def test_a_rotation_moves_the_application_to_the_other_user(each_server, new_world):
    world = new_world(each_server)
    before = world.document()
    world.rotate()
    after = world.document()
    assert (before["username"], after["username"]) == world.pair.logins
    assert after["password"] != before["password"]
    assert each_server.lets_in(after)
    assert each_server.lets_in(before)
    assert world.document(PREVIOUS) == before
    world.rotate()
    third = world.document(CURRENT)
    assert third["username"] == before["username"]
    assert each_server.lets_in(third)
    assert each_server.lets_in(after)
    assert not each_server.lets_in(before)


def test_the_previous_login_is_left_alone_until_no_cache_can_hold_it(server, new_world):
    class Dated:
        """A store that knows since when a version is current."""

        def __init__(self, store):
            self.store = store

        def __getattr__(self, name):
            return getattr(self.store, name)

        def labels(self, secret):
            return replace(self.store.labels(secret), moved_at={CURRENT: 1000.0})

    world = new_world(server, wrap_store=Dated)
    first = world.document()
    world.rotate()
    clock = [1100.0]
    world.strategy = replace(world.strategy, rest=330.0, now=lambda: clock[0])
    world.rotation._strategies[world.secret] = world.strategy
    token = world.announce()
    world.do("createSecret", token)
    with pytest.raises(NotYet) as early:
        world.do("setSecret", token)
    assert early.value.retry_after == 230.0
    assert server.lets_in(first)
    clock[0] = 1330.0
    world.rotate(token)
    assert (world.version(), server.lets_in(first)) == (token, False)
