"""What a server says in its own words, for logs and terminals."""

from __future__ import annotations

import re

# Names in PostgreSQL have at most 63 bytes; a token, which a server may repeat from what it was sent, is longer.
_LONG_WORD = re.compile(r"\S{80,}")


def told(text: str) -> str:
    """Return the text as one line without control characters, and without any word as long as a token."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return _LONG_WORD.sub("…", line)
