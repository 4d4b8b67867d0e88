"""One source in several event loops, one after the other, also such as were not ended properly."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref


async def settle() -> None:
    """Let everything that can run, run."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_one_source_serves_several_event_loops(source, provider):
    assert asyncio.run(source.current()) == "token-1"
    assert asyncio.run(source.current()) == "token-1"


def test_a_fetch_cut_off_with_its_loop_does_not_block_the_next_loop(new_source, provider):
    source = new_source(provider)

    async def give_up() -> None:
        provider.gate = asyncio.Event()
        caller = asyncio.create_task(source.current())
        await settle()
        caller.cancel()

    asyncio.run(give_up())
    provider.gate = None
    assert asyncio.run(source.current()) == "token-2"


def test_a_loop_closed_with_a_fetch_under_way_is_forgotten(new_source, provider):
    source = new_source(provider)
    loop = asyncio.new_event_loop()
    provider.gate = asyncio.Event()
    caller = loop.create_task(source.current())
    loop.run_until_complete(asyncio.sleep(0))
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.gather(caller, return_exceptions=True))
    loop.close()
    provider.gate = None
    assert asyncio.run(source.current()) == "token-2"


def test_a_loop_that_was_just_dropped_is_not_kept(new_source, provider):
    source = new_source(provider)

    def leave_behind() -> weakref.ref[asyncio.AbstractEventLoop]:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)  # it would complain about its pending tasks
        provider.gate = asyncio.Event()
        caller = loop.create_task(source.current())
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(asyncio.sleep(0))
        assert not caller.done()
        loop.close()
        return weakref.ref(loop)

    left = leave_behind()
    provider.gate = None
    assert asyncio.run(source.current()) == "token-2"
    gc.collect()
    assert left() is None


def test_two_loops_in_two_threads_share_the_token(source, provider):
    asyncio.run(source.current())
    seen: list[str] = []
    threads = [threading.Thread(target=lambda: seen.append(asyncio.run(source.current()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["token-1"] * 8
    assert provider.fetches == 1
