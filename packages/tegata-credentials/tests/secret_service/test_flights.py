"""One fetch that many wait for."""

from __future__ import annotations

import asyncio

import pytest

from tegata_credentials.secret_service.entry import Moment
from tegata_credentials.secret_service.flights import Flight, Pause, Wait, adrive, drive

pytestmark = pytest.mark.anyio


def steps(flight: Flight):
    yield Pause(0.25)
    yield Wait(flight, 10.0)
    return "read"


async def test_the_same_steps_are_taken_in_a_thread_and_in_a_loop():
    flight, pauses = Flight(0, Moment(0.0, 0.0)), []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        flight.land()

    assert await adrive(steps(flight), pause) == "read"
    assert drive(steps(flight), pauses.append) == "read"
    assert pauses == [0.25, 0.25]


async def test_who_comes_after_the_end_waits_no_more():
    flight = Flight(0, Moment(0.0, 0.0))
    flight.land()
    with pytest.raises(StopIteration):
        flight.await_end(10.0).send(None)


async def test_who_has_stopped_waiting_is_not_in_the_way_of_the_others():
    flight = Flight(0, Moment(0.0, 0.0))
    await flight.await_end(0.0)
    cancelled = asyncio.create_task(flight.await_end(10.0))
    waiting = asyncio.create_task(flight.await_end(10.0))
    await asyncio.sleep(0)
    cancelled.cancel()
    flight.land()
    await waiting
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert flight.is_landed


def test_what_goes_wrong_in_a_step_is_raised_to_the_caller():
    def broken():
        yield Pause(0.0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        drive(broken(), lambda _: None)


def test_patience_is_counted_from_the_beginning_of_a_fetch_as_long_as_somebody_looks():
    flight = Flight(0, Moment(100.0, 0.0))
    assert [flight.waited_from(now, 12.0) for now in (100.0, 112.0, 124.0)] == [100.0] * 3


def test_who_finds_a_fetch_that_nobody_has_looked_at_has_patience_of_his_own():
    flight = Flight(0, Moment(100.0, 0.0))
    assert [flight.waited_from(now, 12.0) for now in (3600.0, 3609.0)] == [3600.0] * 2
