"""How many histories are told, of which kind, and with which chance."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.stateful import run_state_machine_as_test

from .history import machine_of
from .tally import Tally
from .world import World

VARIABLE = "TEGATA_HISTORIES"
# In `make test`. `make nightly` tells ten times as many.
SHARES = {
    "alternating users, memory": 58,
    "alternating users, files": 12,
    "alternating users, Secrets Manager": 5,
    "single user, memory": 32,
    "single user, Secrets Manager": 4,
    "signing keys, memory": 34,
    "signing keys, files": 18,
    "generic token, memory": 34,
    "generic token, Secrets Manager": 5,
}


def is_nightly() -> bool:
    """Whether this is the long run."""
    return os.environ.get(VARIABLE) == "nightly"


def histories(kind: str) -> int:
    """How many of this kind are told."""
    return SHARES[kind] * (10 if is_nightly() else 1)


def tell(kind: str, new_world: Callable[[], World], happenings: Sequence[str]) -> Tally:
    """Tell the histories of one kind; return what they have done. Raises what broke, after making it short."""
    wanted = histories(kind)
    tally = Tally()
    run_state_machine_as_test(machine_of(new_world, happenings, tally), settings=settings(**options(wanted)))
    assert tally.histories >= wanted, f"{tally.histories} histories of {wanted} were told"
    return tally


def options(examples: int) -> dict[str, Any]:
    """`make test` tells the same histories each time, so that a change is what makes it fail; the nightly run others.

    It keeps what failed in `.hypothesis`, tells that first the next time, and prints how to tell it elsewhere.
    """
    night = is_nightly()
    return {
        "max_examples": examples,
        "stateful_step_count": 24 if night else 12,
        "derandomize": not night,
        "database": DirectoryBasedExampleDatabase(Path(".hypothesis", "histories")) if night else None,
        "print_blob": True,
        "deadline": None,
        "report_multiple_bugs": False,
        "phases": (Phase.reuse, Phase.generate, Phase.shrink),
        "suppress_health_check": list(HealthCheck),
    }
