"""A worker that is told to end does, at whatever moment of its beginning that comes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import pytest

from tegata.postgres.jobs import Chore, _cancel_until_ended, open_jobs
from tegata.testing.clusters import Cluster

pytestmark = pytest.mark.anyio


async def nothing() -> Mapping[str, object]:
    return {}


async def test_a_worker_that_has_just_begun_ends_when_it_is_told(clusters: dict[str, Cluster]) -> None:
    """While it begins it asks the database, and a cancellation could be lost there: it went on until it was killed."""
    with clusters["18"].migrated_database() as database:
        for milliseconds in range(40):
            chore = Chore("purge", "17 2 * * *", nothing)
            async with open_jobs(database.maintenance, [chore], finish_seconds=20) as jobs:
                stopping = asyncio.Event()
                working = asyncio.create_task(jobs.work(stopping))
                await asyncio.sleep(milliseconds / 1000)
                stopping.set()
                async with asyncio.timeout(120):
                    await working


async def test_what_has_not_heard_that_it_is_to_end_is_told_again() -> None:
    heard = []

    async def deaf() -> None:
        for _ in range(2):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
            heard.append(1)
        await asyncio.sleep(3600)

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await _cancel_until_ended([task])
    assert task.cancelled()
    assert heard == [1, 1]
