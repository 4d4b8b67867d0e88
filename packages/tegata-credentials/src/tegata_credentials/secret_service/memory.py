"""Secrets in the memory of this process: for tests and examples, and as the shortest example of a source."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from tegata_credentials.errors import SecretError, SecretNotFound
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, PENDING, PREVIOUS, SecretVersion


class SecretsInMemory:
    """A source whose secrets a test sets; it counts how often it is asked.

    >>> source = SecretsInMemory({"mail": {"password": "one"}})
    >>> source.put("mail", {"password": "two"})
    >>> source.fetch("mail").version, source.fetch("mail", stage="AWSPREVIOUS").document(), source.fetches
    ('v2', {'password': 'one'}, 2)
    """

    scheme = "memory"

    def __init__(self, secrets: Mapping[str, Mapping[str, Any] | str] | None = None) -> None:
        self.fetches = 0
        self._lock = threading.Lock()
        self._made = 0
        self._held: dict[tuple[str, str], SecretVersion] = {}
        for secret, value in (secrets or {}).items():
            self.put(secret, value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("secrets are not pickled: they stay in the memory of one process")

    def put(self, secret: str, value: Mapping[str, Any] | str, *, stage: str = CURRENT) -> None:
        """Make a new version and give it the label; a version that was current becomes the previous one."""
        text = HiddenText(value if isinstance(value, str) else json.dumps(value))
        with self._lock:
            self._made += 1
            before = self._held.get((secret, stage))
            if stage == CURRENT and before is not None:
                self._held[secret, PREVIOUS] = before
            self._held[secret, stage] = SecretVersion(secret, f"v{self._made}", text, frozenset({stage}))

    def promote(self, secret: str) -> None:
        """Make the pending version the current one."""
        with self._lock:
            if (secret, CURRENT) in self._held:
                self._held[secret, PREVIOUS] = self._held[secret, CURRENT]
            self._held[secret, CURRENT] = self._held.pop((secret, PENDING))

    def remove(self, secret: str) -> None:
        """Take the secret away."""
        with self._lock:
            for key in [key for key in self._held if key[0] == secret]:
                del self._held[key]

    def fetch(self, secret: str, *, stage: str = CURRENT) -> SecretVersion:
        """Return the version with the label. Raises `SecretNotFound`."""
        with self._lock:
            self.fetches += 1
            found = self._held.get((secret, stage))
        if found is None:
            raise SecretNotFound(secret)
        return found

    def fetch_many(self, secrets: Sequence[str]) -> dict[str, SecretVersion | SecretError]:
        """Return what there is, counted as one fetch."""
        with self._lock:
            self.fetches += 1
            return {secret: self._held.get((secret, CURRENT)) or SecretNotFound(secret) for secret in secrets}

    def close(self) -> None:
        """Do nothing: it may be looked at afterwards."""
