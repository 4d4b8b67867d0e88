"""Reads a JSON object with one meaning only, from bytes that anybody may have sent (RFC 7515 §4, RFC 7519 §4)."""

from __future__ import annotations

import json
from typing import Any


class MalformedJson(ValueError):
    """The bytes are not a JSON object in UTF-8."""


class DuplicateMember(MalformedJson):
    """An object names a member twice, so two readers could see two values."""


def parse_json_object(data: bytes) -> dict[str, Any]:
    """Return the object in `data`.

    Raises `MalformedJson`; `DuplicateMember` for a repeated name at any depth (RFC 7519 §4 lets us refuse it).
    Also refused: UTF-16 and UTF-32, which `json.loads` would guess, NaN and Infinity, lone surrogates, and nesting
    beyond the interpreter's limit.
    """
    try:
        # Decoded here because json.loads(bytes) guesses the encoding.
        value = _DECODER.decode(data.decode())
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode()
    except DuplicateMember:
        raise
    except (ValueError, RecursionError) as error:
        raise MalformedJson("not a JSON text") from error
    if not isinstance(value, dict):
        raise MalformedJson("not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DuplicateMember("a member is repeated")
    return members


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


# json.loads with these arguments would build a decoder for each text, which costs more than a token's claims.
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
