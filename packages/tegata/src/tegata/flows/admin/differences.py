"""What differs between two values, field by field, in the words of the documents."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tegata.flows.admin.problems import Path, path_text

ABSENT = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that would change. Secrets never stand here: `secret` differences have no values."""

    field: str
    before: Any = None
    after: Any = None
    secret: bool = False


def as_document(value: Any) -> Any:
    """Return a value of the rules as plain JSON values: dataclasses and mappings as dicts, tuples as lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_document(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): as_document(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_document(part) for part in value]
    return value


def differences(before: Any, after: Any, path: Path = ()) -> Iterator[Difference]:
    """Yield what differs, descending into mappings; lists are compared as a whole, since their order may matter."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            yield from differences(before.get(name, ABSENT), after.get(name, ABSENT), (*path, name))
    elif not _same(before, after):
        yield Difference(path_text(path), _shown(before), _shown(after))


def _shown(value: Any) -> Any:
    return None if value is ABSENT else value


def _same(before: Any, after: Any) -> bool:
    # True equals 1 in Python, in JSON it does not.
    if isinstance(before, bool) or isinstance(after, bool):
        return before is after
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() == after.keys() and all(_same(before[name], after[name]) for name in before)
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_same, before, after))
    return bool(before == after)
