"""One secret in the course of time: life, refresh ahead, what is served while the store fails, and what never is."""

from __future__ import annotations

import threading

import pytest

from tegata_credentials.errors import (
    CredentialError,
    SecretAccessDenied,
    SecretMalformed,
    SecretNotFound,
    SecretThrottled,
    SecretUnavailable,
)
from tegata_credentials.secret_service import CachePolicy, Login, SecretService

from .scripted import login, until

pytestmark = pytest.mark.anyio
DAY = 86_400.0


def read(service: SecretService) -> str:
    return service.get_version("db").version


def pass_by(service, clock, memory, seconds):
    """Let time pass, cause the refresh in the background and wait for its end."""
    clock.pass_by(seconds)
    landings = memory.landings
    found = read(service)
    until(lambda: memory.landings > landings)
    return found


def test_a_secret_is_read_once_within_its_life(service, store, clock):
    store.put("db", login("one"), "v1")
    assert read(service) == "v1"
    clock.pass_by(239.9)
    assert [read(service) for _ in range(5)] == ["v1"] * 5
    assert len(store.calls) == 1


def test_it_is_read_ahead_in_the_background_at_four_fifths_of_its_life(service, store, clock, memory):
    store.put("db", login("one"), "v1")
    read(service)
    store.put("db", login("two"), "v2")
    assert pass_by(service, clock, memory, 240.0) == "v1"
    assert read(service) == "v2"
    assert len(store.calls) == 2


def test_nobody_waits_and_nobody_asks_again_while_it_is_read_ahead(service, store, clock):
    store.put("db", login("one"), "v1")
    read(service)
    gate = store.shut("db")
    clock.pass_by(240.0)
    assert [read(service) for _ in range(20)] == ["v1"] * 20
    until(lambda: len(store.calls) == 2)
    assert [read(service) for _ in range(20)] == ["v1"] * 20
    assert len(store.calls) == 2
    gate.set()


def test_the_life_is_cut_by_chance_so_that_a_fleet_does_not_ask_in_step(store, clock):
    lives = []
    for share in (0.0, 0.999):
        clock.share = share
        service = SecretService(store, timing=clock.timing())
        store.put("db", login("one"), "v1")
        read(service)
        entry = service.reach("db")[1].entry
        lives.append(entry.life)
        service.close()
    assert lives[0] == 300.0
    assert 270.0 <= lives[1] < 271.0


def test_a_secret_past_its_life_is_read_before_it_is_given_out_if_the_store_answers(store, clock, memory):
    service = SecretService(store, timing=clock.timing(), observer=memory, policy=CachePolicy(patience=5.0))
    store.put("db", login("one"), "v1")
    read(service)
    store.put("db", login("two"), "v2")
    clock.pass_by(301.0)
    assert read(service) == "v2"
    service.close()


def test_the_old_value_is_given_at_once_while_a_slow_store_is_asked(service, store, clock, memory):
    store.put("db", login("one"), "v1")
    read(service)
    gate = store.shut("db")
    clock.pass_by(301.0)
    with service.use("db", Login) as offer:
        assert (offer.version, offer.stale) == ("v1", True)
    assert memory.landings == 1, "it has waited for the store"
    gate.set()


@pytest.mark.parametrize("error", [SecretUnavailable("db"), SecretThrottled("db"), OSError("network")])
def test_the_old_value_serves_a_day_while_the_store_fails_and_not_longer(service, store, clock, memory, error):
    store.put("db", login("one"), "v1")
    read(service)
    store.fail("db", error)
    assert pass_by(service, clock, memory, 301.0) == "v1"
    assert pass_by(service, clock, memory, DAY - 302.0) == "v1"
    clock.pass_by(2.0)
    with pytest.raises((SecretUnavailable, SecretThrottled)):
        read(service)


@pytest.mark.parametrize("error", [SecretNotFound("db"), SecretAccessDenied("db"), SecretMalformed("db")])
def test_an_answer_that_is_no_ends_the_old_value_even_within_its_life(service, store, clock, memory, error):
    store.put("db", login("one"), "v1")
    read(service)
    store.fail("db", error)
    assert pass_by(service, clock, memory, 240.0) == "v1"
    with pytest.raises(type(error)):
        read(service)
    store.fail("db", SecretUnavailable("db"))
    clock.pass_by(31.0)
    with pytest.raises(SecretUnavailable):
        read(service)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(SecretUnavailable, 5), (SecretThrottled, 10), (SecretNotFound, 10), (SecretAccessDenied, 30)],
)
def test_a_failure_is_repeated_to_everybody_for_a_pause_of_its_kind(service, store, clock, error, seconds):
    store.fail("db", error("db"))
    for _ in range(10):
        with pytest.raises(error):
            read(service)
    assert len(store.calls) == 1
    clock.pass_by(seconds - 0.1)
    with pytest.raises(error):
        read(service)
    assert len(store.calls) == 1
    clock.pass_by(0.2)
    store.put("db", login("one"), "v1")
    assert read(service) == "v1"


