"""A lock for a moment, which forked processes can trust."""

from __future__ import annotations

import os
import threading
from types import TracebackType


class ForkSafeLock:
    """Keeps threads apart for a few statements. A forked child finds it free, whoever held it in the parent.

    Each process has a lock of its own: an ordinary one, held by another thread at the moment of the fork, would stay
    locked in the child for ever, because that thread does not exist there.

    >>> lock = ForkSafeLock()
    >>> with lock:
    ...     pass
    """

    __slots__ = ("_by_process",)

    def __init__(self) -> None:
        self._by_process: dict[int, threading.Lock] = {}

    def __enter__(self) -> None:
        process = os.getpid()
        lock = self._by_process.get(process)
        if lock is None:
            lock = self._by_process.setdefault(process, threading.Lock())  # of two threads both get the first one's
        lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._by_process[os.getpid()].release()
