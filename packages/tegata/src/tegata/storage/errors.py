"""The two errors that storage raises. Everything else it finds is an outcome and is returned."""

from __future__ import annotations


class StorageError(Exception):
    """What storage implementations raise; never shown to a client."""


class Conflict(StorageError):
    """A row with this key exists, or the row was changed by somebody else. `what` names the record kind."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class Unavailable(StorageError):
    """The store cannot be reached or has no free connection. The caller answers 503 with Retry-After."""
