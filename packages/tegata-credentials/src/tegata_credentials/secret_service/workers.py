"""A few daemon threads that fetch. No thread waits for work, and a slow job does not keep others from a thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial

Job = Callable[[], None]


class Workers:
    """Runs jobs in at most `most` threads at once; jobs that take longer than `slow_after` are not counted among them.

    Even so there are never more than `MOST_THREADS`. A thread that finds no job ends: fetches are minutes apart, and
    a forked process or a finished program has nothing to tidy up. Jobs must not raise.

    >>> done = threading.Event()
    >>> Workers(1, slow_after=2.0, ticks=lambda: 0.0, name="example").submit(done.set)
    >>> done.wait(5.0)
    True
    """

    MOST_THREADS = 32

    def __init__(
        self,
        most: int,
        *,
        slow_after: float,
        ticks: Callable[[], float],
        name: str,
        start: Callable[[Job, str], None] | None = None,
    ) -> None:
        self._most = most
        self._start = start or _start
        self._slow_after = slow_after
        self._ticks = ticks
        self._name = name
        self._lock = threading.Lock()
        self._jobs: deque[Job] = deque()
        self._running: dict[object, float] = {}

    def submit(self, job: Job) -> None:
        """Run `job` in some thread, soon. Raises `RuntimeError` if this process cannot start a thread any more."""
        with self._lock:
            self._jobs.append(job)
        try:
            self.look_after_slow_ones()
        except RuntimeError:
            with self._lock:
                if job in self._jobs and not self._running:
                    self._jobs.remove(job)
                    raise

    def look_after_slow_ones(self) -> None:
        """Start threads for the jobs that wait, as far as is allowed at this moment. Raises `RuntimeError`."""
        while True:
            token = object()
            with self._lock:
                job = self._take(token)
            if job is None:
                return
            try:
                self._start(partial(self._work, token, job), self._name)
            except RuntimeError:
                with self._lock:
                    del self._running[token]
                    self._jobs.appendleft(job)
                raise

    def _take(self, token: object) -> Job | None:
        now = self._ticks()
        slow = sum(now - began >= self._slow_after for began in self._running.values())
        if not self._jobs or len(self._running) - slow >= self._most or len(self._running) >= self.MOST_THREADS:
            return None
        self._running[token] = now
        return self._jobs.popleft()

    def _work(self, token: object, job: Job | None) -> None:
        try:
            while job is not None:
                job()
                with self._lock:
                    del self._running[token]
                    job = self._take(token)
        except BaseException:
            with self._lock:
                del self._running[token]
            with suppress(RuntimeError):
                self.look_after_slow_ones()  # for the jobs that this thread will not come to
            raise


def _start(job: Job, name: str) -> None:
    threading.Thread(target=job, name=name, daemon=True).start()
