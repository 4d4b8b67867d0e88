"""What drivers are tested with: a lock with two places for a key, and a store at which the process ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tegata_credentials.observer import NoObserver
from tegata_credentials.rotation.driver import RotationDriver
from tegata_credentials.rotation.errors import TestFailed
from tegata_credentials.rotation.file_store import FileVersions
from tegata_credentials.rotation.ports import Labels, Versions
from tegata_credentials.rotation.steps import Rotation
from tegata_credentials.testing.version_store import MemoryVersions
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import SecretVersion

NAME = "shop-test-secret-mail"


@dataclass
class Lock:
    """What a secret opens: two places for a key, like a pair of login users. `troubles` are raised one by one."""

    opens_to: set[str] = field(default_factory=lambda: {"key-0"})
    troubles: dict[str, list[Exception]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    made: int = 0

    def create(self, versions: Versions) -> HiddenText:
        self._meet("create")
        self.made += 1
        return HiddenText(f"key-{self.made}-{versions.token[:8]}")

    def apply(self, versions: Versions) -> None:
        self._meet("apply")
        versions.recheck()
        assert versions.pending is not None
        self.opens_to = {versions.current.text, versions.pending.text}

    def test(self, versions: Versions) -> None:
        self._meet("test")
        self._try(versions.pending)

    def may_return_to(self, versions: Versions) -> None:
        self._meet("may_return_to")
        self._try(versions.previous)

    def _try(self, version: SecretVersion | None) -> None:
        if version is None or version.text not in self.opens_to:
            raise TestFailed("the key does not turn")

    def _meet(self, call: str) -> None:
        self.calls.append(call)
        if self.troubles.get(call):
            raise self.troubles[call].pop(0)


@dataclass
class Heard(NoObserver):
    lines: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def audit(self, action: str, **facts: str) -> None:
        self.lines.append((action, facts))


class Crash(BaseException):
    """The process ends here."""


class Fragile:
    """A store at whose n-th call the process ends, before or after the call has been done."""

    def __init__(self, store: FileVersions, crash_at: int, *, afterwards: bool) -> None:
        self._store, self._left, self._afterwards = store, crash_at, afterwards
        self.crashed = False

    def labels(self, secret: str) -> Labels:
        return self._do(lambda: self._store.labels(secret))

    def read(self, secret: str, *, stage: str | None = None, version: str | None = None) -> SecretVersion:
        return self._do(lambda: self._store.read(secret, stage=stage, version=version))

    def put_pending(self, secret: str, token: str, text: HiddenText) -> None:
        self._do(lambda: self._store.put_pending(secret, token, text))

    def promote(self, secret: str, token: str, *, replacing: str) -> None:
        self._do(lambda: self._store.promote(secret, token, replacing=replacing))

    def announce(self, secret: str, token: str) -> None:
        self._do(lambda: self._store.announce(secret, token))

    @contextmanager
    def exclusively(self, secret: str) -> Iterator[None]:
        with self._store.exclusively(secret):
            yield

    def close(self) -> None:
        pass

    def _do(self, call: Callable[[], Any]) -> Any:
        self._left -= 1
        self.crashed = self.crashed or self._left == 0
        if self._left == 0 and not self._afterwards:
            raise Crash
        try:
            return call()
        finally:
            if self._left == 0:
                raise Crash


@dataclass
class Scene:
    store: Any
    lock: Lock
    pauses: list[float] = field(default_factory=list)
    heard: Heard = field(default_factory=Heard)
    time: float = 1000.0

    def driver(self, store: Any = None, **options: Any) -> RotationDriver:
        store = store or self.store
        rotation = Rotation(store, {NAME: self.lock}, observer=self.heard)
        options = {"pause": self.pauses.append, "now": lambda: self.time, "observer": self.heard} | options
        return RotationDriver(store, rotation, **options)

    def current_works(self) -> bool:
        return self.store.read(NAME).text in self.lock.opens_to

    def version(self, label: str) -> str | None:
        return self.store.labels(NAME).holder(label)


def a_directory(directory: Any) -> FileVersions:
    store = FileVersions(directory)
    store.create(NAME, HiddenText("key-0"), "first")
    return store


def a_memory(directory: Any) -> MemoryVersions:
    store = MemoryVersions()
    store.add(NAME, "key-0")
    return store
