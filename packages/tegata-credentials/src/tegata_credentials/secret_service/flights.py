"""One fetch that many wait for, in threads and in event loops; and waiting written once for both.

A read is a generator that yields what it waits for and returns what was read. `drive` runs it in a thread, `adrive` in
an event loop. Whoever stops waiting, by timeout or cancellation, leaves the fetch to the others.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from tegata_credentials.errors import SecretError
from tegata_credentials.secret_service.entry import Moment

Result = TypeVar("Result")


class Flight:
    """One fetch under way. `generation` is that of the entry when it began; `started` is on the clocks of the cache.

    >>> flight = Flight(generation=0, started=Moment(0.0, 0.0))
    >>> flight.land()
    >>> flight.wait(10.0), flight.is_landed
    (None, True)
    """

    __slots__ = ("_event", "_futures", "_lock", "_seen", "_waited_from", "error", "generation", "started")

    def __init__(self, generation: int, started: Moment) -> None:
        self.generation = generation
        self.started = started
        self._waited_from = self._seen = started.ticks
        self.error: SecretError | None = None
        self._lock = threading.Lock()
        self._event = threading.Event()
        self._futures: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}

    @property
    def is_landed(self) -> bool:
        """Whether it has ended, in one way or another."""
        return self._event.is_set()

    def waited_from(self, now: float, unseen: float) -> float:
        """Return the moment (ticks) from which the patience of those who wait is counted: the beginning of the fetch.

        If nobody has looked for more than `unseen` seconds, the whole process may have stood still meanwhile, as a
        Lambda function does between two calls: then it is this moment.
        """
        if now - self._seen > unseen:
            self._waited_from = now
        self._seen = now
        return self._waited_from

    def land(self) -> None:
        """Wake everybody who waits."""
        with self._lock:
            self._event.set()
            waiting, self._futures = self._futures, {}
        for loop, futures in waiting.items():
            with suppress(RuntimeError):  # the loop has ended meanwhile: nobody is waiting there
                loop.call_soon_threadsafe(_release, futures)

    def wait(self, seconds: float) -> None:
        """Wait for the end, or so long."""
        self._event.wait(seconds)

    async def await_end(self, seconds: float) -> None:
        """Wait for the end, or so long, without holding up the event loop."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        with self._lock:
            if self._event.is_set():
                return
            self._futures.setdefault(loop, []).append(future)
        await asyncio.wait([future], timeout=seconds)


def _release(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:  # nobody else ends them: who stops waiting leaves its own behind
        future.set_result(None)


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for a flight, or so long.

    >>> Wait(Flight(0, Moment(0.0, 0.0)), seconds=2.0).seconds
    2.0
    """

    flight: Flight
    seconds: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so long.

    >>> def twice():
    ...     yield Pause(0.25)
    ...     yield Pause(0.5)
    ...     return "done"
    >>> drive(twice(), print)
    0.25
    0.5
    'done'
    """

    seconds: float


Steps: TypeAlias = Generator[Wait | Pause, None, Result]


def drive(steps: Steps[Result], pause: Callable[[float], None]) -> Result:
    """Take the steps in this thread."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
        if isinstance(step, Wait):
            step.flight.wait(step.seconds)
        else:
            pause(step.seconds)


async def adrive(steps: Steps[Result], pause: Callable[[float], Awaitable[None]]) -> Result:
    """Take the steps in this event loop."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
        if isinstance(step, Wait):
            await step.flight.await_end(step.seconds)
        else:
            await pause(step.seconds)
