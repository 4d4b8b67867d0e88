"""The state machine: one history of one secret, in which rotations go on while everything goes wrong that can.

No rule has a precondition and every rule draws the same things whatever has happened before: threads and servers answer
in an order of their own, and Hypothesis must be able to tell a history again all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tegata_credentials.rotation.event import STEPS, Step

from .story import Incident, Story
from .tally import Tally
from .world import World

# What ends a step, or a call of it, at one of its points.
ENDS = ("crash", "crash", "no answer", "throttled")
# What other processes and people do meanwhile, in every world.
MEANWHILE = (
    *("the same step again", "the rotation goes on", "another token", "pending removed", "current moved", "rollback"),
    *("a client connects", "somebody looks"),
)
SECONDS = (1, 30, 240, 310, 3600, 90_000)


def machine_of(new_world: Callable[[], World], happenings: Sequence[str], tally: Tally) -> type[RuleBasedStateMachine]:
    """Return the machine for one kind of world. `happenings`: what else can happen there."""
    events = (*MEANWHILE, *happenings)
    # First of a list is what a failing history is reduced to.
    whats = st.one_of(st.sampled_from(ENDS), st.sampled_from(events))
    steps = st.sampled_from(STEPS)
    fault = st.tuples(st.integers(0, 28), whats)
    # One for each step that is delivered, so that few of them fall where nothing is going on.
    faults = st.lists(st.one_of(fault, fault, st.none()), min_size=1, max_size=4)

    class History(RuleBasedStateMachine):
        """One history."""

        def __init__(self) -> None:
            super().__init__()
            self.story = Story(new_world(), tally)

        @rule(faults=faults)
        def rotate(self, faults: list[tuple[int, str] | None]) -> None:
            for earlier, fault in enumerate(faults):
                if earlier:
                    self.holds()
                if self.story.rotate_once(fault) is not None:
                    break

        @rule(faults=faults)
        def rotate_and_retry(self, faults: list[tuple[int, str] | None]) -> None:
            for earlier, fault in enumerate(faults):
                if earlier:
                    self.holds()
                self.story.rotate_once(fault)

        @rule(which=st.integers(0, 3), step=steps, fault=fault)
        def late_delivery(self, which: int, step: Step, fault: tuple[int, str]) -> None:
            self.story.late(which, step, [Incident(step, *fault)])

        @rule()
        def twice_at_once(self) -> None:
            self.story.twice_at_once()

        @rule(fault=fault, back=st.booleans())
        def operator(self, fault: tuple[int, str], back: bool) -> None:
            act = self.story.rollback if back else self.story.driven
            act(*fault)

        @rule(event=st.sampled_from(events))
        def between_steps(self, event: str) -> None:
            self.story.happen(event)

        @rule(seconds=st.sampled_from(SECONDS))
        def time_passes(self, seconds: int) -> None:
            self.story.world.clock.advance(seconds)

        @rule()
        def client_connects(self) -> None:
            self.story.world.client_connects(1)

        @rule(anew=st.booleans())
        def complete(self, anew: bool) -> None:
            self.story.complete(anew=anew)

        @invariant()
        def holds(self) -> None:
            """After each rule, and between the steps that one delivers: I1 to I6, and I8 for a client often here.

            The other client comes only when a rule says so: it is the one with old values in its cache. I7 cannot be
            looked at without ending the rotation: `complete` does that, and each history ends with it.
            """
            self.story.world.observe()
            self.story.world.client_connects(0)

        def teardown(self) -> None:
            self.story.end()

    return History
