"""Wherever a rotation without Lambda ends, and whoever else is at it, the current value works."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tegata_credentials.rotation.driver import RotationDriver
from tegata_credentials.rotation.errors import RotationBusy
from tegata_credentials.rotation.steps import Rotation
from tegata_credentials.testing.version_store import MemoryVersions
from tegata_credentials.versions import CURRENT, PREVIOUS

from .driving import NAME, Crash, Fragile, Lock, Scene, a_directory, a_memory


@pytest.mark.parametrize("afterwards", [False, True], ids=["before the call", "after the call"])
def test_wherever_the_process_ends_the_current_value_works_and_the_next_run_finishes(tmp_path, afterwards, count):
    point, crashes = 0, 0
    while True:
        point += 1
        scene = Scene(a_directory(tmp_path / f"{point}"), Lock())
        fragile = Fragile(scene.store, point, afterwards=afterwards)
        try:
            scene.driver(fragile).rotate(NAME)
        except Crash:
            crashes += 1
        assert scene.current_works()
        begun = scene.store.labels(NAME).unfinished
        if begun or scene.version(CURRENT) == "first":
            outcome = scene.driver().rotate(NAME)
            assert (outcome.state, begun or outcome.token) == ("rotated", outcome.token)
        assert scene.current_works()
        assert scene.store.read(NAME, stage=PREVIOUS).text in scene.lock.opens_to
        assert scene.store.labels(NAME).unfinished is None
        if not fragile.crashed:
            break
    assert crashes == point - 1 > 10
    count("driver, crash points", **{"after_the_call" if afterwards else "before_the_call": crashes})


def test_the_token_is_remembered_before_anything_is_made(files):
    files.lock.troubles["create"] = [Crash()]  # type: ignore[list-item]  # the process ends inside the provider's call
    with pytest.raises(Crash):
        files.driver().rotate(NAME, "a-job")
    assert files.store.labels(NAME).unfinished == "a-job"
    assert files.driver().rotate(NAME).token == "a-job"


def test_of_two_drivers_at_once_one_wins_and_the_other_is_told(scene):
    barrier = threading.Barrier(2)

    def rotate(number: int) -> str:
        driver = scene.driver()
        barrier.wait(60)
        try:
            return driver.rotate(NAME).state
        except RotationBusy:
            return "busy"

    for _ in range(10):
        before = scene.version(CURRENT)
        with ThreadPoolExecutor(2) as threads:
            outcomes = sorted(threads.map(rotate, range(2)))
        assert outcomes in (["busy", "rotated"], ["rotated", "rotated"])
        assert scene.current_works()
        assert scene.version(CURRENT) != before
        assert scene.store.labels(NAME).unfinished is None


@pytest.mark.parametrize("number", [1, 2, 3])
def test_without_any_lock_the_slower_of_two_drivers_is_told_and_nothing_breaks(number):
    """Two rotations in lockstep, on a store that neither locks nor remembers tokens: what Secrets Manager is."""

    class Bare:
        def __init__(self, store: MemoryVersions) -> None:
            self.labels, self.read = store.labels, store.read
            self.put_pending, self.promote, self.close = store.put_pending, store.promote, store.close

    memory = a_memory(None)
    scene = Scene(Bare(memory), Lock())
    quick, steps = scene.driver(), Rotation(scene.store, {NAME: scene.lock})

    class Overtaken:
        """The steps of the slower one: at its `number`-th event the other one makes a whole rotation."""

        begin, strategy = staticmethod(steps.begin), staticmethod(steps.strategy)
        left = number

        def handle(self, event: Any) -> None:
            self.left -= 1
            if self.left == 0:
                assert quick.rotate(NAME, anew=True).state == "rotated"
            steps.handle(event)

    with pytest.raises(RotationBusy, match="has taken the place"):
        RotationDriver(scene.store, Overtaken()).rotate(NAME)
    assert scene.current_works()
    assert memory.labels(NAME).unfinished is None
