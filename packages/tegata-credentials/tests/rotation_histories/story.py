"""What happens in a history, and in which order Secrets Manager, operators and accidents do it; no rules of Hypothesis.

A test may tell a story by hand with these methods: that is how a history that once failed is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tegata_credentials.errors import CredentialError
from tegata_credentials.rotation.errors import NotYet, RotationRefused, TestFailed
from tegata_credentials.rotation.event import STEPS, Step
from tegata_credentials.testing.leaks import text_of

from .interruptions import Crash, Points, crash, no_answer, throttled
from .ledger import Broken
from .tally import Tally
from .world import World

# How often Secrets Manager, or an operator, tries again what must not take longer.
_PATIENCE = 6


@dataclass(frozen=True, slots=True)
class Incident:
    """Something happens at a point of a step. Points are counted from its beginning, modulo how many it has."""

    step: Step
    at: int
    what: str


class Story:
    """One history, of one secret in one world."""

    def __init__(self, world: World, tally: Tally) -> None:
        self.world = world
        self.tally = tally
        self.tokens: list[str] = []
        self.next_step = 0
        self.depth = 0
        tally.histories += 1

    # -- how a rotation goes on

    def rotate(self, incidents: Sequence[Incident] = (), at_most: int = 4) -> BaseException | None:
        """Go on with the rotation, or begin one, for up to four steps or until one fails."""
        self.take_up()
        for _ in range(at_most):
            step = STEPS[self.next_step]
            if (failure := self.deliver(self.tokens[-1], step, incidents)) is not None or step == STEPS[-1]:
                return failure
        return None

    def rotate_once(self, fault: tuple[int, str] | None) -> BaseException | None:
        """Deliver the next step, with something that happens in it."""
        self.take_up()
        step = STEPS[self.next_step]
        return self.deliver(self.tokens[-1], step, [] if fault is None else [Incident(step, *fault)])

    def late(self, which: int, step: Step, incidents: Sequence[Incident] = ()) -> None:
        """Deliver a step of this rotation or of an earlier one again, or before its time."""
        if self.tokens:
            self.deliver(self.tokens[-1 - which % len(self.tokens)], step, incidents)

    def twice_at_once(self) -> None:
        """Deliver the next step to two processes at the same time."""
        self.take_up()
        token, step = self.tokens[-1], STEPS[self.next_step]
        outcomes = self.world.at_once([lambda: self._attempt(token, step, Points())] * 2)
        if None in outcomes:
            self._done(step)

    def rollback(self, at: int = 0, what: str = "") -> None:
        """Let an operator go back: `tegata secrets rollback`. Something may happen at one of its points."""
        points = self._planned({at % self.world.points["finishSecret"]: what} if what else {})
        self._guarded(points, lambda: self.world.rollback(points))

    def driven(self, at: int = 0, what: str = "") -> None:
        """Rotate without Secrets Manager: `tegata secrets rotate`, which resumes what is unfinished."""
        points = self._planned({at * 3 % sum(self.world.points.values()): what} if what else {})
        self._guarded(points, lambda: self.world.drive(points))

    def take_up(self) -> None:
        """Go on with the rotation that is unfinished, whoever has begun it, or begin one."""
        token = self.world.unfinished()
        if token is None:
            self.begin()
        elif [token] != self.tokens[-1:]:
            self.tokens.append(token)
            self.next_step = 0

    def begin(self) -> None:
        """Begin a rotation; whatever is unfinished has been given up before."""
        self.tokens.append(self.world.new_token())
        self.next_step = 0
        self.tally.rotations += 1

    def deliver(self, token: str, step: Step, incidents: Sequence[Incident] = ()) -> BaseException | None:
        """Deliver one step to a new process. Return how it failed."""
        failure = self._attempt(token, step, self._points(step, incidents))
        if token == self.tokens[-1] and step == STEPS[self.next_step]:
            if failure is None:
                self._done(step)
            elif not isinstance(failure, NotYet):
                self.next_step = 0  # Secrets Manager begins a retry with createSecret
        return failure

    def _done(self, step: Step) -> None:
        self.next_step = 0 if step == STEPS[-1] else STEPS.index(step) + 1

    def _attempt(self, token: str, step: Step, points: Points) -> BaseException | None:
        self.tally.steps += 1
        return self._guarded(points, lambda: self.world.invoke(token, step, points))

    def _guarded(self, points: Points, act: Callable[[], object]) -> BaseException | None:
        """Do something of the product's. Every error that is not one of its own is a fault, and so is what one says."""
        points.is_running = True
        try:
            act()
        except Crash as error:
            if points.broken is not None:
                raise points.broken from None
            return error
        except CredentialError as error:
            self.tally.refusals[type(error).__name__] += 1
            self.world.ledger.check_silence(text_of(error), f"the text of {type(error).__name__}")
            return error
        finally:
            points.is_running = False
            self.world.settle()
        if points.broken is not None:
            raise points.broken
        return None

    # -- what goes wrong

    def happen(self, what: str) -> None:
        """Let something happen now."""
        ends: dict[str, Callable[[], None]] = {"crash": crash, "no answer": no_answer, "throttled": throttled}
        if what not in ends and self.depth:
            return  # what happens in the middle of something that happens would be another history
        self.tally.happened[what] += 1
        self.depth += 1
        try:
            ends.get(what, lambda: self._event(what))()
        finally:
            self.depth -= 1

    def _points(self, step: Step, incidents: Sequence[Incident]) -> Points:
        points = self.world.points[step]
        return self._planned({each.at % points: each.what for each in incidents if each.step == step})

    def _planned(self, whats: Mapping[int, str]) -> Points:
        plan: dict[int, Callable[[], None]] = {at: partial(self.happen, what) for at, what in whats.items()}
        points = Points(plan)
        self.world.walked.append(points)
        return points

    def _event(self, what: str) -> None:
        own: dict[str, Callable[[], Any]] = {
            "the same step again": self._same_again,
            "another token": self._another_token,
            "the rotation goes on": self.rotate,
            "rollback": self.rollback,
            "a client connects": lambda: self.world.client_connects(0),
            "somebody looks": self.world.observe,
        }
        own.get(what, lambda: self.world.somebody(what))()

    def _same_again(self) -> None:
        if self.tokens:
            self._attempt(self.tokens[-1], STEPS[self.next_step], Points())

    def _another_token(self) -> None:
        """Somebody gives the rotation up and begins another, which goes as far as it can."""
        self.world.somebody("pending removed")
        if self.world.unfinished() is None:
            self.begin()
            self.rotate()

    # -- I7

    def complete(self, *, anew: bool) -> None:
        """With everything healthy again, a retry, or a new token, brings the rotation to its end."""
        self.world.heal()
        token = self.world.unfinished()
        if token is not None and anew:
            self.world.somebody("pending removed")
        self.take_up()
        failure = self._to_the_end()
        if isinstance(failure, RotationRefused | TestFailed) and self.world.somebody_interfered(self.tokens[-1]):
            # Somebody has moved a label by hand so that this token can never go on. A new one can.
            self.world.somebody("pending removed")
            self.begin()
            failure = self._to_the_end()
        if failure is not None:
            raise Broken(f"I7: a rotation cannot be brought to its end: {type(failure).__name__}: {failure}")
        if self.world.current() != self.tokens[-1]:
            raise Broken("I7: a rotation has ended without a new current version")
        self.tally.completed += 1

    def end(self) -> None:
        """End the history with all of it: the retry, the new token, and a last look at what was said."""
        try:
            if sys.exc_info()[1] is not None:
                return  # it has failed already; and what the product does now would take the frames off that error
            if self.world.unfinished() is not None:
                self.complete(anew=False)
            self.complete(anew=True)
            self.world.observe()
            self.world.client_connects(0)
        finally:
            self.world.close()
        self.tally.add(self.world)

    def _to_the_end(self) -> BaseException | None:
        self.next_step = 0
        waits = 0
        while waits < _PATIENCE:
            step = STEPS[self.next_step]
            failure = self.deliver(self.tokens[-1], step)
            if failure is None:
                if step == STEPS[-1]:
                    return None
            elif isinstance(failure, NotYet):
                waits += 1
                self.world.clock.advance(failure.retry_after)
            else:
                return failure
        return failure
