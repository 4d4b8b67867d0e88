"""The stores that histories are told over, each with what else there is to do to it: announce, remove, move by hand."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tegata_credentials.errors import SecretError, SecretNotFound
from tegata_credentials.rotation.aws_store import AwsVersions
from tegata_credentials.rotation.file_store import LABELS, FileVersions
from tegata_credentials.rotation.ports import Labels, VersionStore
from tegata_credentials.sources import SecretSource
from tegata_credentials.sources.files import Files
from tegata_credentials.sources.one_by_one import fetch_each
from tegata_credentials.testing.secrets_manager import (
    DUPLICATED,
    INTERNAL_ERROR,
    LOST_RESPONSE,
    THROTTLED,
    Fault,
    StandIn,
)
from tegata_credentials.testing.secrets_manager.stand_in import StandInError, new_token
from tegata_credentials.testing.version_store import MemoryVersions
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, PENDING, PREVIOUS, SecretVersion

_FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:rotation"
# What can happen to calls on their way: how many are struck, and by what. boto3 tries each call four times.
FAULTS: Mapping[str, tuple[int, Fault]] = {
    "throttled twice": (2, THROTTLED),
    "throttled for good": (4, THROTTLED),
    "answer lost": (1, LOST_RESPONSE),
    "server error": (1, INTERNAL_ERROR),
    "call duplicated": (1, DUPLICATED),
}


@dataclass(slots=True)
class Clock:
    """The time of stores, caches and strategies; nobody waits for it."""

    seconds: float = 1_800_000_000.0
    before: list[Callable[[], None]] = field(default_factory=list)
    """What has to end before any time passes."""

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        for end in self.before:
            end()
        self.seconds += seconds


class Kit(Protocol):
    """One kind of store, with a clock for a history."""

    store: VersionStore
    watched: VersionStore
    """The same versions, seen by a way on which nothing goes wrong."""
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
        self.watched = self.store

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
        self.watched = self.store

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


class SecretsManagerKit:
    """Secrets Manager's stand-in over HTTP, where a call can be lost on its way, and boto3 tries it again.

    Labels are moved by hand past the faults, as from another machine.
    """

    def __init__(self, stand_in: StandIn, versions: AwsVersions) -> None:
        self.clock = Clock()
        self.store: VersionStore = versions
        self.watched: VersionStore = _Watched(stand_in)
        self._stand_in = stand_in

    def create(self, name: str, text: str) -> str:
        arn: str = self._control("CreateSecret", Name=name, SecretString=text, ClientRequestToken=new_token())["ARN"]
        self._stand_in.set_rotation_lambda(arn, _FUNCTION)
        return arn

    def new_token(self, secret: str) -> str:
        labels = self.watched.labels(secret)
        if labels.holder(PENDING) not in (None, labels.holder(CURRENT)):
            # Left on a version that somebody has replaced by hand: RotateSecret refuses, and the runbook says this.
            self.remove_pending(secret)
        token = new_token()
        self._control("RotateSecret", SecretId=secret, ClientRequestToken=token)
        return token

    def remove_pending(self, secret: str) -> None:
        pending = self.watched.labels(secret).holder(PENDING)
        self._control("UpdateSecretVersionStage", SecretId=secret, VersionStage=PENDING, RemoveFromVersionId=pending)

    def move_current(self, secret: str, token: str, *, replacing: str) -> None:
        moved = {"MoveToVersionId": token, "RemoveFromVersionId": replacing}
        self._control("UpdateSecretVersionStage", SecretId=secret, VersionStage=CURRENT, **moved)

    def disturb(self, what: str) -> None:
        times, fault = FAULTS.get(what, (0, THROTTLED))
        if times:
            self._stand_in.faults.next("*", fault, times=times)

    def undisturbed(self) -> None:
        self._stand_in.faults.clear()

    def source(self) -> SecretSource:
        return StoreSource(self.store, "awssm")

    def _control(self, operation: str, **document: Any) -> Any:
        return self._stand_in.control("POST", "/", operation, document)


class _Watched:
    """Reads the stand-in past faults and past boto3, which is most of what a call costs."""

    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in

    def labels(self, secret: str) -> Labels:
        found = self._stand_in.control("POST", "/", "DescribeSecret", {"SecretId": secret})
        stages = {version: frozenset(held) for version, held in found["VersionIdsToStages"].items()}
        return Labels(secret, found["Name"], stages)

    def read(self, secret: str, *, stage: str | None = None, version: str | None = None) -> SecretVersion:
        named = {"SecretId": secret, "VersionStage": stage, "VersionId": version}
        which = {name: value for name, value in named.items() if value is not None}
        try:
            found = self._stand_in.control("POST", "/", "GetSecretValue", which)
        except StandInError:
            raise SecretNotFound(secret) from None
        return SecretVersion(secret, found["VersionId"], HiddenText(found["SecretString"]))

    def put_pending(self, secret: str, token: str, text: HiddenText) -> None:
        raise NotImplementedError

    def promote(self, secret: str, token: str, *, replacing: str) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is held."""
