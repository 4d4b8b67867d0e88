"""The few threads that fetch."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tegata_credentials.secret_service.workers import Workers


class Threads:
    """Starts no thread: a test runs what would run in one, when it wants to."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.allowed = 100

    def start(self, job: Callable[[], None], _name: str) -> None:
        if len(self.waiting) >= self.allowed:
            raise RuntimeError("can't start new thread")
        self.waiting.append(job)


@pytest.fixture
def threads() -> Threads:
    return Threads()


@pytest.fixture
def time_passed() -> list[float]:
    return [0.0]


@pytest.fixture
def workers(threads, time_passed) -> Workers:
    return Workers(2, slow_after=1.0, ticks=lambda: time_passed[0], name="test", start=threads.start)


def test_a_thread_takes_all_the_jobs_it_finds(workers, threads):
    done: list[int] = []
    for number in range(5):
        workers.submit(lambda number=number: done.append(number))
    assert len(threads.waiting) == 2
    threads.waiting[0]()
    assert done == [0, 2, 3, 4]
    threads.waiting[1]()
    assert done == [0, 2, 3, 4, 1]


def test_a_slow_job_is_not_counted(workers, threads, time_passed):
    for _ in range(3):
        workers.submit(lambda: None)
    assert len(threads.waiting) == 2
    time_passed[0] = 1.0
    workers.look_after_slow_ones()
    assert len(threads.waiting) == 3


def test_there_is_an_end_to_it(workers, threads, time_passed):
    for _ in range(100):
        workers.submit(lambda: None)
        time_passed[0] += 1.0
    workers.look_after_slow_ones()
    assert len(threads.waiting) == Workers.MOST_THREADS


def test_a_job_that_fails_takes_nothing_along(workers, threads):
    done: list[str] = []

    def fail() -> None:
        raise ZeroDivisionError

    for _ in range(2):
        workers.submit(fail)
    for _ in range(3):
        workers.submit(lambda: done.append("done"))
    for thread in (0, 1):
        with pytest.raises(ZeroDivisionError):
            threads.waiting[thread]()
    assert len(threads.waiting) == 4, "two threads that have ended are replaced, for the jobs that wait"
    for thread in (2, 3):
        threads.waiting[thread]()
    assert done == ["done"] * 3


def test_without_any_thread_the_job_is_given_back(workers, threads):
    threads.allowed = 0
    with pytest.raises(RuntimeError):
        workers.submit(lambda: None)
    threads.allowed = 1
    done: list[str] = []
    workers.submit(lambda: done.append("later"))
    threads.waiting[0]()
    assert done == ["later"], "the job that was given back ran as well"


def test_a_thread_that_runs_takes_over_what_no_new_one_could(workers, threads):
    threads.allowed = 1
    done: list[int] = []
    workers.submit(lambda: done.append(1))
    workers.submit(lambda: done.append(2))
    threads.waiting[0]()
    assert done == [1, 2]


def test_threads_are_daemons_that_end(workers):
    real = Workers(1, slow_after=1.0, ticks=lambda: 0.0, name="tegata-test")
    seen: list[threading.Thread] = []
    ready = threading.Event()

    def note() -> None:
        seen.append(threading.current_thread())
        ready.set()

    real.submit(note)
    assert ready.wait(60.0)
    seen[0].join(60.0)
    assert (seen[0].daemon, seen[0].name, seen[0].is_alive()) == (True, "tegata-test", False)
