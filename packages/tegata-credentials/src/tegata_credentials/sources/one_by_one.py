"""Reading many secrets from a store that hands out one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from tegata_credentials.errors import SecretError
from tegata_credentials.versions import SecretVersion

Outcome = SecretVersion | SecretError


class _Reads(Protocol):
    def fetch(self, secret: str) -> SecretVersion: ...


def attempt(read: Callable[[str], SecretVersion], secret: str) -> Outcome:
    """Return the version, or the error as a value."""
    try:
        return read(secret)
    except SecretError as error:
        return error.again()


def fetch_each(source: _Reads, secrets: Sequence[str]) -> Mapping[str, Outcome]:
    """Return each, in the order in which they were named first, each asked for once."""
    return {secret: attempt(source.fetch, secret) for secret in dict.fromkeys(secrets)}
