"""The health address says whether the database answers, and to a stranger nothing more."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tegata_credentials.errors import IdentityUnavailable
from tegata_credentials.health import DatabaseHealth, describe_error

pytestmark = pytest.mark.anyio

SECRET = "password authentication failed for user appuser at 10.0.0.7"


class DriverError(Exception):
    sqlstate = "28P01"


class WrappingError(Exception):
    def __init__(self, orig: Exception) -> None:
        super().__init__(SECRET)
        self.orig = orig


def probe_of(outcome: object, calls: list[int] | None = None) -> Callable[[], Awaitable[object]]:
    async def probe() -> object:
        if calls is not None:
            calls.append(1)
        await asyncio.sleep(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return probe


async def test_an_answering_database_is_healthy():
    answer = await DatabaseHealth(probe_of(1), auth_method="managed_identity").check()
    assert answer == (200, {"status": "healthy", "database": "connected", "auth_method": "managed_identity"})


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (WrappingError(DriverError(SECRET)), "28P01"),
        (DriverError(SECRET), "28P01"),
        (OSError(SECRET), "OSError"),
        (IdentityUnavailable("unreachable", SECRET), "unreachable"),
        (TimeoutError(), "TimeoutError"),
        (asyncio.CancelledError(), "timeout"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_database_that_does_not_answer_is_503_with_no_word_of_why(error, reason, caplog):
    status, body = await DatabaseHealth(probe_of(error), auth_method="password").check()
    assert (status, body) == (
        503,
        {"status": "unhealthy", "database": "disconnected", "auth_method": "password"},
    )
    assert SECRET not in json.dumps(body) + caplog.text
    told = [(record.reason, record.getMessage()) for record in caplog.records]
    assert told == [(reason, f"database health check failed: {reason}")]


async def test_a_probe_that_fails_before_it_waits_is_503_too():
    def probe() -> Awaitable[object]:
        raise RuntimeError(SECRET)

    assert (await DatabaseHealth(probe, auth_method="password").check())[0] == 503


async def test_a_database_that_hangs_is_503_and_the_question_is_withdrawn(caplog):
    withdrawn = asyncio.Event()

    async def hang() -> object:
        try:
            return await asyncio.Event().wait()
        finally:
            withdrawn.set()

    health = DatabaseHealth(hang, auth_method="password", timeout_seconds=0.01)
    assert (await health.check())[0] == 503
    assert withdrawn.is_set()
    assert [record.reason for record in caplog.records] == ["timeout"]


async def test_callers_at_the_same_time_share_one_question_and_one_line_in_the_log(caplog):
    calls: list[int] = []
    health = DatabaseHealth(probe_of(OSError(), calls), auth_method="password")
    answers = await asyncio.gather(*(health.check() for _ in range(50)))
    assert {status for status, _ in answers} == {503}
    assert len(calls) == len(caplog.records) == 1
    await health.check()
    assert len(calls) == 2


async def test_a_caller_that_gives_up_does_not_take_the_answer_from_the_others():
    gate = asyncio.Event()

    async def wait() -> object:
        return await gate.wait()

    health = DatabaseHealth(wait, auth_method="password")
    first, second = asyncio.create_task(health.check()), asyncio.create_task(health.check())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    gate.set()
    assert (await second)[0] == 200


async def test_an_answer_can_be_changed_without_changing_the_next_one():
    health = DatabaseHealth(probe_of(1), auth_method="password")
    _, body = await health.check()
    body["status"] = "changed"
    assert (await health.check())[1]["status"] == "healthy"


def test_an_endless_chain_of_causes_ends():
    one: Any = OSError()
    one.orig = one
    assert describe_error(one) == "OSError"


def test_the_logger_is_the_documented_one(caplog):
    with caplog.at_level(logging.WARNING, logger="tegata_credentials"):
        asyncio.run(DatabaseHealth(probe_of(OSError()), auth_method="password").check())
    assert caplog.records[0].name == "tegata_credentials"
