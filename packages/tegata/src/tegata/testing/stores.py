"""What the application under test keeps its rows in: memory, or a real PostgreSQL entered as the server enters it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tegata.app import Backend
from tegata.postgres.changes import ChangeListener
from tegata.postgres.storage import PostgresOperatorStorage, PostgresStorage
from tegata.storage.ports import OperatorStorage, Storage
from tegata.testing.clock import SetClock
from tegata.testing.clusters import MigratedDatabase
from tegata.testing.memory import MemoryStorage
from tegata.testing.patience import PATIENT


@dataclass(frozen=True, slots=True)
class Stores:
    """`operator` is what tests set up and look with, `backend` what the application has."""

    operator: OperatorStorage
    backend: Backend


def in_memory(clock: SetClock, through: Callable[[MemoryStorage], Storage] | None = None) -> Stores:
    """One memory for both; `through` wraps what the application sees."""
    storage = MemoryStorage(clock)

    async def close() -> None:
        """Memory needs no closing."""

    return Stores(storage, Backend(storage if through is None else through(storage), storage, close))


async def on_postgres(database: MigratedDatabase) -> Stores:
    """The application role for the application, so that row-level security holds it; maintenance for the tests."""
    storage = PostgresStorage(database.app, PATIENT)
    operator = PostgresOperatorStorage(database.maintenance, replace(PATIENT, size=1))
    changes = ChangeListener(database.app)

    async def close() -> None:
        await changes.close()
        await storage.close()
        await operator.close()

    await changes.start()
    return Stores(operator, Backend(storage, changes, close))
