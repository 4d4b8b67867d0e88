"""Whether this machine may say what has expired: its clock and the database's have to agree.

A clock that is years ahead would end every session and drop every month of the audit log, beyond recall.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tegata.cli.failures import CommandFailure
from tegata.storage.ports import OperatorStorage

MOST_SECONDS_APART = 300.0


async def agreed_time(
    storage: OperatorStorage, clock: Callable[[], float] = time.time, *, so: str = "nothing is deleted"
) -> float:
    """Return the time. Raises `CommandFailure` if the two clocks are further apart than five minutes."""
    here, there = clock(), await storage.store_time()
    if abs(here - there) > MOST_SECONDS_APART:
        side = "ahead of" if here > there else "behind"
        raise CommandFailure(
            f"this machine's clock is {abs(here - there):.0f} s {side} the database's, so {so}: set both by NTP"
        )
    return here
