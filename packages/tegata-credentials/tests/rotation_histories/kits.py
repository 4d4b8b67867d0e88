"""The stores that histories are told over, each with what else there is to do to it: announce, remove, move by hand."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tegata_credentials.errors import SecretError
from tegata_credentials.rotation.file_store import LABELS, FileVersions
from tegata_credentials.rotation.ports import VersionStore
from tegata_credentials.sources import SecretSource
from tegata_credentials.sources.files import Files
from tegata_credentials.sources.one_by_one import fetch_each
from tegata_credentials.testing.version_store import MemoryVersions
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, PENDING, PREVIOUS, SecretVersion


@dataclass(slots=True)
class Clock:
    """The time of stores, caches and strategies; nobody waits for it."""

    seconds: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds


class Kit(Protocol):
    """One kind of store, with a clock for a history."""

    store: VersionStore
    clock: Clock

    def create(self, name: str, text: str) -> str:
        """Make a secret; return the id by which events name it."""

    def new_token(self, secret: str) -> str:
        """Return the token of a rotation that begins now."""

    def remove_pending(self, secret: str) -> None:
        """Take AWSPENDING away by hand."""

    def move_current(self, secret: str, token: str, *, replacing: str) -> None:
        """Move AWSCURRENT by hand; AWSPREVIOUS follows."""

    def disturb(self, what: str) -> None:
        """Let one of the next calls go wrong on its way, where there is a way."""

    def undisturbed(self) -> None:
        """Let no more calls go wrong."""

    def source(self) -> SecretSource:
        """Return where clients read, by a way of their own."""


class MemoryKit:
    """Versions in memory, announced as by Secrets Manager."""

    def __init__(self) -> None:
        self.clock = Clock()
        self._versions = MemoryVersions()
        self.store: VersionStore = self._versions

    def create(self, name: str, text: str) -> str:
        return self._versions.add(name, text)

    def new_token(self, secret: str) -> str:
        token = str(uuid.uuid4())
        self._versions.announce(secret, token)
        return token

    def remove_pending(self, secret: str) -> None:
        self._versions.move(secret, PENDING, None)

    def move_current(self, secret: str, token: str, *, replacing: str) -> None:
        self._versions.move(secret, CURRENT, token)
        self._versions.move(secret, PREVIOUS, replacing)

    def disturb(self, what: str) -> None:
        """There is no way to go wrong on."""

    def undisturbed(self) -> None:
        """Nothing was."""

    def source(self) -> SecretSource:
        return StoreSource(self.store)


class FileKit:
    """Versions in a directory, and clients that read its files."""

    def __init__(self, directory: Path) -> None:
        self.clock = Clock()
        self._directory = directory
        self._versions = FileVersions(directory, now=self.clock)
        self.store: VersionStore = self._versions

    def create(self, name: str, text: str) -> str:
        self._versions.create(name, HiddenText(text))
        return name

    def new_token(self, secret: str) -> str:
        token = str(uuid.uuid4())
        self._versions.announce(secret, token)
        return token

    def remove_pending(self, secret: str) -> None:
        # No command does this: an editor does.
        labels = self._directory / secret / LABELS
        found = json.loads(labels.read_text())
        found["labels"].pop(PENDING, None)
        labels.write_text(json.dumps(found))

    def move_current(self, secret: str, token: str, *, replacing: str) -> None:
        self._versions.promote(secret, token, replacing=replacing)

    def disturb(self, what: str) -> None:
        """There is no way to go wrong on."""

    def undisturbed(self) -> None:
        """Nothing was."""

    def source(self) -> SecretSource:
        return Files(self._directory)


@dataclass(slots=True)
class StoreSource:
    """Reads secrets for clients out of a store of versions."""

    store: VersionStore
    scheme: str = "memory"

    def fetch(self, secret: str, *, stage: str = CURRENT) -> SecretVersion:
        return self.store.read(secret, stage=stage)

    def fetch_many(self, secrets: Sequence[str]) -> Mapping[str, SecretVersion | SecretError]:
        return fetch_each(self, secrets)

    def close(self) -> None:
        """Nothing is held."""
