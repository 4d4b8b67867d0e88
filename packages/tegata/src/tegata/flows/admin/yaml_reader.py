"""YAML text into plain values and the line of each, strictly: bounded, no aliases, no tags, no repeated names.

Values are resolved as JSON would read them: `no` and `2020-01-01` stay text, and only `true`, `null` and plain decimal
numbers are something else. YAML 1.1 turns a country code into a boolean and a birthday into an object.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from tegata.flows.admin.problems import InvalidDocuments, Path, Problem

MAX_BYTES = 1_048_576
MAX_DEPTH = 16
MAX_NODES = 100_000
MAX_CHARACTERS = 16_384

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same language, ten times the speed
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?([eE][-+]?[0-9]{1,3})?", re.ASCII)
_WORDS: Mapping[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RawDocument:
    """One document of a stream: its value, where it came from, and the line of each part."""

    source: str
    value: Any
    lines: Mapping[Path, int] = field(repr=False)

    def line_of(self, path: Path) -> int | None:
        """Return the line of the nearest part that is written down."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path)


def read_documents(text: str | bytes, source: str) -> tuple[RawDocument, ...]:
    """Read every document of a stream; empty ones are left out. Raises `InvalidDocuments`."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > MAX_BYTES:
        raise _invalid(source, None, (), f"is larger than {MAX_BYTES // 1024} KiB; divide it into several files")
    try:
        decoded = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _invalid(source, None, (), "is not UTF-8 text") from None
    try:
        found = tuple(_documents(decoded, source))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _invalid(source, mark.line + 1 if mark else None, (), f"is not YAML: {error.problem}") from None
    except yaml.YAMLError:  # the reader's errors: characters that YAML does not know
        raise _invalid(source, None, (), "is not YAML: it holds characters that are not text") from None
    return tuple(document for document in found if document.value is not None)


def resolve_plain(text: str) -> str | int | float | bool | None:
    """Return what a scalar without quotes means."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


def _documents(text: str, source: str) -> Iterator[RawDocument]:
    builder: _Builder | None = None
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.DocumentStartEvent):
            builder = _Builder(source)
        elif isinstance(event, yaml.DocumentEndEvent) and builder is not None:
            yield RawDocument(source, builder.value, builder.lines)
        elif builder is not None and isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
            builder.take(event)


@dataclass(slots=True)
class _Open:
    """A mapping or sequence that is being read. `key` is the name whose value comes next."""

    value: dict[str, Any] | list[Any]
    path: Path
    key: str | None = None


class _Builder:
    """Builds one value from events, without recursion: nesting costs a list entry, not a stack frame."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._open: list[_Open] = []
        self._nodes = 0
        self.value: Any = None
        self.lines: dict[Path, int] = {}

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
            return
        self._check(event, line)
        if isinstance(event, yaml.ScalarEvent):
            plain = event.implicit[0] and event.style in (None, "")
            self._place(resolve_plain(event.value) if plain else event.value, line)
        else:
            made: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
            path = self._place(made, line)
            self._open.append(_Open(made, path))

    def _check(self, event: yaml.Event, line: int) -> None:
        path = self._here()
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _invalid(self._source, line, (), f"holds more than {MAX_NODES} values; divide it into several files")
        if isinstance(event, yaml.AliasEvent):
            raise _invalid(self._source, line, path, "is an alias (*name); write the value out")
        if getattr(event, "tag", None):
            raise _invalid(self._source, line, path, "has a tag (!name); only plain values are understood")
        if len(self._open) >= MAX_DEPTH and not isinstance(event, yaml.ScalarEvent):
            raise _invalid(self._source, line, (), f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.ScalarEvent) and not is_storable(event.value):
            raise _invalid(self._source, line, path, "holds control characters or is not text")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_CHARACTERS:
            raise _invalid(self._source, line, path, f"is longer than {MAX_CHARACTERS} characters")

    def _here(self) -> Path:
        if not self._open:
            return ()
        top = self._open[-1]
        if isinstance(top.value, list):
            return (*top.path, len(top.value))
        return top.path if top.key is None else (*top.path, top.key)

    def _place(self, value: Any, line: int) -> Path:
        path = self._here()
        if not self._open:
            self.value = value
        else:
            top = self._open[-1]
            if isinstance(top.value, list):
                top.value.append(value)
            elif top.key is None:
                top.key = self._name(value, top, line)
                self.lines[(*top.path, top.key)] = line
                return path
            else:
                top.value[top.key] = value
                top.key = None
        self.lines.setdefault(path, line)
        return path

    def _name(self, value: Any, top: _Open, line: int) -> str:
        if not isinstance(value, str):
            raise _invalid(self._source, line, top.path, "has a name that is not text; put it in quotes")
        if value in top.value:
            raise _invalid(self._source, line, (*top.path, value), "stands twice")
        return value


def is_storable(text: str) -> bool:
    """Whether text can be kept and shown: no NUL or other control characters, no lone surrogates (pitfalls P41)."""
    return not any((c < " " and c not in "\n\t") or "\x7f" <= c <= "\x9f" or "\ud800" <= c <= "\udfff" for c in text)


def _invalid(source: str, line: int | None, path: Path, message: str) -> InvalidDocuments:
    return InvalidDocuments([Problem(source, line, "", path, message)])
