"""A rotation without Lambda is begun once, resumed until it is finished, and taken back only when that is safe."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest

from tegata_credentials.errors import SecretAccessDenied, SecretThrottled, SecretUnavailable
from tegata_credentials.rotation.driver import Patience, RotationDriver
from tegata_credentials.rotation.errors import NotYet, PasswordUpdateError, RotationBusy, RotationRefused, TestFailed
from tegata_credentials.rotation.file_store import FileVersions
from tegata_credentials.rotation.steps import Rotation
from tegata_credentials.versions import CURRENT, PENDING, PREVIOUS

from .driving import NAME


def test_a_rotation_makes_the_new_value_current_and_keeps_the_old_one(scene):
    first = scene.version(CURRENT)
    outcome = scene.driver().rotate(NAME)
    assert (outcome.state, outcome.resumed, outcome.is_finished) == ("rotated", False, True)
    assert (scene.version(CURRENT), scene.version(PREVIOUS)) == (outcome.token, first)
    assert scene.current_works()
    assert scene.store.labels(NAME).unfinished is None
    assert scene.pauses == []


def test_a_token_that_is_current_is_not_rotated_again(scene):
    driver, token = scene.driver(), str(uuid.uuid4())
    driver.rotate(NAME, token)
    calls = list(scene.lock.calls)
    again = driver.rotate(NAME, token)
    assert (again.state, again.resumed, again.token) == ("rotated", True, token)
    driver.rotate(NAME)
    # The job comes once more, late: its value has been current, and is no more.
    assert driver.rotate(NAME, token).state == "rotated"
    assert scene.version(PREVIOUS) == token
    assert scene.lock.calls[: len(calls)] == calls
    assert scene.lock.made == 2


@pytest.mark.parametrize("call", ["create", "apply", "test"])
def test_what_may_pass_is_tried_again_with_growing_pauses(scene, call):
    scene.lock.troubles[call] = [TestFailed("not now"), SecretThrottled(NAME), SecretUnavailable(NAME)]
    assert scene.driver().rotate(NAME).state == "rotated"
    assert [0.25, 0.5, 1.0] <= scene.pauses <= [0.5, 1.0, 2.0]
    assert len(scene.pauses) == 3


@pytest.mark.parametrize("call", ["create", "apply", "test"])
def test_what_does_not_pass_ends_the_rotation_and_the_next_one_resumes_it(scene, call):
    first = scene.version(CURRENT)
    scene.lock.troubles[call] = [TestFailed("not now")] * 4
    with pytest.raises(TestFailed):
        scene.driver().rotate(NAME)
    assert len(scene.pauses) == 3
    assert scene.version(CURRENT) == first
    assert scene.current_works()
    token = scene.store.labels(NAME).unfinished
    outcome = scene.driver().rotate(NAME)
    assert (outcome.state, outcome.token, outcome.resumed) == ("rotated", token, True)
    assert scene.lock.made == 1


@pytest.mark.parametrize(
    "trouble", [PasswordUpdateError("a person is needed"), SecretAccessDenied(NAME), RotationRefused("not here")]
)
def test_what_needs_a_person_is_not_tried_again(scene, trouble):
    scene.lock.troubles["apply"] = [trouble]
    with pytest.raises(type(trouble)):
        scene.driver().rotate(NAME)
    assert scene.pauses == []
    assert scene.current_works()


def test_what_is_too_early_is_an_outcome_that_says_when(scene):
    first = scene.version(CURRENT)
    scene.lock.troubles["test"] = [NotYet("the replica is behind", 45.0)]
    outcome = scene.driver().rotate(NAME)
    assert (outcome.state, outcome.step, outcome.retry_after) == ("waiting", "testSecret", 45.0)
    assert "the replica is behind" in outcome.reason
    assert not outcome.is_finished
    assert (scene.version(CURRENT), scene.store.labels(NAME).unfinished) == (first, outcome.token)
    assert scene.driver().rotate(NAME).token == outcome.token
    assert scene.version(CURRENT) == outcome.token


def test_a_driver_with_patience_waits_by_itself_but_not_for_ever(scene):
    scene.lock.troubles["test"] = [NotYet("the replica is behind", 20.0)] * 3
    outcome = scene.driver(patience=Patience(longest_wait=50.0)).rotate(NAME)
    assert (outcome.state, outcome.retry_after, scene.pauses) == ("waiting", 20.0, [20.0, 20.0])
    assert scene.driver(patience=Patience(longest_wait=50.0)).rotate(NAME).state == "rotated"


def test_another_token_is_refused_while_a_rotation_is_unfinished(scene):
    scene.lock.troubles["apply"] = [PasswordUpdateError("a person is needed")]
    with pytest.raises(PasswordUpdateError):
        scene.driver().rotate(NAME)
    with pytest.raises(RotationBusy, match="is unfinished"):
        scene.driver().rotate(NAME, str(uuid.uuid4()))


def test_a_rotation_that_can_never_work_is_given_up_for_another(scene):
    scene.lock.troubles["test"] = [TestFailed("withdrawn")] * 4
    with pytest.raises(TestFailed):
        scene.driver().rotate(NAME)
    lost = scene.store.labels(NAME).unfinished
    outcome = scene.driver().rotate(NAME, anew=True)
    assert (outcome.state, outcome.resumed) == ("rotated", False)
    assert scene.version(CURRENT) == outcome.token != lost
    assert scene.current_works()
    # What was given up is not begun once more.
    with pytest.raises(RotationRefused, match="given up"):
        scene.driver().rotate(NAME, lost)


def test_nothing_is_given_up_while_the_current_value_does_not_work(scene):
    scene.lock.troubles["test"] = [TestFailed("withdrawn")] * 4
    with pytest.raises(TestFailed):
        scene.driver().rotate(NAME)
    pending = scene.store.read(NAME, stage=PENDING)
    scene.lock.opens_to = {pending.text}  # as after a crash with a single user: only the new value opens
    with pytest.raises(TestFailed):
        scene.driver().rotate(NAME, anew=True)
    assert scene.store.labels(NAME).unfinished == pending.version
    assert scene.driver().rotate(NAME).token == pending.version
    assert scene.current_works()


def test_a_secret_that_is_not_on_the_list_is_refused(scene):
    driver = scene.driver()
    for act in (driver.rotate, driver.rollback):
        with pytest.raises(RotationRefused):
            act("somebody-elses-secret")


def test_a_rollback_makes_the_previous_value_current_and_is_told(scene):
    first, driver = scene.version(CURRENT), scene.driver()
    token = driver.rotate(NAME).token
    outcome = driver.rollback(NAME)
    assert (outcome.state, outcome.token) == ("returned", first)
    assert (scene.version(CURRENT), scene.version(PREVIOUS)) == (first, token)
    assert scene.current_works()
    assert scene.heard.lines[-1][0] == "rotation.returned"
    assert scene.heard.lines[-1][1]["version"] == first
    # Nothing is left to be resumed: the next rotation begins from the value that is current now.
    again = driver.rotate(NAME)
    assert (again.state, again.resumed) == ("rotated", False)
    assert (scene.version(CURRENT), scene.version(PREVIOUS)) == (again.token, first)
    assert scene.current_works()


def test_nobody_goes_back_to_a_value_that_does_not_work(scene):
    driver = scene.driver()
    token = driver.rotate(NAME).token
    scene.lock.opens_to = {scene.store.read(NAME).text}
    with pytest.raises(TestFailed):
        driver.rollback(NAME)
    assert scene.version(CURRENT) == token


def test_nobody_goes_back_where_there_is_nothing(scene):
    with pytest.raises(RotationRefused, match="nothing to go back to"):
        scene.driver().rollback(NAME)


def test_nobody_goes_back_while_a_rotation_is_unfinished_that_may_have_changed_something(scene):
    driver = scene.driver()
    driver.rotate(NAME)
    scene.lock.troubles["test"] = [NotYet("the replica is behind", 45.0)]
    assert driver.rotate(NAME).state == "waiting"
    with pytest.raises(RotationBusy, match="finish it, then go back"):
        driver.rollback(NAME)


def test_a_rotation_without_a_value_yet_has_changed_nothing_and_is_in_nobodys_way(scene):
    first, driver = scene.version(CURRENT), scene.driver()
    driver.rotate(NAME)
    scene.lock.troubles["create"] = [NotYet("ten keys are published", 45.0)]
    assert driver.rotate(NAME).step == "createSecret"
    assert driver.rollback(NAME).token == first
    assert driver.rotate(NAME).state == "rotated"
    assert scene.current_works()


def test_the_status_says_where_each_label_is_and_whether_the_value_works(files):
    driver = files.driver()
    assert [(found.label, found.works) for found in driver.status(NAME).labels] == [(CURRENT, True)]
    driver.rotate(NAME)
    files.lock.troubles["apply"] = [PasswordUpdateError("a person is needed")]
    with pytest.raises(PasswordUpdateError):
        driver.rotate(NAME)
    status = driver.status(NAME)
    assert status.unfinished == files.version(PENDING)
    assert [(found.label, found.version, found.works) for found in status.labels] == [
        (CURRENT, files.version(CURRENT), True),
        (PENDING, files.version(PENDING), False),
        (PREVIOUS, "first", True),
    ]
    assert status.labels[1].hint == "the key does not turn"
    assert all(found.age_seconds is not None for found in status.labels)
    assert [found.works for found in driver.status(NAME, probe=False).labels] == [None, None, None]


def test_the_status_does_not_call_broken_what_it_cannot_judge(files):
    files.lock.troubles["test"] = [SecretUnavailable(NAME), ValueError("key-0")]
    unavailable, failed = (files.driver().status(NAME).labels[0] for _ in range(2))
    assert (unavailable.works, "unavailable" in unavailable.hint) == (None, True)
    assert (failed.works, failed.hint) == (False, "the strategy could not tell whether the value works: ValueError")
    stranger = RotationDriver(files.store, Rotation(files.store, {}))
    assert stranger.status(NAME).labels[0].works is None


def test_the_status_of_a_rotation_without_a_value_says_so(files):
    files.store.announce(NAME, "second")
    pending = files.driver().status(NAME).labels[1]
    assert (pending.label, pending.works, pending.hint) == (PENDING, None, "it has no value yet")


def test_a_lock_of_ones_own_is_used_besides_the_stores(scene):
    entered: list[str] = []

    @contextmanager
    def exclusive(secret: str) -> Iterator[None]:
        entered.append(secret)
        if len(entered) > 1:
            raise RotationBusy("a job is at it")
        yield

    driver = scene.driver(exclusive=exclusive)
    driver.rotate(NAME)
    with pytest.raises(RotationBusy):
        driver.rollback(NAME)
    assert entered == [NAME, NAME]
    if isinstance(scene.store, FileVersions):
        with scene.store.exclusively(NAME), pytest.raises(RotationBusy):
            scene.driver(exclusive=lambda secret: nullcontext()).rotate(NAME)


def test_a_value_stands_in_no_repr_outcome_or_line(scene):
    driver = scene.driver()
    told = [driver.rotate(NAME), driver.status(NAME), driver.rollback(NAME), driver, scene.heard.lines]
    assert "key-" not in repr(told)
