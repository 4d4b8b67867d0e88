"""Attacks on the real application. A test marked xfail is a hole that is known and still open: closing it must turn
the test green, and then the mark goes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tegata.postgres.storage import PostgresOperatorStorage, PostgresStorage
from tegata.testing.clusters import MigratedDatabase
from tegata.testing.patience import PATIENT
from tegata.testing.records import World, inhabit
from tegata.testing.server import Server, serving


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Tenants `acme` and `other`, with the settings that production has by default."""
    async with serving() as started:
        yield started


@pytest.fixture
async def world(each_migrated_database: MigratedDatabase) -> AsyncIterator[World]:
    """Two tenants on each supported PostgreSQL."""
    storage = PostgresStorage(each_migrated_database.app, PATIENT)
    operator = PostgresOperatorStorage(each_migrated_database.maintenance, PATIENT)
    try:
        yield World(storage, operator, await inhabit(operator), await inhabit(operator))
    finally:
        await storage.close()
        await operator.close()
