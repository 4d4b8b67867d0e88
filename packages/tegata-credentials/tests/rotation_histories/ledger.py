"""What must be true of a secret whatever happens: I1 to I7, checked against what was really seen and done.

The ledger keeps its own books. It learns what was written from the wrapped ports, reads the store by a way that nothing
interrupts, and tries values where they are used. It never asks the code under test whether it is right.

| id | in the words of this file |
|---|---|
| I1 | the current value opens what it is for, at each observation |
| I2 | a value that has been current goes on working until its successor's successor is put to use |
| I3 | a version has one value for ever |
| I4 | one version is current, one is previous, and they are those that the last promotion or person made so |
| I5 | a version becomes current only if the last test of it passed |
| I6 | no value is in anything that was said |
| I7 | whatever has happened, a retry and a new token bring the rotation to its end (`History.complete`) |
| I8 | a client of the secret service never sees an error (`clients`) |
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any, Protocol

from tegata_credentials.errors import SecretNotFound
from tegata_credentials.rotation.ports import CURRENT, PREVIOUS, VersionStore
from tegata_credentials.testing.leaks import find_leaks
from tegata_credentials.token_state import HiddenText

from .interruptions import Announced

_KEY = os.urandom(32)


class Broken(AssertionError):
    """An invariant does not hold. The message names it and never a value."""


class Opened(Protocol):
    """What a secret is for: a database, a service of somebody else's, a verifier of tokens."""

    def refusal(self, text: str) -> str | None:
        """Try a value where it is used; return why it is refused, without the value."""

    def refusal_of_retired(self, text: str) -> str | None:
        """Try a value that is current no more, in the way in which somebody who still has it would use it."""


@dataclass(frozen=True, slots=True)
class Move:
    """AWSCURRENT came to `token` at a time; `by` is "the product" or "somebody"."""

    token: str
    replaced: str | None
    by: str
    at: float


@dataclass(slots=True)
class Ledger:
    """The books of one secret in one history."""

    secret: str
    store: VersionStore
    opened: Opened
    clock: Callable[[], float]
    # Whether a value may be refused, because a later version has been put to use in its place.
    is_spent: Callable[[str], bool]
    # Whether, the current value being spent, there is another that works, or a person has thrown that away.
    stands_in: Callable[[], bool] = lambda: False
    moves: list[Move] = field(default_factory=list)
    values: dict[str, HiddenText] = field(default_factory=dict)  # by version, for trying; those that were current
    written: list[HiddenText] = field(default_factory=list)  # all that the product has made
    digests: dict[str, bytes] = field(default_factory=dict)
    tests: dict[str, bool] = field(default_factory=dict)
    untested: list[str] = field(default_factory=list)  # became current although the last test failed, or without any
    tried: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def announced(self) -> Announced:
        """Return what the wrapped ports tell this ledger."""
        return Announced(self._put, self._kept, self._promoted, self._tested)

    def somebody_moved(self, token: str, replaced: str | None) -> None:
        """Note that a person, or the history's first day, has made a version current."""
        self.moves.append(Move(token, replaced, "somebody", self.clock()))

    def observe(self) -> None:
        """Check I1 to I5. Raises `Broken`."""
        labels = self.store.labels(self.secret).versions
        self._check_labels(labels)
        for version in labels:
            self._check_value(version)
        if self.untested:
            raise Broken(f"I5: {len(self.untested)} versions became current without a test that passed")
        for version, text in self.values.items():
            is_current, is_spent = CURRENT in labels.get(version, ()), self.is_spent(version)
            if is_spent and not is_current:
                continue
            self.tried += 1
            refusal = self.opened.refusal(text) if is_current else self.opened.refusal_of_retired(text)
            if refusal is not None and not (is_current and is_spent and self.stands_in()):
                raise Broken(f"{'I1: the current' if is_current else 'I2: a retired'} value is refused: {refusal}")

    def check_silence(self, said: str, what: str) -> None:
        """Check I6 for something that was said. Raises `Broken`."""
        if find_leaks(said, self.secrets()):
            raise Broken(f"I6: a value is in {what}")

    def secrets(self) -> list[str]:
        """Return every piece of every value that nobody may see."""
        return sorted({piece for text in (*self.written, *self.values.values()) for piece in hidden_in(text)})

    def retired_at(self, version: str) -> float | None:
        """Return when a version was current for the last time; None if it is so now."""
        if self.moves[-1].token == version:
            return None
        return max(after.at for before, after in pairwise(self.moves) if before.token == version)

    def _check_labels(self, labels: Any) -> None:
        current = [version for version, stages in labels.items() if CURRENT in stages]
        previous = [version for version, stages in labels.items() if PREVIOUS in stages]
        last = self.moves[-1]
        if current != [last.token]:
            raise Broken(f"I4: {len(current)} versions are current, or another than the one made so by {last.by}")
        if last.replaced is not None and previous != [last.replaced]:
            raise Broken(f"I4: {len(previous)} versions are previous, or another than the one that was replaced")

    def _check_value(self, version: str) -> None:
        try:
            found = self.store.read(self.secret, version=version)
        except SecretNotFound:
            if version in self.digests:
                raise Broken("I3: a version has lost its value") from None
            return  # announced, and nothing more
        digest = _digest(found.text)
        if self.digests.setdefault(version, digest) != digest:
            raise Broken("I3: a version has another value than before")
        if any(move.token == version for move in self.moves):
            self.values[version] = found.text

    def _put(self, text: HiddenText) -> None:
        with self._lock:
            self.written.append(text)

    def _kept(self, token: str, text: HiddenText) -> None:
        with self._lock:
            self.digests.setdefault(token, _digest(text))

    def _promoted(self, token: str, replacing: str) -> None:
        with self._lock:
            if self.moves[-1].token == token:
                return  # the same once more
            self.moves.append(Move(token, replacing, "the product", self.clock()))
            if not self.tests.get(token, False):
                self.untested.append(token)

    def _tested(self, token: str, passed: bool) -> None:
        with self._lock:
            self.tests[token] = passed


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), key=_KEY).digest()


@lru_cache(maxsize=4096)
def hidden_in(text: str) -> tuple[str, ...]:
    """Return the pieces of a secret's text that are secret: passwords, tokens, private numbers of keys."""
    return tuple(_hidden_in(json.loads(text)))


def _hidden_in(document: Any) -> Iterator[str]:
    yield from (document[name] for name in ("password", "apiKey") if document.get(name))
    for key in document.get("keys", ()):
        yield from (key["jwk"][name] for name in ("d", "p", "q", "dp", "dq", "qi") if name in key["jwk"])
