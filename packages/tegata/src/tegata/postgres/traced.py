"""The pool's statements with a span for each, by OpenTelemetry's "Semantic conventions for database spans".

A span has the name of the function that was called, or of the statement's verb: never the statement with what was
given to it. A class of its own, so that a server without traces has nothing more to do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import asyncpg

from tegata.postgres.engine import Database, PoolLimits, Row
from tegata.postgres.target import ConnectionTarget
from tegata.storage.errors import StorageError
from tegata.telemetry.spans import Attributes, Tracer

_CALL = re.compile(r"\b(tegata\.\w+)\(")


def open_database(target: ConnectionTarget, limits: PoolLimits | None, tracer: Tracer | None) -> Database:
    """Return the statements on a pool of connections, traced if there is a tracer."""
    return Database(target, limits) if tracer is None else TracedDatabase(target, limits, tracer)


class TracedDatabase(Database):
    """A `Database` that tells a tracer of each statement."""

    def __init__(self, target: ConnectionTarget, limits: PoolLimits | None, tracer: Tracer) -> None:
        super().__init__(target, limits)
        self._tracer = tracer

    async def rows(self, statement: str, *arguments: object) -> Sequence[Row]:
        """Run one statement and return its rows."""
        name, attributes = described(statement)
        with self._tracer.call(name, attributes) as span:
            try:
                return await super().rows(statement, *arguments)
            except (asyncpg.PostgresError, StorageError) as error:
                state = _state_of(error)
                if state is not None:
                    span.set("db.response.status_code", state)
                raise


@lru_cache(maxsize=256)
def described(statement: str) -> tuple[str, Attributes]:
    """Return a span's name and attributes. The statements are the constants of this package."""
    attributes: dict[str, str | int | float] = {"db.system.name": "postgresql"}
    found = _CALL.search(statement)
    if found is not None:
        name = found[1]
        attributes["db.stored_procedure.name"] = name
        return name, attributes
    verb = statement.split(maxsplit=1)[0].upper()
    attributes["db.operation.name"] = verb
    return verb, attributes


def _state_of(error: BaseException) -> str | None:
    """Return the SQLSTATE that an error of the database, or what it was translated to, comes with."""
    cause = error if isinstance(error, asyncpg.PostgresError) else error.__cause__
    return cause.sqlstate if isinstance(cause, asyncpg.PostgresError) else None
