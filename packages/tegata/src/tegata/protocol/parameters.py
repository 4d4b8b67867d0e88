"""The parameters of a request: text, each at most once, empty means absent (RFC 6749 §3.1 and §3.2).

Parsing from bytes is strict: invalid UTF-8, control characters and too many fields are refused, so that no rule below
ever sees them (pitfalls P31, P41).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar, overload
from urllib.parse import unquote_to_bytes

from tegata.protocol.errors import OAuthError, invalid_request

MAX_FIELDS = 100
MAX_VALUE_CHARACTERS = 16_384
# `resource` is the one parameter that may stand several times (RFC 8707 §2).
REPEATABLE = frozenset({"resource"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# `claims` is JSON and may be laid out over lines (RFC 8259 §2); inside its strings such characters are not allowed.
_LAID_OUT = frozenset({"claims"})
_LAYOUT = {ord(character): " " for character in "\t\r\n"}

_T = TypeVar("_T")


class Parameters(Mapping[str, str]):
    """Parsed parameters. A repeated one has no value here; `repeated` names it, and `check_not_repeated` refuses it."""

    __slots__ = ("_lists", "_values", "repeated")

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, str] = {}
        self._lists: dict[str, tuple[str, ...]] = {}
        repeated = set()
        for name, value in pairs:
            if name in REPEATABLE:
                if value:
                    self._lists[name] = (*self._lists.get(name, ()), value)
            elif name in self._values or name in repeated:
                self._values.pop(name, None)
                repeated.add(name)
            else:
                self._values[name] = value
        # Empty values count for repetition and are dropped afterwards: "a=&a=1" is a repeat as well.
        self._values = {name: value for name, value in self._values.items() if value}
        self.repeated = frozenset(repeated)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    # Mapping's own `in` and `get` raise and catch a KeyError for each absent parameter, of which there are many.
    def __contains__(self, name: object) -> bool:
        return name in self._values

    @overload
    def get(self, name: str, /) -> str | None: ...
    @overload
    def get(self, name: str, /, default: str | _T) -> str | _T: ...
    def get(self, name: str, /, default: object = None) -> object:
        """Return the parameter, or `default`."""
        return self._values.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def all(self, name: str) -> tuple[str, ...]:
        """Return the values of a repeatable parameter."""
        return self._lists.get(name, ())

    def require(self, name: str) -> str:
        """Return the parameter or raise `invalid_request`."""
        value = self._values.get(name)
        if value is None:
            raise invalid_request(f"the parameter {name} is missing", "parameter_missing")
        return value

    def check_not_repeated(self) -> None:
        """Raise `invalid_request` if any parameter stood more than once (RFC 6749 §3.1, §3.2)."""
        if self.repeated:
            # RFC 6749 §5.2: a description is ASCII.
            known = sorted(name for name in self.repeated if name.isascii() and name.isidentifier() and len(name) < 40)
            named = f": {', '.join(known)}" if known else ""
            raise invalid_request(f"a parameter stands more than once{named}", "parameter_repeated")

    def document(self) -> dict[str, str | list[str]]:
        """Return the parameters as a JSON object, to be stored; `from_document` reads it.

        A repeated parameter stays a repeated one, so that storing a request does not make it acceptable.
        """
        lists = {name: list(values) for name, values in self._lists.items()}
        return {**self._values, **lists, **{name: ["", ""] for name in self.repeated}}

    @classmethod
    def from_document(cls, document: Mapping[str, str | list[str]]) -> Parameters:
        """Read what `document` returned."""
        pairs: list[tuple[str, str]] = []
        for name, value in document.items():
            pairs.extend([(name, value)] if isinstance(value, str) else [(name, item) for item in value])
        return cls(pairs)


def parse_form(raw: bytes) -> Parameters:
    """Parse an `application/x-www-form-urlencoded` body or query.

    Raises `invalid_request` for invalid percent-encoded UTF-8, control characters and more than `MAX_FIELDS` fields.
    """
    if raw.count(b"&") >= MAX_FIELDS:
        raise invalid_request("too many parameters", "too_many_parameters")
    return Parameters(_pair(field) for field in raw.split(b"&") if field)


def _pair(field: bytes) -> tuple[str, str]:
    name, _, value = field.partition(b"=")
    decoded = _decode(name)
    return decoded, _decode(value, laid_out=decoded in _LAID_OUT)


def _decode(raw: bytes, *, laid_out: bool = False) -> str:
    if b"%" in raw or b"+" in raw:
        raw = unquote_to_bytes(raw.replace(b"+", b" "))
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed() from None
    if len(text) > MAX_VALUE_CHARACTERS:
        raise invalid_request("a parameter is too long", "parameter_too_long")
    if text.isprintable():
        return text
    if laid_out:
        text = text.translate(_LAYOUT)
    if _CONTROL.search(text):
        raise _malformed()
    return text


def _malformed() -> OAuthError:
    return invalid_request("a parameter is not valid UTF-8 text", "malformed")
