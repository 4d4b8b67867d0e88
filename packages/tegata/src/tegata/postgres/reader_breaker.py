"""When to ask a reader again that did not answer: not at each request."""

from __future__ import annotations

import time
from collections.abc import Callable


class Breaker:
    """Lets everybody through until one fails; then one trial after each pause, and pauses double."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        first_pause_seconds: float = 1.0,
        longest_pause_seconds: float = 60.0,
    ) -> None:
        self._clock = clock
        self._first = first_pause_seconds
        self._longest = longest_pause_seconds
        self._pause = 0.0  # 0: closed
        self._trial_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the last that was heard is a failure."""
        return self._pause > 0

    def may_try(self) -> bool:
        """Whether the caller may ask now. After a pause one caller may; the next one is let through a pause later."""
        if not self.is_open:
            return True
        now = self._clock()
        if now < self._trial_at:
            return False
        # Lengthened when the trial begins: of many requests that fail together only the first counts.
        self._pause = min(self._pause * 2, self._longest)
        self._trial_at = now + self._pause
        return True

    def failed(self) -> None:
        """Begin to pause."""
        if not self.is_open:
            self._pause = self._first
            self._trial_at = self._clock() + self._first

    def succeeded(self) -> None:
        """Let everybody through again."""
        self._pause = 0.0
