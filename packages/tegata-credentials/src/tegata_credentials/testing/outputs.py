"""Searching everything that a whole test run has put out for the secrets that were made in it.

Tests and stand-ins `remember` what they generate and `keep` what programs have written; whoever runs the tests (here
the `conftest.py` at the top) names a directory in `TEGATA_TEST_OUTPUTS`, adds what the tests printed, and searches at
the end. Without that variable nothing is kept.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

VARIABLE = "TEGATA_TEST_OUTPUTS"
# So many characters of a secret in a row are no accident; shorter secrets are not remembered.
WINDOW = 16
_WORDS = re.compile(r"[A-Za-z0-9_+/=.~-]{16,}")
# What generators of passwords, keys and tokens make; no name or address is so long in one piece.
_GENERATED = re.compile(r"[A-Za-z0-9_-]{40,4096}")
_DISTINCT = 10
# Members of a JWK that everybody may read (RFC 7517 §4, RFC 7518 §6).
_PUBLIC = frozenset({"kid", "x", "y", "n"})


def remember(secret: str) -> None:
    """Note a secret that was generated, to be looked for at the end."""
    directory = os.environ.get(VARIABLE)
    if directory and len(secret) >= WINDOW:
        with Path(directory, f"secrets-{os.getpid()}").open("a", encoding="utf-8") as opened:
            opened.write(secret + "\n")


def remember_generated(value: str) -> None:
    """Remember of a secret's value, which may be JSON, what looks as if it had been generated."""
    if VARIABLE not in os.environ:
        return
    try:
        document = json.loads(value)
    except ValueError:
        document = value
    for text in _texts(document):
        if _GENERATED.fullmatch(text) and len(set(text)) >= _DISTINCT:
            remember(text)


def _texts(document: Any) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        for name, member in document.items():
            if name not in _PUBLIC:
                yield from _texts(member)
    elif isinstance(document, list):
        for member in document:
            yield from _texts(member)


def keep(output: Path) -> None:
    """Keep a copy of what a program has written, e.g. the log of a database server, before it is removed."""
    directory = os.environ.get(VARIABLE)
    if directory and output.exists():
        with Path(directory, f"output-{os.getpid()}").open("ab") as opened:
            opened.write(output.read_bytes())


class Outputs:
    """What was put out, as far as it could hold a secret: the words that are long enough.

    Example:
        >>> outputs = Outputs()
        >>> outputs.add("postgresql://app:correct-horse-battery-staple@db/app")
        >>> outputs.leaks(["correct-horse-battery-staple", "another-one-that-nobody-saw"])
        [0]
    """

    def __init__(self) -> None:
        self._words: set[str] = set()
        self.characters = 0

    def add(self, text: str) -> None:
        """Add a text that somebody may read."""
        self.characters += len(text)
        self._words.update(_WORDS.findall(text))

    def add_kept(self, directory: Path) -> None:
        """Add what was kept in this directory by `keep`."""
        for path in sorted(directory.glob("output-*")):
            self.add(path.read_text(encoding="utf-8", errors="replace"))

    def leaks(self, secrets: Iterable[str]) -> list[int]:
        """Return the positions of the secrets that were found, even if only a part; never the secrets."""
        pieces: dict[str, set[int]] = {}
        for position, secret in enumerate(secrets):
            for word in _WORDS.findall(secret):
                for piece in _windows(word, step=WINDOW // 2):
                    pieces.setdefault(piece, set()).add(position)
        found: set[int] = set()
        for word in self._words:
            for piece in _windows(word):
                found |= pieces.get(piece, set())
        return sorted(found)


def remembered(directory: Path) -> list[str]:
    """Return the secrets that were remembered in this directory, each once."""
    paths = sorted(directory.glob("secrets-*"))
    return sorted({line for path in paths for line in path.read_text(encoding="utf-8").splitlines() if line})


def _windows(word: str, step: int = 1) -> Iterator[str]:
    return (word[start : start + WINDOW] for start in range(0, len(word) - WINDOW + 1, step))
