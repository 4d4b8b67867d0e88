"""Structured logs to standard output, with a last line of defence against secrets."""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

# Names whose values never belong in a log, wherever they come from.
_SECRET_NAMES = re.compile(
    r"(password|secret|token|authorization|cookie|assertion|code|code_verifier|private|master_key|csrf)$", re.I
)
# A JWT, or any long run of random-looking characters after a word that announces a secret.
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*")
_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@")


def configure(*, level: str = "info", form: Literal["json", "console"] = "json") -> None:
    """Set up structlog for the process."""
    renderer = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
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
    """Replace values that look like secrets. A processor of structlog."""
    for name, value in event.items():
        if _SECRET_NAMES.search(name):
            event[name] = "[redacted]"
        elif isinstance(value, str):
            event[name] = _URL_PASSWORD.sub(r"\1:[redacted]@", _JWT.sub("[redacted]", value))
    return event
