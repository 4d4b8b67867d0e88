"""How often one login is tried: once with each credential that the source offers, and not for ever."""

from __future__ import annotations

from typing import Any

from tegata_credentials.token_state import HiddenText, LoginPassword

ATTEMPTS = 3
"""The current credential, the one that a rotation has just put in its place, and the one that is about to follow."""


class Offered:
    """The credentials that were offered for one login."""

    def __init__(self) -> None:
        self._tried: list[tuple[str | None, HiddenText]] = []

    def is_new(self, value: HiddenText) -> bool:
        """Whether this one has not been tried yet; from now on it has."""
        pair = getattr(value, "user", None), value
        if pair in self._tried:
            return False
        self._tried.append(pair)
        return True


def hidden(value: str) -> HiddenText:
    """Return the credential as a text that shows itself nowhere; its user is kept."""
    return value if isinstance(value, HiddenText) else HiddenText(value)


def user_option(value: HiddenText) -> dict[str, Any]:
    """Return what tells a driver to log in as the user that the password belongs to, whoever stands in the URL."""
    return {"user": value.user} if isinstance(value, LoginPassword) else {}
