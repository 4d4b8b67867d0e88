"""More requests than the database can take: each is answered in time, and no more of them wait than may."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tegata.postgres.engine import Database
from tegata.postgres.tenancy import across_tenants
from tegata.testing.clusters import MigratedDatabase
from tegata.testing.durable import DurableDatabase
from tegata.testing.patience import PATIENT

from .redemption import House
from .served import Serving, serving_on

pytestmark = pytest.mark.anyio

WAIT_SECONDS, STATEMENT_SECONDS, QUEUE = 15.0, 120.0, 5
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[DurableDatabase, MigratedDatabase]]:
    durable = DurableDatabase()
    with durable as database:
        yield durable, database


@pytest.fixture
async def serving(server: tuple[DurableDatabase, MigratedDatabase], tmp_path: Path) -> AsyncIterator[Serving]:
    bounds = {
        "pool_size": "1",
        "pool_overflow": "1",
        "pool_wait_seconds": str(WAIT_SECONDS),
        "pool_queue": str(QUEUE),
        "statement_timeout_seconds": str(STATEMENT_SECONDS),
    }
    async with serving_on(*server, tmp_path / "log", settings=bounds) as started:
        yield started


def told(serving: Serving) -> list[dict[str, object]]:
    ended, _, _ = serving.log.read_text().rpartition("\n")  # the last line may be being written
    return [json.loads(line) for line in ended.splitlines() if line.startswith("{")]


def refresh(house: House) -> dict[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": "nobody has it"}


async def test_who_cannot_be_served_is_told_within_the_wait_and_beyond_the_queue_at_once(
    serving: Serving, count: Callable[..., None]
) -> None:
    here = serving.houses[0]
    admin = Database(serving.database.admin, PATIENT)
    address = serving.clients.address
    async with httpx2.AsyncClient(base_url=address, timeout=180, trust_env=False) as http:

        async def ask() -> tuple[float, httpx2.Response]:
            began = time.monotonic()
            answer = await http.post(
                f"/{here.who.name}/token", data=refresh(here), auth=(here.client.client_id, here.secret)
            )
            return time.monotonic() - began, answer

        async with across_tenants(admin) as connection:
            await connection.execute("lock table tegata.refresh_token in access exclusive mode")
            holding = [asyncio.create_task(ask()) for _ in range(2)]
            async with asyncio.timeout(PATIENCE_SECONDS):
                while await admin_sees_waiting(connection) < 2:  # both connections are taken
                    await asyncio.sleep(0.02)
            queued = [asyncio.create_task(ask()) for _ in range(QUEUE)]
            # The writer of the audit log may be one of them.
            await until_it_says(f'tegata_database_pool_waiting{{pool="writer",worker="0"}} {QUEUE}.0', http)
            answers = await asyncio.gather(*(ask() for _ in range(40 - QUEUE)))
            page = await http.get(f"/{here.who.name}/sign-in?interaction={'x' * 43}", headers={"accept": "text/html"})
            answers += await asyncio.gather(*queued)
            slowest = max(seconds for seconds, _ in answers)
            assert not any(task.done() for task in holding)
        await asyncio.gather(*holding)
        assert (await ask())[1].status_code == 400  # the lock is gone: served as before
    await admin.close()

    reasons = Counter(str(entry["reason"]) for entry in told(serving) if entry["event"] == "storage_unavailable")
    answered = {reason.replace(" ", "_"): number for reason, number in reasons.items()}
    count("40 requests for 2 busy connections", **answered, seconds_the_slowest=round(slowest, 2))
    for _, answer in answers:
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        assert int(answer.headers["retry-after"]) > 0
    assert reasons["too many requests wait for a database connection"] >= 40 - QUEUE
    assert 1 <= reasons["no free database connection"] <= QUEUE
    assert slowest < STATEMENT_SECONDS  # nobody waited for the lock
    assert (page.status_code, page.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert int(page.headers["retry-after"]) > 0


async def until_it_says(line: str, http: httpx2.AsyncClient) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while line not in (metrics := (await http.get("/metrics")).text):
        assert time.monotonic() < deadline, metrics
        await asyncio.sleep(0.02)


async def admin_sees_waiting(connection: object) -> int:
    found: int = await connection.fetchval(  # type: ignore[attr-defined]
        "select count(*) from pg_locks where not granted and relation = 'tegata.refresh_token'::regclass"
    )
    return found


async def test_the_server_says_at_start_how_many_connections_it_may_open(serving: Serving) -> None:
    (budget,) = [entry for entry in told(serving) if entry["event"] == "connection_budget"]
    assert (budget["level"], budget["processes"], budget["of_each"], budget["wanted"]) == ("info", 1, 3, 3)
    assert (budget["max_connections"], budget["reserved"], budget["allowed"]) == (100, 3, 97)


async def test_more_connections_than_the_server_has_are_warned_of(
    server: tuple[DurableDatabase, MigratedDatabase], tmp_path: Path
) -> None:
    async with serving_on(*server, tmp_path / "log", workers=2, settings={"pool_size": "60"}) as greedy:
        entries = [entry for entry in told(greedy) if entry["event"] == "connection_budget_exceeded"]
    assert entries
    for entry in entries:
        assert (entry["level"], entry["wanted"], entry["allowed"]) == ("warning", 122, 97)
