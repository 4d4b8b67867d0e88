"""Histories of a database secret with two users that take turns, on PostgreSQL 18 and 15."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .databases import HAPPENINGS, AlternatingWorld
from .kits import FileKit, MemoryKit
from .profiles import tell
from .servers import Servers


def test_two_users_take_turns_whatever_happens(pair_18: Servers, count: Callable[..., None]):
    kind = "alternating users, memory"
    tally = tell(kind, lambda: AlternatingWorld(MemoryKit(), pair_18), HAPPENINGS)
    count(f"histories of {kind}", **tally.figures())


def test_two_users_take_turns_in_files(pair_15: Servers, private_directory: Path, count: Callable[..., None]):
    kind = "alternating users, files"
    tally = tell(kind, lambda: AlternatingWorld(FileKit(private_directory), pair_15), HAPPENINGS)
    count(f"histories of {kind}", **tally.figures())
