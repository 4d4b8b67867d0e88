"""A store that a test directs, clocks that stand still, and an observer that remembers."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tegata_credentials.errors import SecretError, SecretNotFound
from tegata_credentials.secret_service import Timing
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, SecretVersion

NOW = 1_800_000_000.0
PATIENCE_OF_A_TEST = 60.0


@dataclass
class Clock:
    """Both clocks of a service. Whoever pauses moves them on instead of waiting."""

    wall: float = NOW
    ticks: float = 1000.0
    share: float = 0.0
    pauses: list[float] = field(default_factory=list)
    on_pause: Callable[[], None] = lambda: None

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.ticks += seconds

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.pass_by(seconds)
        self.on_pause()

    async def apause(self, seconds: float) -> None:
        self.pause(seconds)
        await asyncio.sleep(0)

    def timing(self) -> Timing:
        return Timing(lambda: self.ticks, lambda: self.wall, lambda: self.share, self.pause, self.apause)


class Store:
    """A source that answers as scripted, counts, and notices if it is asked twice at once for one secret."""

    scheme = "script"

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], SecretVersion | BaseException] = {}
        self.gates: dict[str, threading.Event] = {}
        self.calls: list[tuple[str, ...]] = []
        self.batch_failure: BaseException | None = None
        self.closed = 0
        self.twice_at_once: list[str] = []
        self.most_at_once = 0
        self._inside: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def put(self, secret: str, value: Any, version: str, stage: str = CURRENT) -> SecretVersion:
        text = HiddenText(value if isinstance(value, str) else json.dumps(value))
        made = self.held[secret, stage] = SecretVersion(secret, version, text, frozenset({stage}))
        return made

    def fail(self, secret: str, error: BaseException, stage: str = CURRENT) -> None:
        self.held[secret, stage] = error

    def shut(self, secret: str) -> threading.Event:
        """From now on calls for `secret` wait until the event that is returned is set."""
        gate = self.gates[secret] = threading.Event()
        return gate

    def fetch(self, secret: str, *, stage: str = CURRENT) -> SecretVersion:
        with self._entered((secret,), stage):
            return self._answer(secret, stage)

    def fetch_many(self, secrets: Sequence[str]) -> Mapping[str, SecretVersion | SecretError]:
        with self._entered(tuple(secrets), CURRENT):
            if self.batch_failure is not None:
                raise self.batch_failure
            return {secret: self._outcome(secret) for secret in secrets}

    def close(self) -> None:
        self.closed += 1

    def _entered(self, secrets: tuple[str, ...], stage: str) -> Any:
        return _Inside(self, secrets, stage)

    def _answer(self, secret: str, stage: str) -> SecretVersion:
        found = self.held.get((secret, stage), SecretNotFound(secret))
        if isinstance(found, BaseException):
            raise found
        return found

    def _outcome(self, secret: str) -> SecretVersion | SecretError:
        try:
            return self._answer(secret, CURRENT)
        except SecretError as error:
            return error


class _Inside:
    """Counts who is in the store at once, and waits at the gates."""

    def __init__(self, store: Store, secrets: tuple[str, ...], stage: str) -> None:
        self.store, self.secrets, self.stage = store, secrets, stage

    def __enter__(self) -> None:
        with self.store._lock:
            self.store.calls.append(self.secrets)
            for secret in self.secrets:
                self.store._inside[secret, self.stage] += 1
                if self.store._inside[secret, self.stage] > 1:
                    self.store.twice_at_once.append(secret)
            self.store.most_at_once = max(self.store.most_at_once, self.store._inside.total())
        for secret in self.secrets:
            gate = self.store.gates.get(secret)
            assert gate is None or gate.wait(PATIENCE_OF_A_TEST), "nobody has opened the gate"

    def __exit__(self, *_: object) -> None:
        with self.store._lock:
            for secret in self.secrets:
                self.store._inside[secret, self.stage] -= 1


class Memory:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.metrics: list[tuple[str, float, dict[str, str]]] = []
        self.audits: list[tuple[str, dict[str, str]]] = []

    def metric(self, name: str, value: float = 1, unit: str = "Count", **dimensions: str) -> None:
        self.metrics.append((name, value, dimensions))

    def audit(self, action: str, **facts: str) -> None:
        self.audits.append((action, facts))

    def total(self, name: str) -> float:
        return sum(value for found, value, _ in self.metrics if found == name)

    def acts(self, action: str) -> list[dict[str, str]]:
        return [facts for found, facts in self.audits if found == action]

    @property
    def landings(self) -> int:
        return len(self.acts("secret.read")) + len(self.acts("secret.read_failed"))


def until(is_so: Callable[[], object]) -> None:
    """Wait for what another thread is about to do."""
    ends = time.monotonic() + PATIENCE_OF_A_TEST
    while not is_so():
        assert time.monotonic() < ends, "it has not happened"
        time.sleep(0.001)


def until_all_threads_have_ended() -> None:
    """Wait for the service's threads: what they raise at their end belongs to the test that is running."""
    until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("tegata-secrets")])


def login(password: str, user: str = "app_a") -> dict[str, str]:
    return {"username": user, "password": password}
