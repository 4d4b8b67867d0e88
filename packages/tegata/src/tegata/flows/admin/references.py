"""References to secrets: where a value is read from, so that no document holds one (`env:NAME`, `file:/path`)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from tegata.flows.admin.yaml_reader import is_storable

PATTERN = r"(env:[A-Za-z_][A-Za-z0-9_]{0,199}|file:/.{1,1000})"
MAX_BYTES = 65_536

Source = Callable[[str], str]


class Unresolvable(Exception):
    """A reference leads nowhere. The message says why and never holds a secret."""


class References(Protocol):
    """Turns a reference into the value behind it."""

    def resolve(self, reference: str) -> str:
        """Return the value. Raises `Unresolvable`."""
        ...


class SchemeReferences:
    """References by scheme: `env` and `file` now, a secret service by one more entry."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources

    def resolve(self, reference: str) -> str:
        scheme, _, rest = reference.partition(":")
        source = self._sources.get(scheme)
        if source is None or not rest:
            known = ", ".join(f"{name}:..." for name in sorted(self._sources))
            raise Unresolvable(f"is not a reference that is understood here ({known})")
        value = source(rest)
        if not value:
            raise Unresolvable(f"leads to an empty value ({reference})")
        if not is_storable(value):
            raise Unresolvable(f"leads to a value that is not text ({reference})")
        return value


def standard_references(environment: Mapping[str, str]) -> SchemeReferences:
    """Return `env:` over the given environment, and `file:` with absolute paths."""
    return SchemeReferences({"env": from_environment(environment), "file": from_file})


def from_environment(environment: Mapping[str, str]) -> Source:
    """Return the source of `env:NAME`."""

    def read(name: str) -> str:
        try:
            return environment[name]
        except KeyError:
            raise Unresolvable(f"names the environment variable {name}, which is not set") from None

    return read


def from_file(path: str) -> str:
    """Read `file:/path`; one line break at the end does not count, since editors add it."""
    if not path.startswith("/"):
        raise Unresolvable("needs an absolute path: file:/path")
    try:
        with Path(path).open("rb") as opened:
            raw = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise Unresolvable(f"names the file {path}, which cannot be read ({error.strerror})") from None
    except ValueError:
        raise Unresolvable("names a file whose path is not valid") from None
    if len(raw) > MAX_BYTES:
        raise Unresolvable(f"names the file {path}, which is larger than {MAX_BYTES // 1024} KiB")
    try:
        return re.sub(r"\r?\n\Z", "", raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise Unresolvable(f"names the file {path}, which is not UTF-8 text") from None


def read_jwks(references: References, reference: str) -> dict[str, Any]:
    """Return the JWK set behind a reference. Raises `Unresolvable`."""
    try:
        found = json.loads(references.resolve(reference))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Unresolvable(f"leads to something that is not a JSON object ({reference})")
    return found
