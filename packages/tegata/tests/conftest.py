"""Fixtures shared by all tests of the server: PostgreSQL clusters and databases.

Every xdist worker has its own cluster for each version, started when the first test asks for it (under a second).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tegata.testing.clusters import Cluster, MigratedDatabase

POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")

VERSIONS = [
    pytest.param(
        "15", marks=pytest.mark.skipif(not POSTGRES_15.exists(), reason="PostgreSQL 15 is not installed"), id="pg15"
    ),
    pytest.param("18", id="pg18"),
]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """asyncpg and uvicorn run on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def clusters() -> Iterator[dict[str, Cluster]]:
    """The clusters by major version; each starts when it is first used."""
    every = {"15": Cluster(POSTGRES_15), "18": Cluster()}
    yield every
    for cluster in every.values():
        cluster.stop()


@pytest.fixture(scope="module", params=VERSIONS)
def each_cluster(request: pytest.FixtureRequest, clusters: dict[str, Cluster]) -> Cluster:
    """A cluster of each supported version that is there: the test runs once for each."""
    return clusters[request.param]


@pytest.fixture(scope="module")
def each_migrated_database(each_cluster: Cluster) -> Iterator[MigratedDatabase]:
    """A migrated database on each version."""
    with each_cluster.migrated_database() as database:
        yield database


@pytest.fixture(scope="module")
def migrated_database(clusters: dict[str, Cluster]) -> Iterator[MigratedDatabase]:
    """A migrated database of this module's own, on the version that `tegata dev` runs."""
    with clusters["18"].migrated_database() as database:
        yield database
