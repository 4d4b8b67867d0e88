"""An event loop in a thread of its own, for callers that have none: the synchronous front ends wait for its answers."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

Result = TypeVar("Result")


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
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = os.getpid()

    def run(self, coroutine: Coroutine[Any, Any, Result], *, timeout_seconds: float) -> Result:
        """Return what the coroutine returns. Raises what it raises, or `TimeoutError`; it is cancelled then."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._running())
        try:
            return future.result(timeout_seconds)
        except FutureTimeout:
            future.cancel()
            raise TimeoutError(f"no answer within {timeout_seconds:g} s") from None

    def close(self) -> None:
        """End the loop and its thread; the next `run` starts others."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None and self._process == os.getpid():
            loop.call_soon_threadsafe(loop.stop)

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._process != os.getpid():
            self._lock, self._loop, self._process = threading.Lock(), None, os.getpid()
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_serve, args=(self._loop,), name="tegata-verify", daemon=True).start()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