def test_pauses_double_up_to_thirty_seconds(service, store, clock):
    store.fail("db", SecretUnavailable("db"))
    for pause in (5.0, 10.0, 20.0, 30.0, 30.0):
        with pytest.raises(SecretUnavailable):
            read(service)
        calls = len(store.calls)
        clock.pass_by(pause - 0.1)
        with pytest.raises(SecretUnavailable):
            read(service)
        assert len(store.calls) == calls
        clock.pass_by(0.2)


def test_each_caller_gets_an_error_of_its_own(service, store):
    store.fail("db", SecretUnavailable("db", "no route"))
    errors = []
    for _ in range(2):
        with pytest.raises(SecretUnavailable) as caught:
            read(service)
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert [(error.hint, error.__cause__, error.__context__) for error in errors] == [("no route", None, None)] * 2


def test_what_an_unknown_source_raises_is_told_by_its_kind_only(service, store):
    store.fail("db", RuntimeError("hunter2 is the password"))
    with pytest.raises(SecretUnavailable, match="RuntimeError") as caught:
        read(service)
    assert "hunter2" not in str(caught.value)


def test_what_is_no_name_of_a_secret_is_repeated_nowhere(service, store, memory, caplog):
    store.fail("hunter2", CredentialError("this is not a reference"))
    with pytest.raises(SecretNotFound, match="not a reference") as caught:
        service.get_version("hunter2")
    assert "hunter2" not in f"{caught.value} {memory.audits} {memory.metrics} {caplog.text}"


def test_a_wall_clock_that_jumps_ahead_causes_a_read_and_one_set_back_keeps_nothing_alive(
    service, store, clock, memory
):
    store.put("db", login("one"), "v1")
    read(service)
    clock.wall -= 10_000.0
    clock.ticks += 240.0
    read(service)
    until(lambda: memory.landings == 2)  # nobody asks again while it is still being read
    clock.wall += 100_000.0
    read(service)
    until(lambda: len(store.calls) == 3)


def test_a_closed_service_gives_nothing_and_closes_its_source_once(service, store):
    store.put("db", login("one"), "v1")
    read(service)
    service.close()
    with pytest.raises(SecretUnavailable, match="closed"):
        read(service)
    assert store.closed == 1


def test_a_fetch_that_ends_after_the_close_wakes_its_caller(store):
    service = SecretService(store)
    store.put("db", login("one"), "v1")
    gate = store.shut("db")
    said = []

    def call() -> None:
        with pytest.raises(SecretUnavailable) as caught:
            read(service)
        said.append(str(caught.value))

    caller = threading.Thread(target=call)
    caller.start()
    until(lambda: store.calls)
    service.close()
    gate.set()
    caller.join()
    assert "closed" in said[0]


class TestInvalidation:
    def test_the_next_read_asks_the_store(self, service, store):
        store.put("db", login("one"), "v1")
        read(service)
        store.put("db", login("two"), "v2")
        assert service.invalidate("db")
        assert read(service) == "v2"

    def test_another_version_than_the_one_at_hand_changes_nothing(self, service, store):
        store.put("db", login("one"), "v1")
        read(service)
        assert not service.invalidate("db", if_version="v0")
        assert read(service) == "v1"
        assert len(store.calls) == 1

    def test_a_hundred_failing_connections_cause_one_fetch(self, service, store):
        store.put("db", login("one"), "v1")
        read(service)
        store.put("db", login("two"), "v2")
        heard = []
        for _ in range(100):
            heard.append(service.invalidate("db", if_version="v1"))
            assert read(service) == "v2"
        assert heard == [True] + [False] * 99
        assert len(store.calls) == 2

    def test_a_version_that_the_store_confirms_is_doubted_ever_more_seldom(self, service, store, clock):
        store.put("db", login("one"), "v1")
        read(service)
        fetches = []
        for second in range(200):
            service.invalidate("db", if_version="v1")
            read(service)
            if len(store.calls) - 1 > len(fetches):
                fetches.append(second)
            clock.pass_by(1.0)
        assert fetches[:7] == [0, 1, 2, 3, 5, 9, 17]
        assert fetches[7:] == [33, 63, 93, 123, 153, 183]

    def test_an_invalidated_value_is_not_served_while_the_store_fails(self, service, store):
        store.put("db", login("one"), "v1")
        read(service)
        store.fail("db", SecretUnavailable("db"))
        service.invalidate("db", if_version="v1")
        with pytest.raises(SecretUnavailable):
            read(service)

    def test_a_fetch_that_began_before_the_doubt_does_not_confirm(self, service, store, clock):
        store.put("db", login("one"), "v1")
        read(service)
        gate = store.shut("db")
        clock.pass_by(240.0)
        read(service)  # begins to read ahead
        until(lambda: len(store.calls) == 2)
        service.invalidate("db", if_version="v1")
        gate.set()
        assert read(service) == "v1"
        assert len(store.calls) == 3

    def test_nothing_known_is_nothing_to_invalidate(self, service):
        assert not service.invalidate("db")
