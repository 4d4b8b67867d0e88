"""The pool of password checks: bounded, and apart from everything else (pitfalls P72)."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tegata.flows.passwords import PasswordPool
from tegata.protocol.errors import OAuthError
from tegata.telemetry.spans import PASSWORD_QUEUE_SECONDS, Incoming
from tegata.testing.spans import KeptSpans

pytestmark = pytest.mark.anyio


async def outcome(pool: PasswordPool, work: threading.Event) -> str:
    """Run work that ends when `work` is set; return how it went."""
    try:
        await pool._run(work.wait)
    except OAuthError as error:
        return error.reason
    return "done"


async def test_more_checks_than_may_wait_are_refused_at_once_and_room_comes_back() -> None:
    pool, work = PasswordPool(threads=1, queue=2), threading.Event()
    tasks = [asyncio.create_task(outcome(pool, work)) for _ in range(5)]
    await asyncio.sleep(0)
    refused = [task.result() for task in tasks if task.done()]
    assert refused == ["password_queue_full"] * 2
    work.set()
    assert sorted([await task for task in tasks]) == ["done"] * 3 + ["password_queue_full"] * 2
    assert await outcome(pool, work) == "done"
    pool.close()


async def test_the_event_loop_goes_on_while_a_check_runs() -> None:
    pool, work = PasswordPool(threads=1, queue=0), threading.Event()
    check = asyncio.create_task(outcome(pool, work))
    await asyncio.sleep(0.01)
    assert not check.done()
    work.set()
    assert await check == "done"
    pool.close()


async def test_a_caller_that_goes_away_leaves_its_room_to_others() -> None:
    pool, work = PasswordPool(threads=1, queue=1), threading.Event()
    running, waiting = [asyncio.create_task(outcome(pool, work)) for _ in range(2)]
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    another = asyncio.create_task(outcome(pool, work))
    await asyncio.sleep(0)
    work.set()
    assert (await running, await another) == ("done", "done")
    pool.close()


async def test_a_fault_in_a_check_reaches_the_caller_and_frees_its_room() -> None:
    pool = PasswordPool(threads=1, queue=0)

    def fail() -> None:
        raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await pool._run(fail)
    pool.close()


async def test_hashing_and_checking_agree() -> None:
    pool = PasswordPool(threads=2, queue=2)
    kept = await pool.hash("pässwörd")
    assert await asyncio.gather(
        pool.verify(kept, "pässwörd"), pool.verify(kept, "password"), pool.verify(None, "pässwörd")
    ) == [True, False, False]
    pool.close()


async def test_a_check_says_how_long_it_waited_for_a_thread() -> None:
    kept, work = KeptSpans(), threading.Event()
    pool = PasswordPool(threads=1, queue=2, tracer=kept.tracer)
    with kept.tracer.request("POST /{tenant}/sign-in", {}, Incoming((), continued=False)):
        tasks = [asyncio.create_task(outcome(pool, work)) for _ in range(4)]
        await asyncio.sleep(0)
        work.set()
        assert sorted([await task for task in tasks]) == ["done"] * 3 + ["password_queue_full"]
    checks = kept.named("password check")
    waited = [(check.attributes or {})[PASSWORD_QUEUE_SECONDS] for check in checks]
    assert len(waited) == 3
    assert all(isinstance(seconds, float) and seconds >= 0 for seconds in waited)
    pool.close()
