"""What libraries say with Python's `logging`, as lines of our own log: in its form, and past its redaction.

Without a handler `logging` writes warnings to standard error as bare text, without the fields that say what happened.
"""

from __future__ import annotations

import logging

import structlog

# What the kit of passwordless logins tells beside its messages; none of it is a secret.
_FIELDS_OF_LOGINS = ("auth_method", "username", "host", "reason", "life_seconds", "expires_at")
_log = structlog.get_logger("tegata.library")


class _PassedOn(logging.Handler):
    def __init__(self, fields: tuple[str, ...]) -> None:
        super().__init__()
        self._fields = fields

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # arguments that do not fit
            message = str(record.msg)
        found = {name: vars(record)[name] for name in self._fields if name in vars(record)}
        # No traceback: a library's exception may quote what it was given.
        _log.log(_level_of(record), "library", source=record.name, message=" ".join(message.split()), **found)


def pass_on(name: str, *, level: int = logging.WARNING, fields: tuple[str, ...] = ()) -> None:
    """Give what the logger `name` and those below it say, from `level` on, to our log, with these extra fields."""
    logger = logging.getLogger(name)
    if not any(isinstance(handler, _PassedOn) for handler in logger.handlers):
        logger.addHandler(_PassedOn(fields))
    logger.setLevel(level)


def pass_on_logins() -> None:
    """Tell of tokens for the database: each one, by the kit; of the SDKs of Azure and AWS warnings."""
    pass_on("tegata_credentials", level=logging.INFO, fields=_FIELDS_OF_LOGINS)
    for name in ("azure", "msal", "botocore"):
        pass_on(name)


def _level_of(record: logging.LogRecord) -> int:
    """One of the levels that structlog knows."""
    known = (logging.ERROR, logging.WARNING, logging.INFO)
    return next((level for level in known if record.levelno >= level), logging.DEBUG)
