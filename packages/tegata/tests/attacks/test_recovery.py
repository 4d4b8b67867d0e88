"""PostgreSQL is killed under load, paused and slow: no wrong answer, nothing spent twice, nothing acknowledged is lost,
and the same server process goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from tegata.postgres.engine import Database
from tegata.postgres.storage import PostgresOperatorStorage
from tegata.postgres.tenancy import across_tenants
from tegata.testing.durable import DurableDatabase
from tegata.testing.patience import PATIENT

from .redemption import make_codes
from .served import PATIENCE_SECONDS, Server, Serving, inhabited, started

Count = Callable[..., None]

pytestmark = pytest.mark.anyio

LIVES_AT_ONCE = 6


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server process for all of them: it outlives whatever becomes of its database."""
    durable = DurableDatabase()
    bounds = {"pool_size": "3", "pool_wait_seconds": "1", "statement_timeout_seconds": "2"}
    log = tmp_path_factory.mktemp("recovery") / "log"
    with durable as database, started(durable, database, log, workers=2, settings=bounds) as server:
        yield server


@pytest.fixture
async def serving(server: Server) -> AsyncIterator[Serving]:
    async with inhabited(server) as serving:
        yield serving


async def begin(serving: Serving, codes_each: int = 400) -> list[asyncio.Task[None]]:
    """Let clients of both tenants work."""
    operator = PostgresOperatorStorage(serving.database.maintenance, PATIENT)
    stocks = [await make_codes(operator, house, codes_each) for house in serving.houses]
    await operator.close()
    return [
        asyncio.create_task(serving.clients.live(house, stock))
        for house, stock in zip(serving.houses, stocks, strict=True)
        for _ in range(LIVES_AT_ONCE)
    ]


def end_sessions(server: DurableDatabase) -> None:
    """End every session as its own process would end it: with SIGTERM, which needs no postmaster."""
    for pid in server.sessions():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


async def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def until_redeemed(serving: Serving, more: int) -> None:
    """Wait until that many more codes have been redeemed: there is load."""
    wanted = len(serving.ledger.redeemed) + more
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(serving.ledger.redeemed) < wanted:
        assert time.monotonic() < deadline, serving.ledger.statuses
        await asyncio.sleep(0.01)


async def finish(serving: Serving, lives: list[asyncio.Task[None]], count: Count, what: str) -> None:
    """Let the clients end what they have begun, and see what became of everything that was acknowledged."""
    serving.clients.stopped.set()
    await asyncio.gather(*lives)
    ledger = serving.ledger
    acknowledged = list(serving.clients.current)
    kept = [await serving.clients.rotate(house, token) for house, token in acknowledged]
    count(
        f"database {what}: answers",
        **{status.replace(" ", "_"): number for status, number in sorted(ledger.statuses.items())},
        seconds_the_longest=round(ledger.longest_seconds, 1),
    )
    count(
        f"database {what}: redeemed",
        codes=len(ledger.redeemed),
        twice=sum(times > 1 for times in ledger.redeemed.values()),
        refresh_tokens=len(ledger.successors),
        with_two_successors=sum(len(found) > 1 for found in ledger.successors.values()),
        acknowledged=len(kept),
        of_them_good_afterwards=sum(token is not None for token in kept),
    )
    log = serving.log.read_text()
    assert ledger.faults == [], [line for line in log.splitlines() if "unexpected_error" in line]
    assert set(ledger.redeemed.values()) == {1}
    assert all(len(found) == 1 for found in ledger.successors.values())
    assert None not in kept
    assert "unexpected_error" not in log
    assert serving.process.poll() is None


async def test_a_database_that_is_killed_under_load_is_survived(serving: Serving, count: Count) -> None:
    """Killed with all its processes, three times, and once by the death of a single session."""
    lives = await begin(serving)
    back = []
    for _ in range(3):
        await until_redeemed(serving, 40)
        await asyncio.to_thread(serving.server.kill)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(serving.server.start_again)
        back.append(round(await serving.until_served(), 2))
    await until_redeemed(serving, 40)
    serving.server.kill_one_session()
    back.append(round(await serving.until_served(), 2))
    await until_redeemed(serving, 40)
    await finish(serving, lives, count, "killed three times and one session once")
    count("database killed: back after", seconds=back)


async def test_what_was_changed_while_nobody_listened_is_known(serving: Serving) -> None:
    """A client that was disabled in the moment after the restart, before the listener was back."""
    here = serving.houses[0]
    assert await serving.clients.is_served(here)
    await asyncio.to_thread(serving.server.kill)
    await asyncio.to_thread(serving.server.start_again)
    operator = PostgresOperatorStorage(serving.database.maintenance, PATIENT)
    disabled = replace(here.client, metadata=replace(here.client.metadata, disabled=True))
    await operator.put_client(here.who.tenant_id, disabled, events=[])
    await operator.close()
    deadline = time.monotonic() + 20  # a cache alone would take 30
    while await serving.clients.is_served(here):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert await serving.clients.is_served(serving.houses[1])


async def test_a_database_that_answers_nobody_new_is_waited_for_within_bounds(serving: Serving, count: Count) -> None:
    """The postmaster is paused under load and every session ended: all of them have to be opened anew."""
    lives = await begin(serving)
    await until_redeemed(serving, 20)
    serving.server.pause()
    before = serving.ledger.statuses["503 temporarily_unavailable"]

    def is_away() -> bool:
        end_sessions(serving.server)  # also one that was only just being opened
        return serving.ledger.statuses["503 temporarily_unavailable"] > before + 20

    await until(is_away)
    await until(lambda: serving.server.sessions() == [])
    assert (await serving.clients.status("/livez"), await serving.clients.status("/readyz")) == (200, 503)
    serving.server.resume()
    back = await serving.until_served()
    await until_redeemed(serving, 20)
    await finish(serving, lives, count, "paused")
    count("database paused: back after", seconds=round(back, 2))


async def test_a_database_that_is_too_slow_is_given_up_statement_by_statement(serving: Serving, count: Count) -> None:
    """A table that everything needs is locked for longer than a statement may take."""
    lives = await begin(serving)
    await until_redeemed(serving, 20)
    admin = Database(serving.database.admin, PATIENT)
    before = serving.ledger.statuses["503 temporarily_unavailable"]
    async with across_tenants(admin) as connection:
        await connection.execute("lock table tegata.grant_record in access exclusive mode")
        await until(lambda: serving.ledger.statuses["503 temporarily_unavailable"] > before + 20)
        assert await serving.clients.status("/livez") == 200
    await admin.close()
    await until_redeemed(serving, 20)
    await finish(serving, lives, count, "locked")
