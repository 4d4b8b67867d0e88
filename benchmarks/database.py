"""`python -m benchmarks.database`: what acts of the store cost PostgreSQL, with ever more rows and ever more tenants.

The cost is CPU time of the one backend that does the work, which moves less than elapsed time on a shared machine. The
column to read is the ratio to the smallest size: flat is the aim.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tegata.crypto.envelope import Envelope, new_master_key
from tegata.crypto.keys import generate_key, private_bytes, public_jwk
from tegata.flows.admin.apply import Operator, apply
from tegata.flows.admin.desired import resolve
from tegata.flows.admin.documents import parse_documents
from tegata.flows.admin.keys import KeyMaker
from tegata.flows.admin.references import standard_references
from tegata.flows.directory import SIGNING_KEY_PURPOSE
from tegata.identifiers import TenantId
from tegata.postgres.engine import PoolLimits
from tegata.postgres.storage import PostgresOperatorStorage, PostgresStorage
from tegata.protocol.policy import SigningAlgorithm
from tegata.storage.records import KeyState, SigningKeyRecord
from tegata.testing.clusters import Cluster, MigratedDatabase
from tegata.testing.crowd import analyze, crowd
from tegata.testing.hot_acts import hot_acts
from tegata.testing.records import Inhabited, World, inhabit

_ONE = PoolLimits(size=1, statement_seconds=60)
_TENANT = Path(__file__).with_name("small-tenant.yaml")
Costs = Mapping[str, float]


class _ReadyKeys(KeyMaker):
    """Seals keys made beforehand: making an RSA key takes 60 ms and more of CPU, whatever the database holds."""

    async def make(self, tenant_id: TenantId, algorithm: SigningAlgorithm, state: KeyState) -> SigningKeyRecord:
        public, private = _ready_key(algorithm, state)
        sealed = self.envelope.seal(private, tenant=str(tenant_id), purpose=SIGNING_KEY_PURPOSE)
        return SigningKeyRecord(public["kid"], algorithm, state, public, sealed, self.now(), self.now())


@cache
def _ready_key(algorithm: SigningAlgorithm, state: KeyState) -> tuple[dict[str, Any], bytes]:
    del state  # one key for each algorithm and state
    key = generate_key(algorithm)
    return public_jwk(key), private_bytes(key)


class _Quick(Operator):
    def key_maker(self) -> KeyMaker:
        return _ReadyKeys(self.envelope, self.now)


def main() -> int:
    """Parse the arguments, run both parts, and print two tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.database", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 100_000, 1_000_000], help="rows of each table")
    parser.add_argument("--tenants", type=int, default=10_000, help="tenants to create; 0 leaves that part out")
    parser.add_argument("--rounds", type=int, default=1_000, help="how often each act is done at each size")
    arguments = parser.parse_args()
    # On one core with PostgreSQL (which inherits this): waking another core up costs as much as a small statement.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print_acts({rows: measure_rows(rows, rounds=arguments.rounds) for rows in arguments.rows}, "rows")
    if arguments.tenants:
        measure_tenants(arguments.tenants, rounds=arguments.rounds)
    return 0


def measure_rows(rows: int, *, rounds: int) -> Costs:
    """Return the cost of each act in a tenant with `rows` rows of everything, in microseconds of CPU."""
    cluster = Cluster()
    try:
        with cluster.migrated_database() as database:

            async def measure() -> Costs:
                here, there = await _two_tenants(database)
                await asyncio.to_thread(crowd, database.admin, here.tenant_id, rows=rows)
                return await _measure_acts(database, here, there, rounds)

            return asyncio.run(measure())
    finally:
        cluster.stop()


def measure_tenants(tenants: int, *, rounds: int) -> None:
    """Create tenants through the flow behind `tegata apply`; print the time for each, and what acts cost then."""
    cluster = Cluster()
    try:
        with cluster.migrated_database() as database:
            asyncio.run(_measure_tenants(database, tenants, rounds))
    finally:
        cluster.stop()


