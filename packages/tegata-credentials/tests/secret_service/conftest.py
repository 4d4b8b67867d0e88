"""A service over a scripted store, on clocks that stand still or on real ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tegata_credentials.secret_service import CachePolicy, SecretService

from .scripted import Clock, Memory, Store


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()
    yield made
    for gate in made.gates.values():
        gate.set()
    assert made.twice_at_once == []


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def service(store: Store, clock: Clock, memory: Memory) -> Iterator[SecretService]:
    made = SecretService(store, observer=memory, timing=clock.timing(), policy=CachePolicy(patience=0.0))
    yield made
    made.close()


@pytest.fixture
def patient_service(store: Store, memory: Memory) -> Iterator[SecretService]:
    """With real clocks, for crowds and waiting; with time enough for a machine that is busy with something else."""
    made = SecretService(store, observer=memory, policy=CachePolicy(fetch_timeout=60.0, slow_after=60.0))
    yield made
    made.close()
