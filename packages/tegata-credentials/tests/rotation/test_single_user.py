"""One user that changes its own password, and who helps when everything else is refused."""

from __future__ import annotations

from tegata_credentials.versions import PREVIOUS


def test_a_rotation_changes_the_users_own_password(each_server, new_world):
    world = new_world(each_server, single=True)
    before = world.document()
    world.rotate()
    after = world.document()
    assert after == before | {"password": after["password"]}
    assert after["password"] != before["password"]
    assert each_server.lets_in(after)
    assert not each_server.lets_in(before)
    assert world.document(PREVIOUS) == before
