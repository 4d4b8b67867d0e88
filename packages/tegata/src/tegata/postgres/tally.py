"""What went wrong with the database so far, by class, for metrics. Counting is adding to an integer."""

from __future__ import annotations

import asyncpg

from tegata_credentials.errors import CredentialError

_OF_THE_CONNECTION = (asyncpg.InterfaceError, CredentialError, OSError, TimeoutError)


class Tally:
    """The errors of one pool's connections, and the requests that got none."""

    def __init__(self) -> None:
        self.refused = 0
        self.errors: dict[str, int] = {}

    def count(self, error: BaseException) -> None:
        """Count an error of the database or of the connection; anything else is somebody else's."""
        if isinstance(error, asyncpg.PostgresError):
            name = (error.sqlstate or "")[:2] or "other"
        elif isinstance(error, _OF_THE_CONNECTION):
            name = "connection"
        else:
            return
        self.errors[name] = self.errors.get(name, 0) + 1
