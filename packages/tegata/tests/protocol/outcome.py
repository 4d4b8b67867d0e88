"""A rule's answer as a value, whether it answered or refused: what property tests look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tegata.protocol.errors import OAuthError, Refused

_T = TypeVar("_T")


def outcome_of(call: Callable[[], _T]) -> _T | OAuthError | Refused:
    """Return what `call` returned, or its refusal; anything else it raises is a fault and goes on."""
    try:
        return call()
    except (OAuthError, Refused) as refusal:
        return refusal
