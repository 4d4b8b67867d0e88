"""Waits for something of a process that runs."""

from __future__ import annotations

import time
from collections.abc import Callable

from containers.sandbox import Running

PATIENCE_SECONDS = 120


def until_reached(run: Callable[[], Running]) -> Running:
    """Run a command again that could not wait for its database any longer: on a machine so busy the ten seconds that
    commands wait for a connection can be too few, and engines start a job again that ends with this status.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (done := run()).status == 3 and "connection timeout expired" in done.log and time.monotonic() < deadline:
        time.sleep(0.1)
    return done


def until(is_so: Callable[[], bool], running: Running) -> None:
    """Return when it is so; fail when the process ends or the time does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert running.status is None, running.log
        assert time.monotonic() < deadline, running.log
        time.sleep(0.05)
