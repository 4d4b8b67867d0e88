"""Structured logs to standard output, with a last line of defence against secrets."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Literal

import structlog

# Names whose values never belong in a log, wherever they come from.
_SECRET_NAMES = re.compile(
    r"passw(or)?d|passphrase|secret|private|authorization$|cookie|credential|csrf|otp$"
    r"|(^|_)(master|signing|api|encryption)_?key$|(tokens?|assertions?|verifier|(?<!status_)(?<!error_)(?<!exit_)code)$",
    re.IGNORECASE,
)
_HIDDEN = "[redacted]"
_WORDS = r"(?:\w*(?:password|passwd|secret|token|assertion|verifier))"
# What secrets look like inside a text, each with what stays of it.
_PATTERNS = (
    (re.compile(r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*", re.ASCII), _HIDDEN),  # a JWT
    (re.compile(r"(?<=://)([^/\s:@]*):[^/\s]+@"), rf"\1:{_HIDDEN}@"),  # a URL with a password
    (re.compile(r"\b((?i:bearer|basic|dpop)) +(?=[\w.~+/-]*[0-9A-Z=])[\w.~+/=-]{8,}"), rf"\1 {_HIDDEN}"),  # a header
    (re.compile(rf"\b({_WORDS})=('[^']*'|\"[^\"]*\"|[^\s&;,]+)", re.IGNORECASE), rf"\1={_HIDDEN}"),  # form, libpq
    (re.compile(rf"\"({_WORDS}|code)\"(\s*:\s*)\"[^\"]*\"", re.IGNORECASE), rf'"\1"\2"{_HIDDEN}"'),  # JSON
    (re.compile(r"(?<=[?&])(code)=[^&\s]+"), rf"\1={_HIDDEN}"),
)
_MAX_DEPTH = 6


def configure(
    *, level: str = "info", form: Literal["json", "console"] = "json", more: Sequence[structlog.typing.Processor] = ()
) -> None:
    """Set up structlog for the process. `more`: what else is added to each line."""
    renderer = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *more,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        cache_logger_on_first_use=True,
    )


def redact(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace values that look like secrets, at any depth. A processor of structlog."""
    for name, value in event.items():
        event[name] = _HIDDEN if _SECRET_NAMES.search(name) else _redacted(value, _MAX_DEPTH)
    return event


def _redacted(value: object, depth: int) -> object:
    """Return `value` in JSON's kinds; what is none of them is written as its text, and that is searched."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth and isinstance(value, Mapping):
        return {
            str(name): _HIDDEN if _SECRET_NAMES.search(str(name)) else _redacted(inner, depth - 1)
            for name, inner in value.items()
        }
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_redacted(inner, depth - 1) for inner in value]
    text = value if isinstance(value, str) else repr(value)
    for pattern, kept in _PATTERNS:
        text = pattern.sub(kept, text)
    return text
