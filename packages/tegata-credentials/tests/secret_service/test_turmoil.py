"""Threads and event loops read, refuse and invalidate at random against a store that is slow, fails and rotates."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tegata_credentials.errors import SecretError, SecretNotFound, SecretUnavailable
from tegata_credentials.secret_service import CachePolicy, Login, LoginRefused, SecretService

from ..forking import in_child  # noqa: TID252 - tests are no installed package
from .scripted import Store, login, until_all_threads_have_ended

HURRIED = CachePolicy(
    ttl=0.02,
    patience=0.002,
    unavailable_pause=0.003,
    not_found_pause=0.003,
    longest_pause=0.01,
    first_recheck=0.002,
    longest_recheck=0.02,
    budget=0.02,
)
NAMES = "abcd"
ACTS = 600
"""Of each reader. It is not the time that counts: on a busy machine nothing may happen in a second."""
CHILDREN = 40


class Turmoil(Store):
    """Rotates all the time: half of the calls find another version. Some fail."""

    def __init__(self) -> None:
        super().__init__()
        self._made = 0

    def _answer(self, secret, stage):
        with self._lock:
            self._made += random.random() < 0.5
            version = f"{self._made:09d}"
        time.sleep(random.random() * 0.003)
        chance = random.random()
        if chance < 0.07:
            raise (SecretUnavailable if chance < 0.05 else SecretNotFound)(secret)
        return self.put(secret, login(version), version, stage)


class Reader:
    """Reads at random, and notices when a version goes back."""

    def __init__(self, service: SecretService) -> None:
        self.service = service
        self.last: dict[str, str] = {}
        self.went_back: list[str] = []
        self.reads = 0

    def saw(self, name: str, version: str) -> None:
        self.reads += 1
        if version < self.last.get(name, ""):
            self.went_back.append(name)
        self.last[name] = version

    def in_a_thread(self) -> None:
        for _ in range(ACTS):
            self.act_at_random()

    def until_it_is_over(self, over: threading.Event) -> None:
        while not over.is_set():
            self.act_at_random()

    def act_at_random(self) -> None:
        with contextlib.suppress(SecretError, LoginRefused):
            self.act(random.choice(NAMES), random.random())

    def act(self, name: str, chance: float) -> None:
        if chance < 0.6:
            self.saw(name, self.service.get_version(name).version)
        elif chance < 0.75:
            with self.service.use(name, Login) as offer:
                offer.refused()
                self.saw(name, offer.version)
        elif chance < 0.85:
            self.service.get_many(list(NAMES))
        else:
            self.service.invalidate(name)

    async def see(self, name: str) -> None:
        """Read and note in one go: `wait_for` may hand a result on only after another task has read a later one."""
        self.saw(name, (await self.service.aget_version(name)).version)

    async def in_a_loop(self) -> None:
        await asyncio.gather(*(self.in_a_task() for _ in range(10)))

    async def in_a_task(self) -> None:
        for _ in range(ACTS):
            name = random.choice(NAMES)
            try:
                patience = random.choice([0.001, 1.0])
                await asyncio.wait_for(self.see(name), patience)
            except (SecretError, TimeoutError):
                pass
            await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def nervous_interpreter() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def turmoil() -> Turmoil:
    return Turmoil()


@pytest.fixture
def hurried(turmoil: Turmoil) -> Iterator[SecretService]:
    made = SecretService(turmoil, policy=HURRIED)
    yield made
    made.close()


def test_no_version_goes_back_no_fetch_is_made_twice_and_every_change_is_told_in_order(turmoil, hurried):
    told: list[tuple[str, str]] = []
    hurried.on_change(lambda name, version: told.append((name, version.version)))
    readers = [Reader(hurried) for _ in range(9)]
    threads = [threading.Thread(target=reader.in_a_thread) for reader in readers[:8]]
    threads.append(threading.Thread(target=lambda: asyncio.run(readers[8].in_a_loop())))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until_all_threads_have_ended()
    assert [reader.went_back for reader in readers] == [[]] * 9
    assert all(reader.reads for reader in readers)
    assert turmoil.twice_at_once == []
    for name in NAMES:
        versions = [version for found, version in told if found == name]
        assert versions == sorted(set(versions))


def test_children_forked_at_any_moment_can_read(turmoil, hurried):
    reader, over = Reader(hurried), threading.Event()
    threads = [threading.Thread(target=reader.until_it_is_over, args=[over]) for _ in range(3)]
    for thread in threads:
        thread.start()

    def in_the_child() -> str:
        turmoil._lock = threading.Lock()  # the store's own, which is not what is tested
        for _ in range(20):
            try:
                return hurried.get("a", Login).username
            except SecretError:
                time.sleep(0.004)
        return "nothing"

    said = []
    try:
        while len(said) < CHILDREN or reader.reads < CHILDREN:  # busy machine: until there was reading
            said.append(in_child(in_the_child))
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert set(said) == {"app_a"}
