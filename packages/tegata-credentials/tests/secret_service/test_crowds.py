"""Many readers at once, in threads, tasks and several event loops: one fetch, and nobody is left waiting."""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tegata_credentials.errors import SecretUnavailable
from tegata_credentials.secret_service import CachePolicy, Login, SecretService

from .scripted import PATIENCE_OF_A_TEST, login, until, until_all_threads_have_ended

CROWD = 1_000


async def aread(service: SecretService, name: str = "db") -> str:
    return (await service.aget(name, Login)).username


def in_threads(service: SecretService, how_many: int) -> tuple[list[threading.Thread], list[str]]:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(service.get("db", Login).username)) for _ in range(how_many)
    ]
    for thread in threads:
        thread.start()
    return threads, found


def test_a_thousand_tasks_that_read_first_cause_one_fetch(patient_service, store):
    store.put("db", login("one"), "v1")

    async def crowd() -> list[str]:
        return await asyncio.gather(*(aread(patient_service) for _ in range(CROWD)))

    assert asyncio.run(crowd()) == ["app_a"] * CROWD
    assert len(store.calls) == 1


def test_a_thousand_threads_that_read_first_cause_one_fetch(patient_service, store):
    store.put("db", login("one"), "v1")
    gate = store.shut("db")
    before = threading.stack_size(256 * 1024)
    try:
        threads, found = in_threads(patient_service, CROWD)
    finally:
        threading.stack_size(before)
        gate.set()
    for thread in threads:
        thread.join()
    assert found == ["app_a"] * CROWD
    assert len(store.calls) == 1


def test_a_crowd_of_threads_tasks_and_event_loops_causes_one_fetch(patient_service, store):
    store.put("db", login("one"), "v1")
    gate = store.shut("db")

    async def crowd() -> list[str]:
        return await asyncio.gather(*(aread(patient_service) for _ in range(300)))

    threads, found = in_threads(patient_service, 100)
    with ThreadPoolExecutor(3) as pool:
        loops = [pool.submit(lambda: asyncio.run(crowd())) for _ in range(3)]
        until(lambda: store.calls)
        gate.set()
        results = [name for loop in loops for name in loop.result()]
    for thread in threads:
        thread.join()
    assert results + found == ["app_a"] * CROWD
    assert len(store.calls) == 1


def test_a_crowd_shares_one_failure_with_an_error_for_each(patient_service, store):
    store.fail("db", SecretUnavailable("db"))

    async def crowd() -> list[BaseException | str]:
        return await asyncio.gather(*(aread(patient_service) for _ in range(200)), return_exceptions=True)

    errors = asyncio.run(crowd())
    assert {type(error) for error in errors} == {SecretUnavailable}
    assert len({id(error) for error in errors}) == 200
    assert len(store.calls) == 1


def test_a_cancelled_caller_leaves_the_fetch_to_the_others(patient_service, store):
    store.put("db", login("one"), "v1")
    gate = store.shut("db")

    async def main() -> str:
        first = asyncio.create_task(aread(patient_service))
        await asyncio.sleep(0)
        second = asyncio.create_task(aread(patient_service))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        gate.set()
        return await second

    assert asyncio.run(main()) == "app_a"
    assert len(store.calls) == 1


def test_a_fetch_outlives_the_event_loop_that_asked_for_it(patient_service, store, memory):
    store.put("db", login("one"), "v1")
    gate = store.shut("db")

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(aread(patient_service), 0.01)

    asyncio.run(give_up())
    gate.set()
    until(lambda: memory.landings)
    assert asyncio.run(aread(patient_service)) == "app_a"
    assert len(store.calls) == 1


def test_a_loop_that_is_closed_in_the_middle_harms_nobody(patient_service, store):
    store.put("db", login("one"), "v1")
    gate = store.shut("db")
    loop = asyncio.new_event_loop()
    waiting = aread(patient_service)
    task = loop.create_task(waiting)
    loop.run_until_complete(asyncio.sleep(0.01))
    task._log_destroy_pending = False  # it is left behind on purpose
    loop.close()
    threads, found = in_threads(patient_service, 1)
    gate.set()
    threads[0].join()
    assert found == ["app_a"]
    waiting.close()


def test_nothing_fetches_in_the_event_loops_own_thread(patient_service, store):
    """A loop that waits for a secret goes on with everything else."""
    store.put("db", login("one"), "v1")
    gate = store.shut("db")

    async def main() -> str:
        reading = asyncio.create_task(aread(patient_service))
        while not store.calls:
            await asyncio.sleep(0)
        gate.set()
        return await reading

    assert asyncio.run(main()) == "app_a"


