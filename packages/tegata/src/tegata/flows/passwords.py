"""Password checks in a small pool of their own, so that sign-ins cannot starve the token endpoint (pitfalls P72)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tegata.crypto import passwords
from tegata.protocol.errors import temporarily_unavailable
from tegata.telemetry.spans import PASSWORD_QUEUE_SECONDS, Tracer

_T = TypeVar("_T")


class PasswordPool:
    """argon2id in `threads` threads, at most `queue` checks waiting: memory is threads x 19 MiB, time is bounded."""

    def __init__(self, *, threads: int = 2, queue: int = 100, tracer: Tracer | None = None) -> None:
        self._tracer = tracer
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="password")
        self._free = threads + queue

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is right. Raises `temporarily_unavailable` when too many checks wait already."""
        return await self._run(lambda: passwords.verify_password(password_hash, password))

    async def hash(self, password: str) -> str:
        """Return a new hash. Raises `temporarily_unavailable`."""
        return await self._run(lambda: passwords.hash_password(password))

    async def _run(self, work: Callable[[], _T]) -> _T:
        if self._free <= 0:
            raise temporarily_unavailable("password_queue_full")
        self._free -= 1
        try:
            if self._tracer is not None:
                return await self._traced(self._tracer, work)
            return await self._in_thread(work)
        finally:
            self._free += 1

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def _traced(self, tracer: Tracer, work: Callable[[], _T]) -> _T:
        """Do the work in a span that says how much of its time was waiting for a thread."""
        asked = time.perf_counter()

        def waited_and_done() -> tuple[float, _T]:
            begun = time.perf_counter()
            return begun - asked, work()

        with tracer.work("password check") as span:
            waited, done = await self._in_thread(waited_and_done)
            span.set(PASSWORD_QUEUE_SECONDS, waited)
        return done

    def close(self) -> None:
        """Let running checks end and take no more."""
        self._executor.shutdown(wait=False, cancel_futures=True)
