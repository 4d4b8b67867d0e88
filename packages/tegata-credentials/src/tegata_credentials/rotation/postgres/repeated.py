"""Finds the old login in other keys of a secret, where it would go stale: in an address, say.

What counts as a repetition is a rule, so that a password like `postgres` does not keep a secret from being rotated
because the word stands elsewhere by chance:

- A password of 12 characters or more that are not all letters: wherever it stands.
- Any other: where a password stands. That is between `:` and `@` of an address, after `password=` and the like, or as
  the whole value of a key whose name speaks of a password.
- If the user changes too: the old one as the user of an address.

Read plainly, percent-encoded (RFC 3986 §2.1) and with the escapes of JSON (RFC 8259 §7), also one inside another. Keys
that say where the database is are not looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, unquote_plus

from tegata_credentials.token_state import HiddenText

# What the secrets of AWS and ours say of a place; none of it is a place for a password.
_OF_A_PLACE = frozenset(
    {"username", "password", "engine", "host", "port", "dbname", "readerHost", "readerPort", "sslrootcert"}
    | {"masterarn", "dbInstanceIdentifier", "dbClusterIdentifier"}
)
_LEAST = 12
_DEEPEST = 3
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_SPEAKS_OF_PASSWORDS = re.compile(r"pass|pwd|secret|credential|token|auth", re.IGNORECASE)
_PASSWORD_IS = r"(?:password|passwd|passphrase|pwd|pass)[\"']?\s*[=:]\s*[\"']?"
_ENDS = r"(?=$|[\"'\s;&,})])"


def repeats_of(document: Mapping[str, Any], username: str, password: HiddenText, new_username: str) -> list[str]:
    """Return the keys in which the old login stands a second time, as paths like `pool.url`. Never a value."""
    others = {name: value for name, value in document.items() if name not in _OF_A_PLACE}
    stale = _Stale(username if new_username != username else None, password)
    return sorted({path for path, name, text in _texts(others) if stale.is_in(name, text)})


class _Stale:
    """The old login, to be recognised."""

    def __init__(self, username: str | None, password: HiddenText) -> None:
        self._password = password
        self._is_unmistakable = len(password) >= _LEAST and not password.isalpha()
        self._is_named = re.compile(_PASSWORD_IS + re.escape(password) + _ENDS, re.IGNORECASE)
        self._is_user = None if username is None else re.compile(rf"//{re.escape(username)}[:@]")

    def is_in(self, name: str, text: str) -> bool:
        return any(self._stands_in(name, reading) for reading in _readings(text))

    def _stands_in(self, name: str, text: str) -> bool:
        if self._is_unmistakable and self._password in text:
            return True
        if text == self._password and _SPEAKS_OF_PASSWORDS.search(name):
            return True
        if f":{self._password}@" in text or self._is_named.search(text):
            return True
        return self._is_user is not None and self._is_user.search(text) is not None


def _texts(value: object, path: str = "", name: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield each text and number in a value, with its path and the last name in that."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, f"{path}.{key}" if path else str(key), str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, path, name)
    elif value is not None and not isinstance(value, bool):
        yield path, name, value if isinstance(value, str) else json.dumps(value)


def _readings(text: str) -> set[str]:
    """Return what a text may mean, decoded once or several times."""
    found = newest = {text}
    for _ in range(_DEEPEST):
        newest = {decode(known) for known in newest for decode in (unquote, unquote_plus, _unescaped)} - found
        found = found | newest
    return found


def _unescaped(text: str) -> str:
    plain = _ESCAPE.sub(lambda e: chr(int(e[1], 16)) if e[1] else _CONTROLS.get(e[2], e[2]), text)
    # Of a character beyond U+FFFF the escapes are two halves.
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
