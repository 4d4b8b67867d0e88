"""A reader that failed is left alone for a while, and the while grows."""

from __future__ import annotations

from tegata.postgres.reader_breaker import Breaker


class Watch:
    """A monotonic clock that stands still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_everybody_is_let_through_until_one_fails() -> None:
    breaker = Breaker(clock=Watch())
    assert all(breaker.may_try() for _ in range(10))
    breaker.succeeded()
    assert breaker.may_try()
    breaker.failed()
    assert not breaker.may_try()


def test_after_each_pause_one_is_let_through_and_pauses_double_up_to_a_bound() -> None:
    watch = Watch()
    breaker = Breaker(clock=watch, first_pause_seconds=1, longest_pause_seconds=8)
    breaker.failed()
    tried = []
    for second in range(40):
        watch.now = 1000.0 + second
        tried += [second for _ in range(5) if breaker.may_try()]
    assert tried == [1, 3, 7, 15, 23, 31, 39]


def test_many_that_fail_together_count_as_one() -> None:
    watch = Watch()
    breaker = Breaker(clock=watch, first_pause_seconds=1)
    for _ in range(50):
        breaker.failed()
    watch.now += 1
    assert breaker.may_try()


def test_a_success_lets_everybody_through_and_forgets_the_pauses() -> None:
    watch = Watch()
    breaker = Breaker(clock=watch, first_pause_seconds=1, longest_pause_seconds=60)
    breaker.failed()
    for _ in range(5):
        watch.now += 60
        breaker.may_try()
    breaker.succeeded()
    assert all(breaker.may_try() for _ in range(10))
    breaker.failed()
    watch.now += 1
    assert breaker.may_try()


def test_a_trial_that_never_ends_does_not_bar_the_next_one() -> None:
    watch = Watch()
    breaker = Breaker(clock=watch, first_pause_seconds=1)
    breaker.failed()
    watch.now += 1
    assert breaker.may_try()  # and is cancelled
    watch.now += 2
    assert breaker.may_try()
