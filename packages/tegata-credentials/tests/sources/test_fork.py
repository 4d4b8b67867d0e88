"""A forked process has its own locks, fetches and connections, and keeps the token."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from ..forking import in_child  # noqa: TID252 - tests are no installed package

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


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
