"""Where the service takes time and chance from; tests hand in their own."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tegata_credentials.secret_service.entry import Moment


@dataclass(frozen=True, slots=True)
class Timing:
    """Two clocks in seconds, a random share in [0, 1), and two ways to wait.

    >>> stopped = Timing(ticks=lambda: 10.0, wall=lambda: 1_800_000_000.0)
    >>> stopped.now().ticks
    10.0
    """

    ticks: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    share: Callable[[], float] = random.random
    pause: Callable[[float], None] = time.sleep
    apause: Callable[[float], Awaitable[None]] = asyncio.sleep

    def now(self) -> Moment:
        """Read both clocks."""
        return Moment(self.ticks(), self.wall())
