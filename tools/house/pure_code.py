"""Rules take time and randomness as arguments (ARCHITECTURE.md §4, invariant 8).

Import contracts see modules; this sees calls, such as `datetime.now` beside the harmless `datetime`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .source import Finding, Source

PURE = ("tegata.protocol", "tegata.identity", "tegata.storage")

IMPURE = (
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
    "time.",
    "random.",
    "secrets.",
    "os.",
    "uuid.uuid",
    "tegata.crypto.digests.new_",
    "tegata.crypto.envelope.new_",
    "tegata.crypto.keys.generate_",
)
"""Beginnings of the names of what must not be used, as written after imports are resolved."""

BUILT_IN = ("open", "print", "input")


def check(source: Source) -> Iterator[Finding]:
    """Find uses of clock, randomness, environment and files in the pure packages."""
    if not source.is_python or not source.is_in(*PURE):
        return
    for node in source.nodes:
        name = source.full_name(node) if isinstance(node, ast.Attribute | ast.Name) else None
        if name is None:
            continue
        if name.startswith(IMPURE) or (name in BUILT_IN and name not in source.imported):
            line = getattr(node, "lineno", 0)
            yield Finding("pure-code", source.path, line, f"{name}: time, randomness and I/O are arguments here")
