"""Where secrets are read from: the port, and one module for each kind of store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from tegata_credentials.errors import SecretError
from tegata_credentials.versions import CURRENT, SecretVersion


class SecretSource(Protocol):
    """A store of secrets. Blocking and thread-safe: the service calls it from threads of its own, never twice at once
    for one secret and stage. To extend the kit to another store, implement this and hand it to `SecretService`."""

    @property
    def scheme(self) -> str:
        """The word before the colon in references: `awssm`, `file`, `env`."""

    def fetch(self, secret: str, *, stage: str = CURRENT) -> SecretVersion:
        """Return the version that carries `stage`. Raises a `SecretError`."""

    def fetch_many(self, secrets: Sequence[str]) -> Mapping[str, SecretVersion | SecretError]:
        """Return the current version, or what went wrong, for each id; one call of the store where it has one."""

    def close(self) -> None:
        """Give back what is held. May be called twice."""
