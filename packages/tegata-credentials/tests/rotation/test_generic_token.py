"""A key of an external API is made once for each rotation, tried before use, and withdrawn when nobody has it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tegata_credentials.errors import SecretMalformed
from tegata_credentials.rotation.driver import RotationDriver
from tegata_credentials.rotation.errors import RotationError, RotationRefused, TestFailed
from tegata_credentials.rotation.file_store import FileVersions
from tegata_credentials.rotation.generic_token import GenericToken
from tegata_credentials.rotation.ports import Labels
from tegata_credentials.rotation.steps import Rotation
from tegata_credentials.testing.version_store import MemoryVersions
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, PENDING, PREVIOUS

NAME = "shop-test-secret-mail"
HOUR = 3600.0


class ReplyLost(Exception):
    """The provider did it; nobody was told. Its text holds a key, as texts of strangers may."""


@dataclass
class Provider:
    """Somebody else's API: makes at most one key for each request, and remembers which."""

    keys: dict[str, str] = field(default_factory=lambda: {"the first": "key-0"})
    withdrawn: list[str] = field(default_factory=list)
    lose: int = 0
    made: int = 0
    asleep: int = 0

    def make(self, request: str) -> str:
        if request not in self.keys:
            self.made += 1
            self.keys[request] = f"key-{self.made}"
        self._reply(self.keys[request])
        return self.keys[request]

    def check(self, key: str) -> bool:
        if self.asleep:
            self.asleep -= 1
            return False
        return key in self.keys.values()

    def revoke(self, key: str) -> None:
        self.keys = {request: kept for request, kept in self.keys.items() if kept != key}
        self.withdrawn.append(key)
        self._reply(key)

    def _reply(self, text: str) -> None:
        if self.lose:
            self.lose -= 1
            raise ReplyLost(text)


@dataclass
class Scene:
    directory: Path
    provider: Provider
    member: str | None = None
    store: Any = None
    time: float = 1_790_000_000.0
    pauses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.store is None:
            self.store = FileVersions(self.directory, now=lambda: self.time)
            first = "key-0" if self.member is None else json.dumps({self.member: "key-0", "region": "eu"})
            self.store.create(NAME, HiddenText(first), "first")
        self.strategy = GenericToken(
            self.provider.make,
            self.provider.check,
            self.provider.revoke,
            member=self.member,
            overlap=timedelta(hours=1),
            now=lambda: self.time,
        )
        rotation = Rotation(self.store, {NAME: self.strategy})
        self.driver = RotationDriver(self.store, rotation, pause=self.pauses.append, now=lambda: self.time)

    def key(self, label: str = CURRENT) -> str:
        version = self.store.read(NAME, stage=label)
        return version.text if self.member is None else version.document()[self.member]

    def rotate_after(self, seconds: float) -> str:
        self.time += seconds
        return self.driver.rotate(NAME).state


