"""The conformance suite runs against every implementation of the ports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from tegata.postgres.storage import PostgresOperatorStorage, PostgresStorage
from tegata.testing.clusters import Cluster, MigratedDatabase
from tegata.testing.memory import MemoryStorage
from tegata.testing.patience import PATIENT
from tegata.testing.records import World, inhabit


@pytest.fixture(scope="session", params=["memory", "pg15", "pg18"])
def implementation(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def database(implementation: str, clusters: dict[str, Cluster]) -> Iterator[MigratedDatabase | None]:
    """One database for the whole suite: every test has tenants of its own in it."""
    if implementation == "memory":
        yield None
        return
    cluster = clusters[implementation.removeprefix("pg")]
    if not cluster.is_installed:
        pytest.skip(f"{implementation} is not installed")
    with cluster.migrated_database() as migrated:
        yield migrated


@pytest.fixture
async def world(database: MigratedDatabase | None) -> AsyncIterator[World]:
    if database is None:
        memory = MemoryStorage()
        yield World(memory, memory, await inhabit(memory), await inhabit(memory))
        return
    limits = replace(PATIENT, size=8)
    storage = PostgresStorage(database.app, limits)
    operator = PostgresOperatorStorage(database.maintenance, limits)
    try:
        yield World(storage, operator, await inhabit(operator), await inhabit(operator))
    finally:
        await storage.close()
        await operator.close()