async def _measure_tenants(database: MigratedDatabase, tenants: int, rounds: int) -> None:
    here, there = await _two_tenants(database)
    before = await _measure_acts(database, here, there, rounds)
    print(f"\n| tenants | ms for each, {_TENANT.name} | ratio |\n|---:|---:|---:|")
    storage = PostgresOperatorStorage(database.maintenance, PoolLimits(size=2, statement_seconds=60))
    operator, text = _Quick(storage, Envelope.from_text(new_master_key())), _TENANT.read_text()

    async def create(name: str) -> None:
        documents = parse_documents(text.replace("NAME", name).encode(), _TENANT.name)
        await apply(operator, resolve(documents, standard_references({})))

    await create("the-first")  # makes the keys
    step, first = max(tenants // 10, 1), 0.0
    for start in range(0, tenants, step):
        began = time.perf_counter()
        for number in range(start, min(start + step, tenants)):
            await create(f"crowd-{number}")
        each = (time.perf_counter() - began) / min(step, tenants - start)
        first = first or each
        print(f"| {start + step:6,} | {1e3 * each:6.2f} | {each / first:5.2f} |", flush=True)
    began, seen, after = time.perf_counter(), 0, None
    while page := await storage.list_tenants(after=after, limit=100):
        seen, after = seen + len(page), page[-1].name
    print(f"\nListing all {seen:,} in pages of 100: {1e3 * (time.perf_counter() - began) * 100 / seen:.2f} ms a page\n")
    await storage.close()
    print_acts({2: before, tenants: await _measure_acts(database, here, there, rounds)}, "tenants")


async def _two_tenants(database: MigratedDatabase) -> tuple[Inhabited, Inhabited]:
    operator = PostgresOperatorStorage(database.maintenance, _ONE)
    try:
        return await inhabit(operator), await inhabit(operator)
    finally:
        await operator.close()


async def _measure_acts(database: MigratedDatabase, here: Inhabited, there: Inhabited, rounds: int) -> Costs:
    """Do all acts `rounds` times, one after the other on one connection, and return the median of ten parts."""
    storage, operator = PostgresStorage(database.app, _ONE), PostgresOperatorStorage(database.maintenance, _ONE)
    try:
        world = World(storage, operator, here, there)
        backend = int(await storage.database.value("select pg_backend_pid()"))
        for _ in range(max(rounds // 10, 1)):
            for act in (await hot_acts(world)).values():
                await act()
        # Autovacuum would do it in a minute; until then, the plans are those of empty tables.
        await asyncio.to_thread(analyze, database.admin)
        parts: dict[str, list[float]] = defaultdict(list)
        for _ in range(10):
            many = [await hot_acts(world) for _ in range(max(rounds // 10, 1))]
            for name in many[0]:
                began = _cpu_seconds(backend)
                for acts in many:
                    await acts[name]()
                parts[name].append(1e6 * (_cpu_seconds(backend) - began) / len(many))
        return {name: statistics.median(values) for name, values in parts.items()}
    finally:
        await storage.close()
        await operator.close()


def _cpu_seconds(pid: int) -> float:
    """Return how long a process has run, by the scheduler's own account: /proc/.../stat counts in steps of 10 ms."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def print_acts(costs: Mapping[int, Costs], unit: str) -> None:
    """Print microseconds of PostgreSQL's CPU for each act, and the ratio of the largest size to the smallest."""
    sizes = list(costs)
    print(f"| DB µs/act | {' | '.join(f'{size:,} {unit}' for size in sizes)} | ratio |")
    print("|---|" + "---:|" * (len(sizes) + 1))
    for name in costs[sizes[0]]:
        values = [costs[size][name] for size in sizes]
        print(_line(name, values))
    print(_line("all", [sum(costs[size].values()) for size in sizes]), flush=True)


def _line(name: str, values: Sequence[float]) -> str:
    shown = " | ".join(f"{value:7.0f}" for value in values)
    return f"| {name:24} | {shown} | {values[-1] / max(values[0], 1):5.2f} |"


if __name__ == "__main__":
    raise SystemExit(main())