@pytest.fixture(params=[None, "apiKey"], ids=["plain text", "member of an object"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    return Scene(tmp_path / "secrets", Provider(), request.param)


def test_the_last_two_keys_are_good_and_the_one_before_is_withdrawn(scene):
    for number in range(1, 5):
        assert scene.rotate_after(2 * HOUR) == "rotated"
        assert (scene.key(), scene.key(PREVIOUS)) == (f"key-{number}", f"key-{number - 1}")
        assert {scene.key(), scene.key(PREVIOUS)} == set(scene.provider.keys.values())
    assert scene.provider.withdrawn == ["key-0", "key-1", "key-2"]


def test_nothing_is_withdrawn_while_readers_may_still_have_it(scene):
    scene.rotate_after(0)
    scene.time += 60
    outcome = scene.driver.rotate(NAME)
    assert (outcome.state, outcome.step, outcome.retry_after) == ("waiting", "setSecret", HOUR - 60)
    assert scene.provider.withdrawn == []
    assert scene.provider.made == 2
    assert scene.rotate_after(HOUR - 60) == "rotated"
    assert scene.provider.withdrawn == ["key-0"]
    assert scene.provider.made == 2


def test_other_members_are_kept(tmp_path):
    scene = Scene(tmp_path / "secrets", Provider(), "apiKey")
    scene.rotate_after(0)
    document = scene.store.read(NAME).document()
    assert (document["apiKey"], document["region"]) == ("key-1", "eu")


def test_a_lost_reply_leaves_no_key_that_nobody_knows(scene):
    scene.provider.lose = 1
    assert scene.rotate_after(0) == "rotated"
    assert scene.provider.made == 1
    assert set(scene.provider.keys.values()) == {"key-0", "key-1"}


def test_a_process_that_never_heard_the_reply_asks_again_under_the_same_token(scene):
    scene.provider.lose = 4
    with pytest.raises(RotationError) as failed:
        scene.driver.rotate(NAME)
    assert "key-" not in str(failed.value)
    assert failed.value.__cause__ is failed.value.__context__ is None
    begun = scene.store.labels(NAME).unfinished
    outcome = scene.driver.rotate(NAME)
    assert (outcome.state, outcome.token) == ("rotated", begun)
    assert scene.provider.made == 1


def test_a_lost_reply_to_a_withdrawal_withdraws_once_more_which_is_no_error(scene):
    scene.rotate_after(0)
    scene.provider.lose, scene.time = 0, scene.time + 2 * HOUR
    scene.driver.rotate(NAME, "begun")
    scene.time += 2 * HOUR
    scene.store.announce(NAME, "third")
    scene.driver.rotation.begin(NAME, "third")  # what follows is past `make`
    scene.provider.lose = 1
    assert scene.driver.rotate(NAME).state == "rotated"
    assert scene.provider.withdrawn == ["key-0", "key-1", "key-1"]


def test_a_key_that_does_not_work_yet_withdraws_nothing_and_is_not_used(scene):
    scene.rotate_after(2 * HOUR)
    scene.time += 2 * HOUR
    scene.provider.asleep = 4
    with pytest.raises(TestFailed):
        scene.driver.rotate(NAME)
    assert scene.provider.withdrawn == []
    assert scene.key() == "key-1"
    scene.provider.asleep = 2
    assert scene.driver.rotate(NAME).state == "rotated"
    assert scene.key() == "key-2"


def test_a_key_that_the_provider_took_back_is_given_up_for_another(scene):
    scene.rotate_after(0)
    scene.time += 60
    scene.driver.rotate(NAME)
    scene.provider.revoke(scene.key(PENDING))
    scene.time += 2 * HOUR
    with pytest.raises(TestFailed):
        scene.driver.rotate(NAME)
    assert scene.driver.rotate(NAME, anew=True).state == "rotated"
    assert (scene.key(), scene.key(PREVIOUS)) == ("key-3", "key-1")


def test_going_back_is_possible_to_a_key_that_works_and_to_no_other(scene):
    scene.rotate_after(0)
    assert scene.driver.rollback(NAME).state == "returned"
    assert scene.key() == "key-0"
    scene.provider.revoke("key-1")
    with pytest.raises(TestFailed):
        scene.driver.rollback(NAME)


def test_without_a_call_to_withdraw_nothing_is_withdrawn(tmp_path):
    class Makes:
        keys = iter(("key-1", "key-2", "key-3"))

        def make(self, request: str) -> str:
            return next(self.keys)

        def check(self, key: str) -> bool:
            return True

    scene = Scene(tmp_path / "secrets", Provider())
    driver = RotationDriver(scene.store, Rotation(scene.store, {NAME: GenericToken.of(Makes())}))
    for number in (1, 2, 3):
        assert driver.rotate(NAME).state == "rotated"
        assert scene.key() == f"key-{number}"


class Forgetful(MemoryVersions):
    """Like Secrets Manager it does not tell since when a version is current."""

    def labels(self, secret: str) -> Labels:
        found = super().labels(secret)
        return Labels(found.secret, found.name, found.versions)


def test_where_the_store_knows_no_times_they_are_noted_in_the_object(tmp_path):
    store = Forgetful()
    store.add(NAME, {"apiKey": "key-0"})
    scene = Scene(tmp_path, Provider(), "apiKey", store)
    scene.rotate_after(0)
    scene.time += 30 * 24 * HOUR
    # Nobody knows since when the current key is so; that it was so when the new one was made is certain.
    assert scene.driver.rotate(NAME).retry_after == HOUR
    assert scene.rotate_after(HOUR) == "rotated"
    assert scene.provider.withdrawn == ["key-0"]


def test_where_there_is_no_place_for_times_the_first_rotation_says_so_and_makes_nothing(tmp_path):
    store = Forgetful()
    store.add(NAME, "key-0")
    scene = Scene(tmp_path, Provider(), None, store)
    with pytest.raises(RotationRefused, match="keep the key in a JSON object"):
        scene.driver.rotate(NAME)
    assert scene.provider.made == 0


def test_an_object_without_the_member_is_told_without_its_values(tmp_path):
    scene = Scene(tmp_path / "secrets", Provider(), "apiKey")
    scene.store.put_pending(NAME, "second", HiddenText('{"token": "key-9"}'))
    with pytest.raises(TestFailed, match="version second has no apiKey") as failed:
        scene.driver.rotate(NAME)
    assert "key-9" not in str(failed.value)
    scene = Scene(tmp_path / "others", Provider(), None)
    scene.strategy = GenericToken(scene.provider.make, scene.provider.check, member="apiKey")
    driver = RotationDriver(scene.store, Rotation(scene.store, {NAME: scene.strategy}))
    with pytest.raises(SecretMalformed):
        driver.rotate(NAME)
    assert scene.provider.made == 0


@pytest.mark.parametrize("made", ["", None, 7])
def test_what_is_no_key_does_not_become_a_version(tmp_path, made):
    scene = Scene(tmp_path / "secrets", Provider())
    strategy = GenericToken(lambda request: made, lambda key: True)
    driver = RotationDriver(scene.store, Rotation(scene.store, {NAME: strategy}), pause=scene.pauses.append)
    with pytest.raises(TestFailed, match="returned no key"):
        driver.rotate(NAME)
    assert scene.key() == "key-0"


def test_no_repr_shows_a_key(scene):
    scene.rotate_after(0)
    assert "key-" not in repr(scene.strategy) + repr(scene.driver.status(NAME)) + repr(scene.driver)
