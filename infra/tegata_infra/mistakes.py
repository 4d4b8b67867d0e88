"""Mistakes in a configuration, in the words of whoever made them: variables, not fields of a model."""

from __future__ import annotations

from pydantic import ValidationError

from tegata_infra.config import VARIABLES


def explain(error: ValueError) -> str:
    """Return one line for each mistake. What was given is not repeated: it stands where it was written.

    >>> from tegata_infra.environments import load_config
    >>> try:
    ...     load_config("idp", "production", {"ALERT_MAIL": "nobody"})
    ... except ValueError as error:
    ...     print(explain(error))
    ALERT_MAIL: String should match pattern '^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$'
    """
    if not isinstance(error, ValidationError):
        return str(error)
    return "\n".join(_say(part["loc"], part["msg"]) for part in error.errors(include_url=False, include_input=False))


def _say(place: tuple[int | str, ...], message: str) -> str:
    words = message.removeprefix("Value error, ")
    if not place:
        return words
    field = str(place[-1])
    names = [variable for variable, named in VARIABLES.items() if named == field]
    return f"{' or '.join(names) or '.'.join(map(str, place))}: {words}"
