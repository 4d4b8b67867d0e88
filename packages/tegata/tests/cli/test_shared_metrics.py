"""Processes that share an address share their metrics: each speaks for all that live."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tegata.cli.shared_metrics import SharedMetrics
from tegata.telemetry.metrics import READER_READS, Source

pytestmark = pytest.mark.anyio


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short: a socket's path has room for about a hundred characters."""
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def counting(value: int) -> Source:
    return lambda: [READER_READS.sample(value)]


async def worker(directory: Path, stack: AsyncExitStack, value: int, *, patience: float = 60.0) -> SharedMetrics:
    metrics = SharedMetrics(directory, patience_seconds=patience)
    await metrics.start(counting(value))
    stack.push_async_callback(metrics.stop)
    return metrics


async def values(metrics: SharedMetrics) -> dict[str, float]:
    return {number: samples[0].value for number, samples in (await metrics.samples()).items()}


async def test_whichever_is_asked_answers_for_all(directory: Path, stack: AsyncExitStack) -> None:
    workers = [await worker(directory, stack, value) for value in (10, 20, 30)]
    for asked in workers:
        assert await values(asked) == {"0": 10, "1": 20, "2": 30}


async def test_one_that_stops_is_left_out_and_its_successor_takes_its_number(
    directory: Path, stack: AsyncExitStack
) -> None:
    first, second = [await worker(directory, stack, value) for value in (10, 20)]
    await first.stop()
    assert await values(second) == {"1": 20}
    await worker(directory, stack, 30)
    assert await values(second) == {"0": 30, "1": 20}


async def test_a_socket_that_a_killed_process_left_behind_is_no_obstacle(
    directory: Path, stack: AsyncExitStack
) -> None:
    for number in (0, 1):
        (directory / f"{number}.lock").touch()
        left = await asyncio.start_unix_server(lambda _, writer: writer.close(), directory / f"{number}.sock")
        left.close()
    (directory / "0.sock").touch()
    (directory / "1.sock").touch()
    metrics = await worker(directory, stack, 5)
    assert await values(metrics) == {"0": 5}


async def test_one_that_says_nothing_or_nonsense_does_not_keep_the_others_from_answering(
    directory: Path, stack: AsyncExitStack
) -> None:
    release = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    async def nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"[[")
        writer.close()

    first = await worker(directory, stack, 10, patience=0.1)
    for number, answer in ((7, silent), (8, nonsense)):
        stack.enter_context(_closing(await asyncio.start_unix_server(answer, directory / f"{number}.sock")))
    assert await values(first) == {"0": 10}
    release.set()


class _closing:
    def __init__(self, server: asyncio.Server) -> None:
        self._server = server

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._server.close()
