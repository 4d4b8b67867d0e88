"""Histories of signing keys, and of keys of somebody else's API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .external import ExternalWorld
from .kits import FileKit, MemoryKit
from .profiles import tell
from .signing import SigningWorld


def test_every_token_verifies_wherever_it_may_go(count: Callable[..., None]):
    kind = "signing keys, memory"
    count(f"histories of {kind}", **tell(kind, lambda: SigningWorld(MemoryKit()), ()).figures())


def test_every_token_verifies_with_keys_in_files(private_directory: Path, count: Callable[..., None]):
    kind = "signing keys, files"
    count(f"histories of {kind}", **tell(kind, lambda: SigningWorld(FileKit(private_directory)), ()).figures())


def test_a_key_of_an_api_is_good_for_as_long_as_somebody_may_have_it(count: Callable[..., None]):
    kind = "generic token, memory"
    count(f"histories of {kind}", **tell(kind, lambda: ExternalWorld(MemoryKit()), ()).figures())
