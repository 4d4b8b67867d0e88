"""Histories of a database secret whose one user changes its own password, on PostgreSQL 18."""

from __future__ import annotations

from collections.abc import Callable

from .databases import HAPPENINGS, SingleWorld
from .kits import MemoryKit
from .profiles import tell
from .servers import Servers


def test_one_user_is_never_locked_out_for_good(pair_18: Servers, count: Callable[..., None]):
    kind = "single user, memory"
    tally = tell(kind, lambda: SingleWorld(MemoryKit(), pair_18), HAPPENINGS)
    count(f"histories of {kind}", **tally.figures())
