"""The tenant wall under attack. Every test counts its attempts by kind; the sums stand at the end of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tegata.testing.clusters import Cluster

from .siege import Siege, besieged


@pytest.fixture
def siege(each_cluster: Cluster, attacked: Callable[..., None]) -> Iterator[Siege]:
    """A database of its own for each test, on each PostgreSQL. At the end nothing may have come out or changed."""
    with each_cluster.migrated_database() as database, besieged(database) as begun:
        yield begun
        for kind, attempts in begun.attempts.items():
            attacked(kind, attempts=attempts, successes=sum(what.startswith(f"{kind}:") for what in begun.successes))
        begun.verify()
