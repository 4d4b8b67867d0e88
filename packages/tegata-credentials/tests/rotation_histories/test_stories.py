"""Histories that once failed, told by hand, each with what was wrong; and some too rare to be left to chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tegata_credentials.rotation.errors import DatabaseConnectionError, NotYet, RotationBusy, RotationRefused
from tegata_credentials.rotation.ports import Strategy, Versions

from .databases import AlternatingWorld, SingleWorld
from .external import OVERLAP, ExternalWorld
from .interruptions import Crash, Points
from .kits import FileKit, MemoryKit, SecretsManagerKit
from .ledger import Broken
from .servers import Servers
from .signing import SigningWorld
from .story import Incident, Story
from .tally import Tally
from .world import World

NEW_WORLDS = {
    "alternating users": lambda servers: AlternatingWorld(MemoryKit(), servers),
    "single user": lambda servers: SingleWorld(MemoryKit(), servers),
    "signing keys": lambda servers: SigningWorld(MemoryKit()),
    "generic token": lambda servers: ExternalWorld(MemoryKit()),
}


def story_in(world: World) -> Story:
    return Story(world, Tally())


@pytest.fixture(params=NEW_WORLDS)
def story(request: pytest.FixtureRequest, pair_18: Servers) -> Story:
    """A story of each strategy, over memory."""
    return story_in(NEW_WORLDS[request.param](pair_18))


def seen(story: Story) -> None:
    """Look at everything, as after each act of a history."""
    story.world.observe()
    story.world.client_connects(0)


def test_each_point_of_a_rotation_can_be_the_last(story: Story, count: Callable[..., None]):
    """Crash at every point of every step once, each in a rotation of its own, and go on with the same token."""
    for _ in range(2):
        story.complete(anew=False)
    crashes = 0
    for step, points in story.world.points.items():
        for at in range(points):
            story.begin()
            while isinstance(failure := story.rotate([Incident(step, at, "crash")]), NotYet):
                story.world.clock.advance(failure.retry_after)
            assert isinstance(failure, Crash)
            crashes += 1
            seen(story)
            if story.world.current() != story.tokens[-1]:
                story.complete(anew=False)
            seen(story)
    story.end()
    count(f"crash at each point, {type(story.world).__name__}", crashes=crashes, rotations_lost=0)


@pytest.mark.parametrize("what", ["pending removed", "another token", "current moved"])
def test_a_rotation_can_be_given_up_at_each_point_of_its_change(story: Story, what: str):
    """Also between the last look at the labels and the commit: that counts as given up just after it."""
    for _ in range(2):
        story.complete(anew=False)
    for at in range(story.world.points["setSecret"]):
        story.world.clock.advance(4000)
        story.begin()
        story.rotate([Incident("setSecret", at, what)])
        seen(story)
        story.complete(anew=False)
        seen(story)
    story.end()


def test_after_a_rollback_another_rotation_can_begin(story: Story):
    """AWSPENDING was left on the version that a rollback had replaced: RotateSecret was refused for ever."""
    story.complete(anew=False)
    story.world.clock.advance(4000)
    story.complete(anew=False)
    story.rollback()
    seen(story)
    assert story.world.unfinished() is None
    story.complete(anew=True)
    story.end()


@pytest.mark.parametrize("at", range(4))
def test_a_rollback_while_a_value_is_made_spoils_no_rotation(story: Story, at: int):
    """The value was made from the version that was left: the wrong user's turn, or a key that nobody could know."""
    for _ in range(3):
        story.complete(anew=False)
        story.world.clock.advance(4000)
    story.rotate([Incident("createSecret", 3 + at, "rollback")])
    seen(story)
    story.world.interfered.clear()  # the same token has to do
    story.complete(anew=False)
    story.end()


def test_a_rotation_that_was_given_up_does_not_take_its_label_back(story: Story):
    """PutSecretValue gave AWSPENDING back to a token that somebody had given up while its value was made."""
    story.rotate([Incident("createSecret", 2, "another token")])
    first, second = story.tokens[0], story.tokens[-1]
    assert first != second
    assert story.world.unfinished() != first
    seen(story)
    story.end()


def test_a_late_step_of_an_earlier_rotation_changes_nothing(story: Story):
    for _ in range(3):
        story.rotate(at_most=3)
        story.world.somebody("pending removed")
    for which in range(3):
        for step in ("createSecret", "setSecret", "testSecret", "finishSecret"):
            story.late(which, step)
            seen(story)
    story.end()


class _LooksBeforeTheLockOnly:
    """The rule that is broken here: under the lock the labels are asked for again, before anything is changed."""

    def __init__(self, strategy: Any) -> None:
        self._strategy = strategy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._strategy, name)

    def apply(self, versions: Versions) -> None:
        self._strategy.apply(replace(versions, recheck=lambda: None))


@pytest.mark.parametrize("looks_again", [True, False])
def test_a_rotation_that_was_overtaken_changes_no_password(pair_18: Servers, looks_again: bool):
    """Given up just before it takes the lock, while another token has the same user's turn and finishes."""

    class Changed(AlternatingWorld):
        def strategy(self, points: Points) -> Strategy:
            return super().strategy(points) if looks_again else _LooksBeforeTheLockOnly(super().strategy(points))

    story = story_in(Changed(MemoryKit(), pair_18))
    story.rotate(at_most=1)
    story.rotate([Incident("setSecret", 6, "another token")])
    if looks_again:
        seen(story)
        story.end()
        return
    with pytest.raises(Broken, match="I1"):
        seen(story)
    story.world.close()


