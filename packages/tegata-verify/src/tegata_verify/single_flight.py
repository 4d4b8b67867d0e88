"""Lets many callers wait for one answer (each for itself in its own event loop)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Answer = TypeVar("Answer")


class SingleFlight(Generic[Key, Answer]):
    """At most one piece of work for each key at a time. It belongs to no caller: one who is cancelled leaves it be.

    >>> async def answer() -> int:
    ...     return 42
    >>> asyncio.run(SingleFlight[str, int]().join("question", answer))
    42
    """

    def __init__(self) -> None:
        self._running: dict[Key, asyncio.Task[Answer]] = {}
        self._process = os.getpid()

    def __len__(self) -> int:
        """Return how many are under way."""
        self._forget_lost()
        return len(self._running)

    def is_running(self, key: Key) -> bool:
        """Tell whether there is something to wait for."""
        return self._find(key) is not None

    async def join(self, key: Key, start: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        """Wait for the work under way, or start it. Raises what it raises."""
        task = self._find(key)
        if task is None:
            task = asyncio.create_task(start(), name="tegata-verify")
            self._running[key] = task
            task.add_done_callback(lambda done: self._land(key, done))
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """Stop what is still under way in this loop."""
        loop = asyncio.get_running_loop()
        tasks = [task for task in self._running.values() if task.get_loop() is loop]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget_lost(self) -> None:
        # What ran in a loop that was left, or in the process we were forked from, will never land.
        if self._process != os.getpid():
            self._process, self._running = os.getpid(), {}
        for key, task in list(self._running.items()):
            if task.done() or not task.get_loop().is_running():
                self._running.pop(key, None)

    def _find(self, key: Key) -> asyncio.Task[Answer] | None:
        task = self._running.get(key)
        # A test client runs each request in a loop of its own: the task of another loop would never wake us.
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            return None
        return task

    def _land(self, key: Key, task: asyncio.Task[Answer]) -> None:
        if self._running.get(key) is task:
            del self._running[key]
        if not task.cancelled():
            task.exception()  # looked at, even if every caller has gone
