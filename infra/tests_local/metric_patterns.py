"""Says which events a metric filter of CloudWatch Logs counts: the JSON patterns, as far as the templates use them.

Amazon CloudWatch Logs User Guide, "Filter pattern syntax": a comparison of a field that is not there does not hold,
neither with = nor with !=.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_TOKEN = re.compile(r'\s*(\{|\}|\(|\)|&&|\|\||NOT EXISTS|!=|>=|=|"[^"]*"|\$(?:\.\w+)+|\d+)')


class Pattern:
    """One pattern. Raises `ValueError` for what it does not know."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        place = 0
        while place < len(text.rstrip()):
            found = _TOKEN.match(text, place)
            if found is None:
                raise ValueError(text[place : place + 30])
            self._tokens.append(found[1])
            place = found.end()
        if self._tokens[:1] != ["{"] or self._tokens[-1:] != ["}"]:
            raise ValueError("no pattern of JSON")

    def counts(self, event: Mapping[str, Any]) -> bool:
        rest = self._tokens[1:-1]
        verdict = _either(rest, event)
        if rest:
            raise ValueError(" ".join(rest))
        return verdict


def _either(rest: list[str], event: Mapping[str, Any]) -> bool:
    verdict = _both(rest, event)
    while rest[:1] == ["||"]:
        rest.pop(0)
        verdict = _both(rest, event) or verdict
    return verdict


def _both(rest: list[str], event: Mapping[str, Any]) -> bool:
    verdict = _one(rest, event)
    while rest[:1] == ["&&"]:
        rest.pop(0)
        verdict = _one(rest, event) and verdict
    return verdict


def _one(rest: list[str], event: Mapping[str, Any]) -> bool:
    token = rest.pop(0)
    if token == "(":
        verdict = _either(rest, event)
        if rest.pop(0) != ")":
            raise ValueError("a bracket is open")
        return verdict
    value = _field(token, event)
    operator = rest.pop(0)
    if operator == "NOT EXISTS":
        return value is None
    wanted = rest.pop(0)
    if operator == ">=":
        return isinstance(value, int | float) and value >= float(wanted)
    same = value is not None and _like(wanted.strip('"'), str(value))
    return same if operator == "=" else value is not None and not same


def _field(token: str, event: Mapping[str, Any]) -> Any:
    value: Any = event
    for name in token.split(".")[1:]:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _like(pattern: str, value: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), value, re.DOTALL) is not None
