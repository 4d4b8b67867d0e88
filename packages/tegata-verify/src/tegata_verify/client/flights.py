"""Keeps one token and renews it in time: one request to the server at a time, whoever waits for it.

The request runs in a thread of its own, so that asyncio tasks of any loop and threads wait for the same one, no event
loop reads files or signs, and nobody's cancellation ends what others wait for.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field

from tegata_verify.client.errors import Obstacle, TokenUnavailable
from tegata_verify.client.records import AccessToken, HiddenText, TokenPolicy

Outcome = AccessToken | TokenUnavailable
Obtain = Callable[[], AccessToken]

_log = logging.getLogger("tegata_verify.client")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The clocks and the chance that a cell goes by. `clock` is the time of day, `ticks` are never set back."""

    clock: Callable[[], float] = time.time
    ticks: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.SystemRandom().random


@dataclass(slots=True, eq=False)
class _Held:
    token: AccessToken
    arrived_clock: float
    arrived_ticks: float
    refresh_after: float
    dead_after: float
    replaces_rejected: bool


@dataclass(slots=True, eq=False)
class _Flight:
    started: float
    landed: Future[Outcome] = field(default_factory=Future)


@dataclass(slots=True, eq=False)
class _Process:
    """What belongs to one process; a forked one begins with the token and nothing else."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    flight: _Flight | None = None


class TokenCell:
    """Holds the token that `obtain` brings, for tasks and threads alike.

    `name` says in logs what it is for. `ends_at`, in time of day, bounds its life, whatever the server says.
    """

    def __init__(
        self,
        obtain: Obtain,
        *,
        name: str,
        policy: TokenPolicy,
        surroundings: Surroundings,
        ends_at: float | None = None,
    ) -> None:
        self._obtain = obtain
        self._name = name
        self._policy = policy
        self._around = surroundings
        self._ends_at = ends_at
        self._held: _Held | None = None
        self._failure: TokenUnavailable | None = None
        self._rest_until = 0.0
        self._failures = 0
        self._rejected = False
        self._processes: dict[int, _Process] = {}

    def get(self) -> AccessToken:
        """Return a living token. Blocks only while there is none. Raises `TokenUnavailable`."""
        found = self._look()
        if isinstance(found, AccessToken):
            return found
        try:
            return _unwrap(found.landed.result(self._patience(found)))
        except FutureTimeout:
            pass
        raise self._give_up(found)

    async def aget(self) -> AccessToken:
        """Return a living token. Waits only while there is none. Raises `TokenUnavailable`."""
        found = self._look()
        if isinstance(found, AccessToken):
            return found
        landed = asyncio.wrap_future(found.landed)
        try:
            done, _ = await asyncio.wait([landed], timeout=self._patience(found))
        finally:
            landed.cancel()  # only this waiter's end of it: the loop may be gone when the answer comes
        if done:
            return _unwrap(landed.result())
        raise self._give_up(found)

    def rejected(self, value: str) -> None:
        """Say that a service has refused `value`: the next `get` brings another one.

        Only the token that is held now is dropped, so that many refusals lead to one request; and a service that
        refuses every token does not make us ask at each call.
        """
        process = self._process()
        with process.lock:
            held = self._held
            if held is None or held.token.value != value:
                return
            if held.replaces_rejected and self._age(held) < self._policy.rejection_pause:
                return
            self._held, self._rejected = None, True

    def _process(self) -> _Process:
        pid = os.getpid()
        # `setdefault` is one step: two threads of a new process agree without a lock that a fork could have copied.
        return self._processes.get(pid) or self._processes.setdefault(pid, _Process())

    def _age(self, held: _Held) -> float:
        # The time of day may be set; the other clock stands still while the machine sleeps.
        return max(self._around.clock() - held.arrived_clock, self._around.ticks() - held.arrived_ticks)

    def _living(self) -> _Held | None:
        held = self._held
        return held if held is not None and self._age(held) < held.dead_after else None

    def _look(self) -> AccessToken | _Flight:
        process = self._process()
        with process.lock:
            held = self._living()
            if held is not None and self._age(held) < held.refresh_after:
                return held.token
            resting = self._failure is not None and self._around.ticks() < self._rest_until
            if process.flight is None and not resting:
                process.flight = self._depart(process)
            if held is not None:
                return held.token
            if process.flight is not None:
                return process.flight
            assert self._failure is not None
            raise self._failure.again()

    def _patience(self, flight: _Flight) -> float:
        return max(0.0, flight.started + self._policy.timeout - time.monotonic())

    def _give_up(self, flight: _Flight) -> TokenUnavailable:
        error = TokenUnavailable(Obstacle.TIMEOUT, f"no answer within {self._policy.timeout:g} s")
        process = self._process()
        with process.lock:
            if process.flight is flight:
                process.flight = None
                self._fail(error)
        return error

    def _depart(self, process: _Process) -> _Flight:
        flight = _Flight(time.monotonic())
        flight.landed.set_running_or_notify_cancel()  # from now on a waiter's cancellation does not reach it
        threading.Thread(target=self._fly, args=(process, flight), name="tegata-client", daemon=True).start()
        return flight

    def _fly(self, process: _Process, flight: _Flight) -> None:
        outcome = attempt(self._obtain)
        with process.lock:
            if isinstance(outcome, AccessToken):
                self._keep(outcome)
            elif process.flight is flight:
                self._fail(outcome)
            if process.flight is flight:
                process.flight = None
        self._tell(outcome)
        flight.landed.set_result(outcome)

    def _keep(self, token: AccessToken) -> None:
        policy = self._policy
        life = policy.unknown_life if token.lifetime_seconds is None else token.lifetime_seconds
        if self._ends_at is not None:
            life = max(0.0, min(life, self._ends_at - self._around.clock()))
        share = policy.refresh_share - policy.jitter_share * self._around.chance()
        # A token of a few seconds is used, too: its margin is a part of its life.
        dead_after = life - min(policy.margin, life * (1 - policy.refresh_share))
        around = self._around
        self._held = _Held(token, around.clock(), around.ticks(), life * share, dead_after, self._rejected)
        self._failure, self._failures, self._rejected = None, 0, False

    def _fail(self, error: TokenUnavailable) -> None:
        policy = self._policy
        pause = min(policy.failure_pause * 2**self._failures, policy.longest_pause)
        if error.retry_after_seconds is not None:
            pause = min(max(pause, error.retry_after_seconds), policy.longest_retry_after)
        self._failures = min(self._failures + 1, 30)
        self._failure, self._rest_until = error, self._around.ticks() + pause

    def _tell(self, outcome: Outcome) -> None:
        if isinstance(outcome, AccessToken):
            _log.info("token for %s obtained", self._name, extra={"life_seconds": outcome.lifetime_seconds})
        else:
            _log.warning("no token for %s: %s", self._name, outcome, extra={"reason": str(outcome.obstacle)})


def attempt(obtain: Obtain) -> Outcome:
    """Return the token or the error as a value: an exception would be shared by all who wait."""
    try:
        return obtain()
    except TokenUnavailable as error:
        return error.again()
    except Exception as error:  # noqa: BLE001 - a key or a secret of somebody else's making; its text may hold one
        return TokenUnavailable(Obstacle.NOT_CONFIGURED, type(error).__name__)


def _unwrap(outcome: Outcome) -> AccessToken:
    if isinstance(outcome, TokenUnavailable):
        raise outcome.again()
    return outcome


def hidden(value: str) -> HiddenText:
    """Return the text as one that no `repr` shows."""
    return value if isinstance(value, HiddenText) else HiddenText(value)
