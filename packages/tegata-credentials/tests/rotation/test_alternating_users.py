"""Two users that take turns, against real servers: whoever logs in with AWSCURRENT or AWSPREVIOUS is let in."""

from __future__ import annotations

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
