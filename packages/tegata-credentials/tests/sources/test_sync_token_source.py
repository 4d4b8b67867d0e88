"""The same guarantees on threads."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from tegata_credentials import IdentityUnavailable, RefreshPolicy, Token


def until(is_so: Callable[[], object]) -> None:
    """Wait for what a thread is about to do."""
    latest = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < latest, "it has not happened"
        time.sleep(0.001)


def together(number: int, call: Callable[[], object]) -> list[object]:
    """Call from so many threads at once; an error is an outcome like any other."""
    start = threading.Barrier(number)

    def one(_: int) -> object:
        start.wait()
        try:
            return call()
        except IdentityUnavailable as error:
            return error

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(one, range(number)))


def test_fifty_cold_threads_make_one_fetch(sync_source, sync_provider):
    sync_provider.gate = threading.Event()
    threading.Timer(0.1, sync_provider.gate.set).start()
    assert set(together(50, sync_source.current)) == {"token-1"}
    assert sync_provider.fetches == 1


def test_the_fetch_runs_in_no_callers_thread(sync_source, sync_provider):
    sync_source.current()
    assert threading.get_ident() not in sync_provider.threads


def test_a_failing_fetch_wakes_all_threads_with_the_same_error(sync_source, sync_provider):
    sync_provider.failure = IdentityUnavailable("refused", status=403)
    errors = together(20, sync_source.current)
    assert {(error.reason, error.status) for error in errors} == {("refused", 403)}
    assert len({id(error) for error in errors}) == 20
    assert sync_provider.fetches == 1


def test_after_a_failure_nobody_asks_again_for_a_second(sync_source, sync_provider, clock):
    sync_provider.failure = IdentityUnavailable("unreachable")
    for _ in range(20):
        with pytest.raises(IdentityUnavailable):
            sync_source.current()
    assert sync_provider.fetches == 1
    clock.pass_by(1.0)
    sync_provider.failure = None
    assert sync_source.current() == "token-2"


def test_the_token_is_renewed_when_a_fifth_of_its_life_is_left(sync_source, sync_provider, clock):
    sync_provider.life = 100.0
    sync_source.current()
    clock.pass_by(79.9)
    assert sync_source.current() == "token-1"
    clock.pass_by(0.2)
    assert sync_source.current() == "token-2"


def test_a_slow_renewal_holds_up_callers_briefly_and_serves_the_living_token(new_sync_source, sync_provider, clock):
    source = new_sync_source(sync_provider, patience=0.02)
    source.current()
    clock.pass_by(3400.0)
    sync_provider.gate = threading.Event()
    assert [source.current() for _ in range(5)] == ["token-1"] * 5
    until(lambda: sync_provider.fetches == 2)
    sync_provider.gate.set()


def test_a_living_token_is_served_through_an_outage(sync_source, sync_provider, clock):
    sync_source.current()
    sync_provider.failure = IdentityUnavailable("unreachable")
    clock.pass_by(3400.0)
    for _ in range(199):
        clock.pass_by(1.0)
        assert sync_source.current() == "token-1"
    assert 5 <= sync_provider.fetches - 1 <= 12
    clock.pass_by(2.0)
    with pytest.raises(IdentityUnavailable):
        sync_source.current()


def test_a_fetch_that_hangs_holds_nobody_longer_than_agreed_and_its_late_token_is_used(
    new_sync_source, sync_provider, clock
):
    source = new_sync_source(sync_provider, fetch_timeout=0.05)
    sync_provider.gate = threading.Event()
    with pytest.raises(IdentityUnavailable) as caught:
        source.current()
    assert caught.value.reason == "timeout"
    hanging = [thread for thread in threading.enumerate() if thread.name == "tegata-token"]
    sync_provider.gate.set()
    for thread in hanging:
        thread.join()
    assert source.current() == "token-1"
    assert sync_provider.fetches == 1


def test_after_a_fetch_that_hangs_nobody_starts_another_for_a_second(new_sync_source, sync_provider, clock):
    policy = SimpleNamespace(**asdict(RefreshPolicy(fetch_timeout=0.05)))
    source = new_sync_source(sync_provider, policy)
    gate = sync_provider.gate = threading.Event()
    for _ in range(5):
        with pytest.raises(IdentityUnavailable) as caught:
            source.current()
        assert caught.value.reason == "timeout"
    until(lambda: sync_provider.fetches == 1)
    clock.pass_by(1.0)
    sync_provider.gate = None
    policy.fetch_timeout = 60.0  # only what hangs is to be too late
    assert source.current() == "token-2"
    gate.set()


def test_a_fetch_that_fails_after_a_rejection_does_not_make_the_next_one_wait(new_sync_source, sync_provider, clock):
    source = new_sync_source(sync_provider, patience=0.01)
    first = source.current()
    clock.pass_by(3400.0)
    gate = sync_provider.gate = threading.Event()
    source.current()  # a renewal has begun and hangs
    old = [thread for thread in threading.enumerate() if thread.name == "tegata-token"]
    source.rejected(first)
    sync_provider.failure = IdentityUnavailable("refused")
    gate.set()
    for thread in old:
        thread.join()
    sync_provider.failure = None
    assert source.current() == "token-3"


def test_an_unexpected_error_of_the_provider_is_named_but_not_quoted(sync_source, sync_provider):
    sync_provider.failure = ValueError("eyJ.secret.token")
    with pytest.raises(IdentityUnavailable) as caught:
        sync_source.current()
    assert caught.value.reason == "provider_error"
    assert caught.value.hint == "ValueError"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_five_rejections_of_one_token_make_one_fetch(sync_source, sync_provider):
    value = sync_source.current()

    def login() -> str:
        sync_source.rejected(value)
        return sync_source.current()

    assert set(together(5, login)) == {"token-2"}
    assert sync_provider.fetches == 2
    assert sync_provider.discards == 1


def test_a_database_that_refuses_every_token_does_not_make_a_storm(sync_source, sync_provider, clock):
    for _ in range(600):
        sync_source.rejected(sync_source.current())
        sync_source.rejected(sync_source.current())
        clock.pass_by(0.1)
    assert sync_provider.fetches <= 8


def test_a_replacement_that_has_worked_is_replaced_at_once(sync_source, sync_provider):
    for number in range(1, 6):
        value = sync_source.current()
        assert value == f"token-{number}"
        sync_source.accepted(value)
        sync_source.rejected(value)


def test_a_closed_source_gives_nothing(sync_source, sync_provider):
    sync_source.current()
    sync_source.close()
    with pytest.raises(IdentityUnavailable) as caught:
        sync_source.current()
    assert caught.value.reason == "closed"
    assert sync_provider.closed == 1


def test_neither_repr_nor_pickle_gives_the_token_away(sync_source):
    value = sync_source.current()
    assert "token-1" not in repr(sync_source) + repr(vars(sync_source)) + repr(value)
    with pytest.raises(TypeError):
        pickle.dumps(sync_source)


def test_an_empty_token_is_no_token(sync_source, sync_provider):
    sync_provider.tokens = [Token("")]
    with pytest.raises(IdentityUnavailable) as caught:
        sync_source.current()
    assert caught.value.reason == "bad_answer"
