"""PostgreSQL is killed under load, paused and slow: no wrong answer, nothing spent twice, nothing acknowledged is lost,
and the same server process goes on."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tegata.crypto.envelope import Envelope, new_master_key
from tegata.postgres.storage import PostgresOperatorStorage
from tegata.testing.clusters import MigratedDatabase
from tegata.testing.durable import DurableDatabase
from tegata_credentials.testing import free_port

from .redemption import BASE_URL, Clients, House, Ledger, furnish, make_codes

pytestmark = pytest.mark.anyio

TEGATA = Path(sys.executable).parent / "tegata"
PATIENCE_SECONDS = 60.0
LIVES_AT_ONCE = 6


@dataclass(slots=True)
class Serving:
    """A database, two tenants in it, and one `tegata serve` on it."""

    server: DurableDatabase
    database: MigratedDatabase
    houses: list[House]
    clients: Clients
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def ledger(self) -> Ledger:
        return self.clients.ledger

    async def until_served(self) -> float:
        """Wait until requests are answered again; return the seconds it took."""
        began = time.monotonic()
        while not all([await self.clients.is_served(house) for house in self.houses]):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() - began < PATIENCE_SECONDS, self.log.read_text()[-4000:]
            await asyncio.sleep(0.02)
        return time.monotonic() - began


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[DurableDatabase, MigratedDatabase]]:
    durable = DurableDatabase()
    with durable as database:
        yield durable, database


@pytest.fixture
async def serving(server: tuple[DurableDatabase, MigratedDatabase], tmp_path: Path) -> AsyncIterator[Serving]:
    durable, database = server
    key, port = new_master_key(), free_port()
    operator = PostgresOperatorStorage(database.maintenance)
    houses = [await furnish(operator, Envelope.from_text(key)) for _ in range(2)]
    await operator.close()
    environment = {
        "PATH": os.environ["PATH"],
        "TEGATA_PORT": str(port),
        "TEGATA_WORKERS": "2",
        "TEGATA_MASTER_KEY": key,
        "TEGATA_BASE_URL": BASE_URL,
        "TEGATA_DATABASE_URL": database.app.psycopg_conninfo(),
        "TEGATA_DATABASE_POOL_SIZE": "3",
        "TEGATA_DATABASE_POOL_WAIT_SECONDS": "1",
        "TEGATA_DATABASE_STATEMENT_TIMEOUT_SECONDS": "2",
    }
    log = tmp_path / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen([str(TEGATA), "serve"], env=environment, stdout=sink, stderr=subprocess.STDOUT)
    clients = Clients(f"http://127.0.0.1:{port}", Ledger())
    serving = Serving(durable, database, houses, clients, process, log)
    try:
        await serving.until_served()
        yield serving
    finally:
        durable.resume()
        await clients.close()
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def begin(serving: Serving, codes_each: int = 1000) -> list[asyncio.Task[None]]:
    """Let clients of both tenants work."""
    operator = PostgresOperatorStorage(serving.database.maintenance)
    stocks = [await make_codes(operator, house, codes_each) for house in serving.houses]
    await operator.close()
    return [
        asyncio.create_task(serving.clients.live(house, stock))
        for house, stock in zip(serving.houses, stocks, strict=True)
        for _ in range(LIVES_AT_ONCE)
    ]


async def until_redeemed(serving: Serving, more: int) -> None:
    """Wait until that many more codes have been redeemed: there is load."""
    wanted = len(serving.ledger.redeemed) + more
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(serving.ledger.redeemed) < wanted:
        assert time.monotonic() < deadline, serving.ledger.statuses
        await asyncio.sleep(0.01)


async def finish(serving: Serving, lives: list[asyncio.Task[None]]) -> None:
    """Let the clients end what they have begun, and see what became of everything that was acknowledged."""
    serving.clients.stopped.set()
    await asyncio.gather(*lives)
    ledger = serving.ledger
    acknowledged = list(serving.clients.current)
    kept = [await serving.clients.rotate(house, token) for house, token in acknowledged]
    print(f"\n{dict(ledger.statuses)}, the longest after {ledger.longest_seconds:.1f} s")
    twice = sum(count > 1 for count in ledger.redeemed.values())
    print(f"codes redeemed {len(ledger.redeemed)}, twice {twice}")
    forked = sum(len(found) > 1 for found in ledger.successors.values())
    print(f"refresh tokens rotated {len(ledger.successors)}, with two successors {forked}")
    print(f"acknowledged {len(kept)}, good afterwards {sum(token is not None for token in kept)}")
    log = serving.log.read_text()
    assert ledger.faults == [], [line for line in log.splitlines() if "unexpected_error" in line]
    assert set(ledger.redeemed.values()) == {1}
    assert all(len(found) == 1 for found in ledger.successors.values())
    assert None not in kept
    assert "unexpected_error" not in log
    assert serving.process.poll() is None


async def test_a_database_that_is_killed_under_load_is_survived(serving: Serving) -> None:
    """Killed with all its processes, three times, and once by the death of a single session."""
    lives = await begin(serving)
    told = []
    for _ in range(3):
        await until_redeemed(serving, 40)
        await asyncio.to_thread(serving.server.kill)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(serving.server.start_again)
        told.append(f"{await serving.until_served():.2f} s after the database")
    await until_redeemed(serving, 40)
    serving.server.kill_one_session()
    told.append(f"{await serving.until_served():.2f} s after the death of a session")
    await until_redeemed(serving, 40)
    await finish(serving, lives)
    print("back " + ", ".join(told))


async def test_what_was_changed_while_nobody_listened_is_known(serving: Serving) -> None:
    """A client that was disabled in the moment after the restart, before the listener was back."""
    here = serving.houses[0]
    assert await serving.clients.is_served(here)
    await asyncio.to_thread(serving.server.kill)
    await asyncio.to_thread(serving.server.start_again)
    operator = PostgresOperatorStorage(serving.database.maintenance)
    disabled = replace(here.client, metadata=replace(here.client.metadata, disabled=True))
    await operator.put_client(here.who.tenant_id, disabled, events=[])
    await operator.close()
    deadline = time.monotonic() + 20  # a cache alone would take 30
    while await serving.clients.is_served(here):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert await serving.clients.is_served(serving.houses[1])
