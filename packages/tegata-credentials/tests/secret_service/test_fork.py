"""A forked process keeps what was read, and has locks, threads and fetches of its own."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref

import pytest

from tegata_credentials.secret_service import Login, SecretService

from ..forking import in_child  # noqa: TID252 - tests are no installed package
from .scripted import login, until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def test_a_child_uses_what_its_parent_has_read(patient_service, store):
    store.put("db", login("one"), "v1")
    patient_service.get("db", Login)

    def in_the_child() -> str:
        return f"{patient_service.get('db', Login).username}, {len(store.calls)} fetch"

    assert in_child(in_the_child) == "app_a, 1 fetch"


def test_a_child_forked_during_a_fetch_makes_its_own(patient_service, store):
    store.put("db", login("one"), "v1")
    gate = store.shut("db")
    caller = threading.Thread(target=patient_service.get, args=("db", Login))
    caller.start()
    until(lambda: store.calls)

    def in_the_child() -> str:
        store.gates.clear()
        return f"{patient_service.get('db', Login).username}, {len(store.calls)} fetches"

    try:
        assert in_child(in_the_child) == "app_a, 2 fetches"
    finally:
        gate.set()
        caller.join()
        assert patient_service.get("db", Login).username == "app_a"
    assert len(store.calls) == 1, "the parent's own fetch was disturbed"


def test_a_child_forked_while_the_value_is_read_ahead_reads_it_itself(service, store, clock):
    store.put("db", login("one"), "v1")
    service.get("db", Login)
    gate = store.shut("db")
    clock.pass_by(240.0)
    service.get("db", Login)
    until(lambda: len(store.calls) == 2)

    def in_the_child() -> str:
        store.gates.clear()
        store.put("db", login("two", "app_b"), "v2")
        service.get("db", Login)
        until(lambda: service.get("db", Login).username == "app_b")
        return "read ahead"

    assert in_child(in_the_child) == "read ahead"
    gate.set()


def test_a_child_forked_while_every_lock_is_held_is_not_stuck(patient_service, store):
    store.put("db", login("one"), "v1")
    store.put("mail", login("one", "post"), "v1")
    patient_service.get("db", Login)
    cache, _ = patient_service.reach("db")
    with cache._lock, cache._workers._lock, cache._tellers._lock:
        said = in_child(lambda: patient_service.get("mail", Login).username)
    assert said == "post"


def test_a_child_of_asyncio_reads_in_a_loop_of_its_own(patient_service, store):
    store.put("db", login("one"), "v1")
    said: list[str] = []

    async def fork_in_flight() -> None:
        gate = store.shut("db")
        caller = asyncio.create_task(patient_service.aget("db", Login))
        while not store.calls:
            await asyncio.sleep(0)

        def in_the_child() -> str:
            store.gates.clear()
            results: list[str] = []
            # The parent's loop is marked as running in this thread, so the child's runs in another.
            thread = threading.Thread(
                target=lambda: results.append(asyncio.run(patient_service.aget("db", Login)).username)
            )
            thread.start()
            thread.join()
            return results[0]

        said.append(in_child(in_the_child))
        gate.set()
        await caller

    asyncio.run(fork_in_flight())
    assert said == ["app_a"]


def test_children_do_not_ask_in_step(service, store, clock):
    store.put("db", login("one"), "v1")
    service.get("db", Login)

    def child(share: float) -> str:
        clock.share = share
        return in_child(lambda: str(service.reach("db")[1].entry.life))

    assert [child(0.0), child(0.5)] == ["300.0", "285.0"]


def test_a_service_that_is_gone_is_not_kept_by_the_fork_hook(store):
    service = SecretService(store)
    cache = weakref.ref(service.reach("db")[0])
    service.close()
    del service
    gc.collect()
    assert cache() is None
    assert in_child(lambda: "well") == "well"
