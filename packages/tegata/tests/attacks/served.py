"""One `tegata serve` as a process of its own, on a database that can be killed, with two tenants in it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tegata.crypto.envelope import Envelope, new_master_key
from tegata.postgres.storage import PostgresOperatorStorage
from tegata.testing.clusters import MigratedDatabase
from tegata.testing.durable import DurableDatabase
from tegata.testing.patience import PATIENT
from tegata.testing.warm_starts import WarmPopen
from tegata_credentials.testing import free_port

from .redemption import BASE_URL, Clients, House, Ledger, furnish

TEGATA = Path(sys.executable).parent / "tegata"
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Server:
    """One `tegata serve` on a database."""

    durable: DurableDatabase
    database: MigratedDatabase
    master_key: str = field(repr=False)
    port: int
    process: subprocess.Popen[bytes]
    log: Path


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


@contextmanager
def started(
    durable: DurableDatabase, database: MigratedDatabase, log: Path, *, workers: int = 1, settings: Mapping[str, str]
) -> Iterator[Server]:
    """Start the server; it ends with the block. `settings`: those of the database, without the names' beginning."""
    key, port = new_master_key(), free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "TEGATA_PORT": str(port),
        "TEGATA_WORKERS": str(workers),
        "TEGATA_MASTER_KEY": key,
        "TEGATA_BASE_URL": BASE_URL,
        "TEGATA_METRICS_NETWORKS": "127.0.0.1",
        "TEGATA_DATABASE_URL": database.app.psycopg_conninfo(),
        **{f"TEGATA_DATABASE_{name.upper()}": value for name, value in settings.items()},
    }
    with log.open("wb") as sink:
        process = WarmPopen([str(TEGATA), "serve"], env=environment, stdout=sink, stderr=subprocess.STDOUT)
    try:
        yield Server(durable, database, key, port, process, log)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@asynccontextmanager
async def inhabited(server: Server) -> AsyncIterator[Serving]:
    """Make two tenants of one's own, and wait until the server serves them."""
    operator = PostgresOperatorStorage(server.database.maintenance, PATIENT)
    houses = [await furnish(operator, Envelope.from_text(server.master_key)) for _ in range(2)]
    await operator.close()
    clients = Clients(f"http://127.0.0.1:{server.port}", Ledger())
    serving = Serving(server.durable, server.database, houses, clients, server.process, server.log)
    try:
        await serving.until_served()
        yield serving
    finally:
        server.durable.resume()
        await clients.close()


@asynccontextmanager
async def serving_on(
    durable: DurableDatabase, database: MigratedDatabase, log: Path, *, workers: int = 1, settings: Mapping[str, str]
) -> AsyncIterator[Serving]:
    """Start the server, and wait until it serves."""
    with started(durable, database, log, workers=workers, settings=settings) as server:
        async with inhabited(server) as serving:
            yield serving
