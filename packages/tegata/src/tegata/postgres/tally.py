"""What went wrong with the database so far, by class, for metrics. Counting is adding to an integer."""

from __future__ import annotations

import asyncpg

from tegata_credentials.errors import CredentialError

# PostgreSQL has some forty (PostgreSQL documentation, "PostgreSQL Error Codes").
_MOST_CLASSES = 64
_OF_THE_CONNECTION = (asyncpg.InterfaceError, CredentialError, OSError, TimeoutError)


class Tally:
    """The errors of one pool's connections, and the requests that got none."""

    def __init__(self) -> None:
        self.refused = 0
        self.errors: dict[str, int] = {}

    def count(self, error: BaseException) -> None:
        """Count an error of the database or of the connection; anything else is somebody else's."""
        if isinstance(error, asyncpg.PostgresError):
            name = self._class_of(error.sqlstate or "")
        elif isinstance(error, _OF_THE_CONNECTION):
            name = "connection"
        else:
            return
        self.errors[name] = self.errors.get(name, 0) + 1

    def _class_of(self, state: str) -> str:
        """Return the class, which is a label: few of them, whatever a server answers."""
        found = state[:2]
        if not (found.isascii() and found.isalnum()):
            return "other"
        return found if found in self.errors or len(self.errors) < _MOST_CLASSES else "other"
