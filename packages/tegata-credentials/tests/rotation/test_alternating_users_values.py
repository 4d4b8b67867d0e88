"""What stands in the secret: which values are refused before anything is connected, and what is kept."""

from __future__ import annotations

import json

import pytest

from tegata_credentials.errors import SecretMalformed, SecretNotFound
from tegata_credentials.rotation.errors import RotationRefused
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, PENDING

from .worlds import HOST


def test_a_current_user_who_is_not_of_the_pair_is_refused(world):
    document = world.document() | {"username": "postgres"}
    world.store.put_pending(world.secret, "other", HiddenText(json.dumps(document)))
    world.store.move(world.secret, PENDING, None)
    world.store.move(world.secret, CURRENT, "other")
    with pytest.raises(RotationRefused, match="nobody's turn"):
        world.do("createSecret", world.announce())


def put(world, **changes):
    """A pending value that somebody has written by hand."""
    document = world.document() | {"username": world.pair.second, "password": "by-hand-0123456789ab"} | changes
    token = world.announce()
    world.store.put_pending(world.secret, token, HiddenText(json.dumps(document)))
    return token


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "evil.example"},
        {"port": 1},
        {"dbname": "other"},
        {"masterarn": "other"},
        {"readerHost": "evil.example"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_pending_value_that_leads_elsewhere_is_refused(world, changes):
    with pytest.raises(RotationRefused, match="another database"):
        world.do("setSecret", put(world, **changes))


@pytest.mark.parametrize("which", ["first", "postgres"])
def test_the_password_of_the_current_user_or_a_stranger_is_never_set(world, which):
    user = world.pair.first if which == "first" else which
    before = world.server.verifier_of(user)
    with pytest.raises(RotationRefused):
        world.do("setSecret", put(world, username=user))
    assert world.server.verifier_of(user) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"engine": "mysql"},
        {"host": None},
        {"host": "a,b"},
        {"port": "none"},
        {"port": True},
        {"port": 70000},
        {"password": ""},
        {"username": 5},
        {"username": "u" * 64},
        {"dbname": 5},
    ],
    ids=str,
)
def test_a_value_that_is_no_database_secret_is_told_by_the_name_of_its_field(world, changes):
    with pytest.raises(SecretMalformed) as failed:
        world.do("setSecret", put(world, **changes))
    assert next(iter(changes)) in str(failed.value)
    assert world.server.lets_in(world.document())


def test_other_keys_of_the_secret_are_kept_as_they_are(server, new_world):
    further = {"note": "日本語", "pool": {"size": 5}, "readerPort": None, "ssl": True}
    world = new_world(server, further=further)
    before = world.document()
    world.rotate()
    after = world.document()
    assert after == before | {"username": after["username"], "password": after["password"]}
    assert list(after) == list(before)


def test_a_password_that_is_repeated_in_another_field_is_refused(server, new_world):
    world = new_world(server)
    before = world.document()
    url = f"postgresql://{before['username']}:{before['password']}@{HOST}/postgres"
    document = before | {"url": url}
    world.store.put_pending(world.secret, "other", HiddenText(json.dumps(document)))
    world.store.move(world.secret, PENDING, None)
    world.store.move(world.secret, CURRENT, "other")
    with pytest.raises(RotationRefused, match="repeated in url") as failed:
        world.do("createSecret", world.announce())
    assert before["password"] not in str(failed.value)


def test_without_an_administrator_nothing_is_tried(server, new_world):
    world = new_world(server, further={"masterarn": None})
    token = world.announce()
    world.do("createSecret", token)
    with pytest.raises(RotationRefused, match="administrator"):
        world.do("setSecret", token)
    lost = new_world(server, further={"masterarn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:no-AbCdEf"})
    token = lost.announce()
    lost.do("createSecret", token)
    with pytest.raises(SecretNotFound):
        lost.do("setSecret", token)
