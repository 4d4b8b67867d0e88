"""A file of code fits into one head: at most 400 lines."""

from __future__ import annotations

from collections.abc import Iterator

from .source import Finding, Source

MOST_LINES = 400


def check(source: Source) -> Iterator[Finding]:
    """Find longer Python files, tests included."""
    lines = source.text.count("\n")
    if source.is_python and lines > MOST_LINES:
        message = f"{lines} lines, {MOST_LINES} are the most: does it still do one thing?"
        yield Finding("file-size", source.path, MOST_LINES, message)
