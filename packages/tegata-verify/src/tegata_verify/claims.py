"""Reads claims of a token one by one: a value of the expected type, nothing, or a refusal (RFC 7519 §4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tegata_verify.errors import Reason, TokenError

Path = tuple[str, ...]
"""The names that lead to a value, from the outside in; an empty one leads nowhere."""


def find_claim(claims: Mapping[str, Any], path: Path) -> Any:
    """Return the value at `path`, None if there is none."""
    if len(path) == 1:
        return claims.get(path[0])
    value: Any = claims if path else None
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def find_text(claims: Mapping[str, Any], path: Path) -> str | None:
    """Return a text. Raises `TokenError` for anything else."""
    value = find_claim(claims, path)
    if value is not None and not isinstance(value, str):
        raise TokenError(Reason.MALFORMED_CLAIM, path[-1])
    return value


def find_names(claims: Mapping[str, Any], path: Path) -> frozenset[str]:
    """Return a list of texts as a set. Raises `TokenError` for anything else."""
    value = find_claim(claims, path)
    if value is None:
        return frozenset()
    # One string for several roles could be read in two ways, so it is not read at all.
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TokenError(Reason.MALFORMED_CLAIM, path[-1])
    return frozenset(value)


def find_scopes(claims: Mapping[str, Any], path: Path) -> frozenset[str]:
    """Return scopes: RFC 6749 §3.3 separates them by spaces, some issuers send a list. Raises `TokenError`."""
    value = find_claim(claims, path)
    return frozenset(value.split(" ")) - {""} if isinstance(value, str) else find_names(claims, path)


def audience_of(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return `aud`, one string or a list of them. RFC 7519 §4.1.3. Raises `TokenError`."""
    audience = claims.get("aud")
    if audience is None:
        raise TokenError(Reason.MISSING_CLAIM, "aud")
    if isinstance(audience, str):
        return frozenset((audience,))
    if not isinstance(audience, list) or not all(isinstance(value, str) for value in audience):
        raise TokenError(Reason.MALFORMED_CLAIM, "aud")
    return frozenset(audience)


def numeric_date(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a time as seconds since 1970, None if there is none. RFC 7519 §2. Raises `TokenError`."""
    value = claims.get(name)
    if value is None:
        return None
    kind = type(value)  # bool is an int to Python, but another type
    try:
        seconds = float(value) if kind is int or kind is float else math.nan
    except OverflowError:  # an integer of any size is one to JSON
        seconds = math.nan
    if not math.isfinite(seconds):
        raise TokenError(Reason.MALFORMED_CLAIM, name)
    return seconds
