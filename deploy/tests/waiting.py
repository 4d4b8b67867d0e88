"""Waits for something of a process that runs."""

from __future__ import annotations

import time
from collections.abc import Callable

from containers.sandbox import Running

PATIENCE_SECONDS = 120


def until(is_so: Callable[[], bool], running: Running) -> None:
    """Return when it is so; fail when the process ends or the time does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert running.status is None, running.log
        assert time.monotonic() < deadline, running.log
        time.sleep(0.05)
