"""A process that stands still while a secret is being read, as a Lambda function does between two calls."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tegata_credentials.secret_service import CachePolicy, SecretService

from .scripted import login, until

HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture
def patient(store, clock):
    made = SecretService(store, timing=clock.timing(), policy=CachePolicy(patience=5.0))
    yield made
    made.close()


def read(service: SecretService) -> str:
    return service.get_version("db").version


def stand_still_while_it_is_read(service, store, clock, seconds) -> threading.Event:
    """Begin to read ahead, and let so much time pass before the answer is dealt with."""
    store.put("db", login("one"), "v1")
    read(service)
    gate = store.shut("db")
    clock.pass_by(240.0)
    read(service)
    until(lambda: len(store.calls) == 2)
    clock.pass_by(seconds)
    return gate


@pytest.mark.parametrize("seconds", [HOUR, 3 * DAY])
def test_the_first_reader_afterwards_waits_for_what_is_under_way(patient, store, clock, seconds):
    gate = stand_still_while_it_is_read(patient, store, clock, seconds)
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(read, patient)
        with pytest.raises(TimeoutError):
            found.result(timeout=0.1)
        gate.set()
        assert found.result() == "v1"


def test_an_answer_from_before_is_not_taken_for_a_new_one(patient, store, clock):
    stand_still_while_it_is_read(patient, store, clock, HOUR).set()
    assert read(patient) == "v1"
    assert len(store.calls) == 3
