"""An event loop in a thread of its own, for callers that have none: the synchronous front ends wait for its answers."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any, TypeVar

from tegata_verify.locks import ForkSafeLock

Result = TypeVar("Result")

_LAST_WORDS_SECONDS = 5


@dataclass(frozen=True, slots=True)
class _Running:
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread
    process: int


class Background:
    """Runs coroutines in one event loop of a daemon thread, which is started when it is first needed.

    After a fork the child starts a thread of its own. What runs in the loop belongs to that loop: share objects between
    callers only through `run`.

    >>> async def answer() -> int:
    ...     return 42
    >>> background = Background()
    >>> background.run(answer(), timeout_seconds=5.0)
    42
    >>> background.close()
    """

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._running: _Running | None = None

    def run(self, coroutine: Coroutine[Any, Any, Result], *, timeout_seconds: float) -> Result:
        """Return what the coroutine returns. Raises what it raises, or `TimeoutError`; it is cancelled then."""
        future = self.start(coroutine)
        try:
            return future.result(timeout_seconds)
        except CancelledError:
            raise TimeoutError("closed before there was an answer") from None
        except FutureTimeout:
            if not future.cancel():
                return future.result()  # it ended in this very moment, perhaps with a TimeoutError of its own
            raise TimeoutError(f"no answer within {timeout_seconds:g} s") from None

    def start(self, coroutine: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Begin with the coroutine and return at once; its end may be waited for."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop())

    def close(self) -> None:
        """Cancel what runs, end the loop and its thread; the next `run` starts others."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None and running.process == os.getpid():
            running.loop.call_soon_threadsafe(running.loop.stop)
            running.thread.join(_LAST_WORDS_SECONDS)

    def _loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            running = self._running
            if running is None or running.process != os.getpid():
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=_serve, args=(loop,), name="tegata-verify", daemon=True)
                running = self._running = _Running(loop, thread, os.getpid())
                thread.start()
            return running.loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
