"""A token is asked for once, kept, renewed ahead of its end, and not asked for in a storm of failures."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tegata_verify.client import ClientCredentials, ClientSecret, Obstacle, TokenUnavailable

from .conftest import PATIENT

pytestmark = pytest.mark.anyio

ME = ClientSecret("me", "s")
CROWD = 30


async def test_tasks_and_threads_wait_for_one_request(stand_in, until):
    source = ClientCredentials(stand_in.where, ME, policy=PATIENT)
    stand_in.gate.clear()
    with ThreadPoolExecutor(CROWD) as threads:
        in_threads = [threads.submit(source.get) for _ in range(CROWD)]
        in_tasks = [asyncio.create_task(source.aget()) for _ in range(CROWD)]
        in_another_loop = threads.submit(lambda: asyncio.run(source.aget()))
        await until(lambda: stand_in.heard)
        stand_in.gate.set()
        tokens = await asyncio.gather(*in_tasks)
        tokens += await asyncio.gather(*map(asyncio.wrap_future, [*in_threads, in_another_loop]))
    assert {token.value for token in tokens} == {"token-1"}
    assert len(stand_in.asked) == 1


async def test_a_waiter_that_is_cancelled_leaves_the_others_their_token(stand_in, until):
    source = ClientCredentials(stand_in.where, ME, policy=PATIENT)
    stand_in.gate.clear()
    first, second = asyncio.create_task(source.aget()), asyncio.create_task(source.aget())
    await until(lambda: stand_in.heard)
    first.cancel()
    await asyncio.wait([first])
    stand_in.gate.set()
    assert (await second).value == "token-1"
    assert first.cancelled()


def test_a_loop_that_ends_meanwhile_disturbs_nobody(stand_in, caplog):
    source = ClientCredentials(stand_in.where, ME, policy=PATIENT)
    stand_in.gate.clear()

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await source.aget()

    asyncio.run(impatient())
    stand_in.gate.set()
    assert source.get().value == "token-1"
    assert "exception" not in caplog.text.lower()


async def test_a_token_is_kept_renewed_ahead_and_dead_before_its_end(stand_in, time, until):
    source = ClientCredentials(stand_in.where, ME, surroundings=time.around, policy=PATIENT)
    assert (await source.aget()).value == "token-1"
    time.now += 0.79 * 300
    assert (await source.aget()).value == "token-1"
    assert len(stand_in.asked) == 1
    stand_in.gate.clear()
    time.now += 0.02 * 300
    assert (await source.aget()).value == "token-1"  # nobody waits for a renewal
    stand_in.gate.set()
    await until(lambda: source.get().value == "token-2")
    time.now += 291  # alive for nine seconds yet: too short for a call
    assert (await source.aget()).value == "token-3"
    assert len(stand_in.asked) == 3


async def test_processes_renew_at_different_times(stand_in, time, until):
    around = replace(time.around, chance=lambda: 1.0)
    source = ClientCredentials(stand_in.where, ME, surroundings=around, policy=PATIENT)
    source.get()
    time.now += 0.71 * 300
    source.get()
    await until(lambda: len(stand_in.asked) == 2)


@pytest.mark.parametrize("lifetime", [None, 0, -5, True, "soon", float("1e300")], ids=str)
def test_a_token_without_a_life_of_its_own_is_kept_for_a_while(stand_in, time, lifetime):
    stand_in.lifetime = lifetime
    source = ClientCredentials(stand_in.where, ME, surroundings=time.around, policy=PATIENT)
    source.get()
    time.now += 200
    assert source.get().value == "token-1"


def test_a_life_written_as_text_is_understood(stand_in, time):
    stand_in.lifetime = "60"
    assert ClientCredentials(stand_in.where, ME, policy=PATIENT).get().lifetime_seconds == 60


async def test_a_renewal_that_fails_leaves_the_living_token(stand_in, said, time, caplog, until):
    source = ClientCredentials(stand_in.where, ME, surroundings=time.around, policy=PATIENT)
    source.get()
    stand_in.answers["/demo/token"] = lambda _: said({}, 503)
    time.now += 250
    assert source.get().value == "token-1"
    await until(lambda: "no token for me" in caplog.text)  # the failed renewal has been noticed
    for _ in range(20):
        assert source.get().value == "token-1"
        await asyncio.sleep(0.005)  # a third request, if one were begun, arrives meanwhile
    assert len(stand_in.asked) == 2
    stand_in.answers["/demo/token"] = stand_in.give
    time.now += 1.5
    await until(lambda: source.get().value == "token-2")


def test_a_failure_is_kept_for_a_while_and_longer_each_time(stand_in, said, time):
    stand_in.answers["/demo/token"] = lambda _: said({"error": "invalid_client"}, 401)
    source = ClientCredentials(stand_in.where, ME, surroundings=time.around, policy=PATIENT)

    def fail() -> None:
        with pytest.raises(TokenUnavailable, match="refused: invalid_client"):
            source.get()

    for pause in (1, 2, 4, 8, 16, 30, 30):
        asked = len(stand_in.asked)
        fail()
        time.now += pause - 0.1
        fail()
        assert len(stand_in.asked) == asked + 1
        time.now += 0.2
    stand_in.answers["/demo/token"] = stand_in.give
    assert source.get().value == "token-1"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("120", 120), ("Tue, 14 Nov 2023 22:14:20 GMT", 60), ("99999999", 300), ("soon", 1), ("-5", 1)],
)
def test_retry_after_is_honoured_within_reason(stand_in, said, time, value, seconds):
    stand_in.answers["/demo/token"] = lambda _: said({}, 429, {"Retry-After": value})
    source = ClientCredentials(stand_in.where, ME, surroundings=time.around, policy=PATIENT)
    for _ in range(2):
        with pytest.raises(TokenUnavailable) as raised:
            source.get()
        assert raised.value.obstacle is Obstacle.THROTTLED
        time.now += seconds - 0.5
    assert len(stand_in.asked) == 1
    stand_in.answers["/demo/token"] = stand_in.give
    time.now += 1
    assert source.get().value == "token-1"


def test_only_the_token_at_hand_is_dropped_when_it_is_rejected(stand_in):
    source = ClientCredentials(stand_in.where, ME, policy=PATIENT)
    old = source.get().value
    for _ in range(CROWD):
        source.rejected(old)
    assert source.get().value == "token-2"
    source.rejected(old)
    assert source.get().value == "token-2"


def test_a_service_that_refuses_every_token_does_not_make_us_ask_each_time(stand_in, time):
    source = ClientCredentials(stand_in.where, ME, surroundings=time.around, policy=PATIENT)
    for _ in range(CROWD):
        source.rejected(source.get().value)
    assert len(stand_in.asked) == 2
    time.now += 11
    source.rejected(source.get().value)
    source.get()
    assert len(stand_in.asked) == 3


def test_neither_source_nor_token_shows_or_leaves(stand_in, caplog):
    caplog.set_level("DEBUG")
    source = ClientCredentials(stand_in.where, ME, policy=PATIENT)
    token = source.get()
    assert "token-1" not in f"{source!r}{token!r}{token.value!r}{vars(source)!r}{caplog.text}"
    for held in (source, token, token.value):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(held)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_the_token_and_can_get_others(stand_in):
    source = ClientCredentials(stand_in.where, ME, policy=PATIENT)
    source.get()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(60)  # ends a child that waits for ever
            kept = source.get().value
            source.rejected(kept)
            os.write(writing, f"{kept} {source.get().value}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "token-1 token-2"
    os.waitpid(child, 0)
