"""A forked process has its own locks, fetches and connections, and keeps the token."""

from __future__ import annotations

import asyncio
import os
import threading
import warnings
from collections.abc import Callable

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def in_child(call: Callable[[], str]) -> str:
    """Run in a forked child and return what it says; the child gets five seconds."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads: that is what is tested
        child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            threading.Timer(5.0, os._exit, [1]).start()
            os.write(writing, call().encode())
        except BaseException as error:  # noqa: BLE001 - said to the parent
            os.write(writing, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def test_a_child_uses_the_token_of_its_parent(sync_source, sync_provider):
    sync_source.current()
    assert in_child(sync_source.current) == "token-1"


def test_a_child_forked_during_a_fetch_makes_its_own(sync_source, sync_provider):
    sync_provider.gate = threading.Event()
    caller = threading.Thread(target=sync_source.current)
    caller.start()
    while not sync_provider.fetches:
        pass

    def in_the_child() -> str:
        sync_provider.gate = None
        return sync_source.current()

    try:
        assert in_child(in_the_child) == "token-2"
    finally:
        sync_provider.gate.set()
        caller.join()


def test_a_child_forked_while_every_lock_is_held_is_not_stuck(sync_source, sync_provider, clock):
    sync_source.current()
    process = sync_source._process()
    with process.lock, process.state._lock:
        clock.pass_by(3700.0)
        assert in_child(sync_source.current) == "token-2"


def test_a_child_of_asyncio_is_not_stuck_either(source, provider, clock):
    asyncio.run(source.current())
    clock.pass_by(3700.0)
    with source._process().state._lock:
        assert in_child(lambda: asyncio.run(source.current())) == "token-2"


def test_a_rejection_in_a_child_is_the_childs_own(sync_source):
    value = sync_source.current()

    def in_the_child() -> str:
        sync_source.rejected(value)
        return sync_source.current()

    assert in_child(in_the_child) == "token-2"
    assert sync_source.current() == "token-1"


def test_a_child_of_asyncio_runs_a_loop_of_its_own(source, provider):
    asyncio.run(source.current())

    def in_the_child() -> str:
        async def renew() -> str:
            await source.rejected("token-1")
            return await source.current()

        return asyncio.run(renew())

    assert in_child(in_the_child) == "token-2"


def test_a_child_forked_during_an_async_fetch_makes_its_own(source, provider):
    said: list[str] = []

    async def fork_in_flight() -> None:
        provider.gate = asyncio.Event()
        caller = asyncio.create_task(source.current())
        while not provider.fetches:
            await asyncio.sleep(0)

        def in_the_child() -> str:
            provider.gate = None
            results: list[str] = []
            # The parent's loop is marked as running in this thread, so the child's runs in another.
            thread = threading.Thread(target=lambda: results.append(asyncio.run(source.current())))
            thread.start()
            thread.join()
            return results[0]

        said.append(in_child(in_the_child))
        provider.gate.set()
        await caller

    asyncio.run(fork_in_flight())
    assert said == ["token-2"]
