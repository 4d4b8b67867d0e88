"""Outcomes of reading: a version or an error, as values; and many of them from a store that hands out one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from tegata_credentials.errors import SecretError
from tegata_credentials.versions import SecretVersion

Outcome = SecretVersion | SecretError


class _Reads(Protocol):
    def fetch(self, secret: str) -> SecretVersion: ...


def attempt(read: Callable[[str], SecretVersion], secret: str) -> Outcome:
    """Return the version, or the error as a value: without the frames in which the text was read."""
    try:
        return read(secret)
    except SecretError as error:
        return error.again()


def or_raise(outcome: Outcome) -> SecretVersion:
    """Return the version, or raise the error, from a frame that holds no text."""
    if isinstance(outcome, SecretError):
        raise outcome
    return outcome


def fetch_each(source: _Reads, secrets: Sequence[str]) -> Mapping[str, Outcome]:
    """Return each, in the order in which they were named first, each asked for once."""
    return {secret: attempt(source.fetch, secret) for secret in dict.fromkeys(secrets)}