def test_versions_that_are_swept_away_are_still_tried(pair_18: Servers, private_directory: Path):
    """More rotations than a directory keeps versions of: what the last users had is in the books."""
    story = story_in(AlternatingWorld(FileKit(private_directory), pair_18))
    for number in range(12):
        story.complete(anew=bool(number % 2))
        seen(story)
    story.end()


def test_a_store_whose_clock_is_ahead_does_not_hold_up_what_needs_no_rest(pair_18: Servers, private_directory: Path):
    """Without any rest to wait for, every rotation was put off until the two clocks agreed."""

    class Restless(AlternatingWorld):
        rests = False

        def strategy(self, points: Points) -> Strategy:
            return replace(super().strategy(points), rest=0.0, now=lambda: self.clock() - 3600)

    story = story_in(Restless(FileKit(private_directory), pair_18))
    story.complete(anew=False)
    story.end()


def test_a_login_that_somebody_may_have_in_a_cache_is_left_alone(pair_18: Servers, private_directory: Path):
    story = story_in(AlternatingWorld(FileKit(private_directory), pair_18))
    story.complete(anew=False)
    assert isinstance(story.rotate(), NotYet)
    seen(story)
    story.end()


def test_a_person_who_throws_the_only_password_away_is_helped_by_the_administrator(pair_18: Servers):
    story = story_in(SingleWorld(MemoryKit(), pair_18))
    story.rotate(at_most=2)
    story.world.somebody("pending removed")
    assert story.world.opened.refusal(story.world._read(story.world.current()).text) is not None
    story.complete(anew=True)
    seen(story)
    story.end()


def test_a_lost_answer_to_each_call_of_secrets_manager_loses_nothing(
    pair_18: Servers, secrets_manager_kit: Callable[[], SecretsManagerKit], count: Callable[..., None]
):
    story = story_in(AlternatingWorld(secrets_manager_kit(), pair_18))
    points = (("createSecret", 7), ("createSecret", 9), ("setSecret", 0), ("finishSecret", 20), ("finishSecret", 22))
    for step, at in points:
        story.rotate([Incident(step, at, "answer lost")])
        seen(story)
        story.complete(anew=False)
    story.end()
    count("answers of Secrets Manager lost", answers=len(points), rotations_lost=0)


def test_after_a_label_was_moved_by_hand_another_rotation_can_begin(
    pair_18: Servers, secrets_manager_kit: Callable[[], SecretsManagerKit]
):
    """AWSPENDING stays on the version that was replaced, and RotateSecret is refused until somebody takes it off."""
    story = story_in(AlternatingWorld(secrets_manager_kit(), pair_18))
    story.complete(anew=False)
    story.world.somebody("current moved")
    seen(story)
    assert story.world.unfinished() is None
    story.twice_at_once()
    seen(story)
    story.end()


def test_a_ring_that_waits_is_given_up_by_whoever_goes_back_and_forth_by_hand():
    """It was promoted although verifiers had meanwhile read a JWKS without the key that it signs with."""
    story = story_in(SigningWorld(MemoryKit()))
    for _ in range(2):
        story.complete(anew=False)
    story.rotate(at_most=1)
    story.world.clock.advance(3600)
    for _ in range(2):
        story.happen("current moved")
        seen(story)
    story.rotate()
    seen(story)
    story.end()


def test_a_service_that_knows_only_the_value_from_before_the_first_rotation_is_not_set_up():
    """It has no keys, signs nothing and publishes nothing, until its cache is that of the ring."""
    story = story_in(SigningWorld(MemoryKit()))
    for seconds in (241, 30, 30):
        seen(story)
        story.world.client_connects(1)
        story.complete(anew=False)
        story.world.clock.advance(seconds)
    seen(story)
    story.end()


def test_a_rollback_waits_for_a_rotation_that_has_a_value(story: Story):
    story.complete(anew=False)
    story.rotate(at_most=2)
    current = story.world.current()
    with pytest.raises(RotationBusy):
        story.world.rollback(Points())
    assert story.world.current() == current
    story.end()


def test_a_standby_that_still_knows_the_old_password_is_no_reason_to_go_back(pair_18: Servers):
    """After a switch-over the writer's address led to a standby: a rollback tried a password there that was spent."""
    story = story_in(AlternatingWorld(MemoryKit(), pair_18))
    story.complete(anew=False)
    current = story.world.current()
    story.happen("replica lags")
    story.rotate(at_most=2)
    story.world.somebody("pending removed")
    story.happen("wrong host")
    with pytest.raises(DatabaseConnectionError, match="standby"):
        story.world.rollback(Points())
    assert story.world.current() == current
    seen(story)
    story.end()


def test_a_key_is_not_withdrawn_early_when_somebody_has_moved_the_label_since_its_successor_was_made():
    """The overlap was counted from the making of the new key, though another key had been current until just now."""
    story = story_in(ExternalWorld(MemoryKit()))
    story.complete(anew=False)
    story.rotate(at_most=1)
    story.world.clock.advance(OVERLAP - 10)
    story.world.somebody("current moved")
    story.world.clock.advance(20)
    assert isinstance(story.rotate(), RotationRefused)
    seen(story)
    story.end()


def test_a_rotation_that_comes_through_after_it_was_given_up_costs_the_next_one_a_new_beginning():
    """The key of the next one was made while another was current, and it was asked to go on with the same token."""
    story = story_in(ExternalWorld(MemoryKit()))
    story.complete(anew=False)
    story.rotate(at_most=1)
    story.late(0, "finishSecret", [Incident("finishSecret", 11, "another token")])
    seen(story)
    given_up, begun = story.tokens[-2:]
    assert (story.world.current(), story.world.unfinished()) == (given_up, begun)
    assert isinstance(story.rotate(), RotationRefused)
    story.end()
