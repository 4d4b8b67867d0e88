"""A clock that moves only when it is told to."""

from __future__ import annotations


class SetClock:
    """Call it for the time in seconds since the epoch; `advance` moves it."""

    def __init__(self, now: float = 1_800_000_000.25) -> None:
        # Not a whole second: rounding must not be what makes a test pass.
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