class TestWhatIsInMemory:
    def test_is_given_to_a_coroutine_without_a_loop_or_thread(self, patient_service, store):
        store.put("db", login("one"), "v1")
        patient_service.get("db", Login)
        for coroutine in (patient_service.aget("db", Login), patient_service.aget_version("db")):
            with pytest.raises(StopIteration):  # it has ended at its first step
                coroutine.send(None)
        assert len(store.calls) == 1

    def test_is_given_while_every_lock_is_held(self, patient_service, store):
        store.put("db", login("one"), "v1")
        patient_service.get("db", Login)
        cache, _ = patient_service.reach("db")
        with cache._lock, cache._workers._lock:
            reader = threading.Thread(target=patient_service.get, args=("db", Login))
            reader.start()
            reader.join(PATIENCE_OF_A_TEST)
            assert not reader.is_alive()

    def test_is_given_without_any_call_that_could_wait(self, patient_service, store):
        """Every call on the hot path, as the interpreter sees them: two clocks, two look-ups, one count."""
        store.put("db", login("one"), "v1")
        patient_service.get("db", Login)
        calls: list[str] = []

        def note(_frame: object, event: str, argument: object) -> None:
            if event == "c_call":
                calls.append(argument.__qualname__)

        sys.setprofile(note)
        try:
            patient_service.get("db", Login)
        finally:
            sys.setprofile(None)
        assert [call for call in calls if call != "setprofile"] == ["dict.get", "monotonic", "time", "dict.get", "next"]


class TestSlowSecrets:
    def test_at_most_four_are_fetched_at_once(self, patient_service, store):
        gates = [store.shut(f"s{number}") for number in range(8)]
        for number in range(8):
            store.put(f"s{number}", login("one"), "v1")
        with ThreadPoolExecutor(8) as pool:
            reading = [pool.submit(patient_service.get, f"s{number}", Login) for number in range(8)]
            until(lambda: len(store.calls) == 4)
            for gate in gates:
                gate.set()
            assert [found.result().username for found in reading] == ["app_a"] * 8
        assert store.most_at_once <= 4

    def test_four_that_hang_do_not_keep_the_others_waiting(self, store, memory):
        service = SecretService(store, policy=CachePolicy(slow_after=0.05, fetch_timeout=60.0), observer=memory)
        store.put("db", login("one"), "v1")
        hanging = [store.shut(f"s{number}") for number in range(4)]
        with ThreadPoolExecutor(4) as pool:
            for number in range(4):
                pool.submit(service.get, f"s{number}", Login)
            until(lambda: len(store.calls) == 4)
            assert service.get("db", Login).username == "app_a"
            assert memory.landings == 1, "it has waited for the others"
            for gate in hanging:
                gate.set()
        service.close()

    def test_threads_are_bounded_even_if_everything_hangs(self, store):
        service = SecretService(store, policy=CachePolicy(slow_after=0.001, fetch_timeout=60.0))
        names = [f"s{number}" for number in range(60)]
        gates = [store.shut(name) for name in names]

        async def read_all() -> None:
            reading = asyncio.gather(*(service.aget(name, Login) for name in names), return_exceptions=True)
            rounds = 0
            while rounds < 100:  # each who waits looks after the slow ones each millisecond, and all of them are slow
                rounds += store.most_at_once >= 32
                await asyncio.sleep(0.001)
            for gate in gates:
                gate.set()
            await reading

        asyncio.run(asyncio.wait_for(read_all(), PATIENCE_OF_A_TEST))
        assert store.most_at_once == 32
        service.close()

    def test_a_caller_waits_no_longer_than_allowed_and_the_next_one_not_at_all(self, store):
        service = SecretService(store, policy=CachePolicy(fetch_timeout=0.05))
        store.put("db", login("one"), "v1")
        gate = store.shut("db")
        for _ in range(50):  # 50 times 0.05 s would be noticed
            with pytest.raises(SecretUnavailable, match=r"no answer within 0\.05 s"):
                service.get("db", Login)
        until(lambda: store.calls)
        assert len(store.calls) == 1, "a second call beside one that hangs"
        gate.set()
        until(lambda: not service.reach("db")[1].flight)
        assert service.get("db", Login).username == "app_a"
        assert len(store.calls) == 1
        service.close()

    def test_no_thread_is_left_when_there_is_nothing_to_fetch(self, patient_service, store):
        store.put("db", login("one"), "v1")
        patient_service.get("db", Login)
        until_all_threads_have_ended()
