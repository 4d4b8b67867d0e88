"""`python -m benchmarks.secrets`: what reading a secret costs, beside AWS's own cache and Powertools in the same run.

The figure is nanoseconds of CPU for one read that the cache answers; the ratio is to ours. Then a thousand callers ask
at once for a secret that nobody has read yet, and the calls that arrive at the service are counted. The service is the
stand-in on loopback; what counts as ours ends at the dictionary or the model that the caller gets.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_secretsmanager_caching import SecretCache, SecretCacheConfig

from tegata_credentials.secret_service import DatabaseCredentials, SecretService
from tegata_credentials.sources.aws_secrets_manager import AwsSecretsManager
from tegata_credentials.testing.secrets_manager import StandIn

NAME = "bench-dev-secret-database"
VALUE = {"username": "bench_a", "password": "not-secret", "engine": "postgres", "host": "db", "port": 5432}
LIFE = 300
CALLERS = 1000


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to read; `read` is called again and again with a warm cache."""

    name: str
    read: Callable[[str], object]


def main() -> int:
    """Parse the arguments, measure, print. Status 1 if a crowd of first readers made more than one call of ours."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.secrets", description=__doc__)
    parser.add_argument("--reads", type=int, default=50_000, help="reads of each contender")
    reads = parser.parse_args().reads
    with StandIn() as stand_in:
        os.environ.update(stand_in.environment())
        client = stand_in.client()
        client.create_secret(Name=NAME, SecretString=json.dumps({**VALUE, "dbname": "bench"}))
        print(f"Python {platform.python_version()}, {platform.machine()}, {reads:,} reads each")
        _print_hits(_contenders(client), reads)
        is_single = _print_crowds(stand_in, client)
        client.close()
    return 0 if is_single else 1


def _contenders(client: object) -> list[Contender]:
    ours = SecretService(AwsSecretsManager(client))
    caching = SecretCache(config=SecretCacheConfig(secret_refresh_interval=LIFE), client=client)
    powertools = SecretsProvider(boto3_client=client)
    return [
        Contender("tegata get_version", ours.get_version),
        Contender("tegata get(name, Model)", lambda name: ours.get(name, DatabaseCredentials)),
        Contender("aws-secretsmanager-caching", caching.get_secret_string),
        Contender("Powertools get", lambda name: powertools.get(name, max_age=LIFE)),
        Contender("Powertools get, as JSON", lambda name: powertools.get(name, max_age=LIFE, transform="json")),
    ]


def _print_hits(contenders: list[Contender], reads: int) -> None:
    print(f"| {'a read from the cache':28} | ns CPU | ratio | threads ns |")
    print("|---|---:|---:|---:|")
    first = 0.0
    for contender in contenders:
        alone = _cost(contender.read, reads)
        shared = _cost_in_threads(contender.read, reads)
        first = first or alone
        print(f"| {contender.name:28} | {alone:6,.0f} | {alone / first:5.1f} | {shared:10,.0f} |", flush=True)


def _cost(read: Callable[[str], object], reads: int) -> float:
    """Return nanoseconds of CPU for one read; the best of five, since others disturb and nobody helps."""
    read(NAME)
    times = []
    for _ in range(5):
        began = time.process_time_ns()
        for _ in range(reads // 5):
            read(NAME)
        times.append((time.process_time_ns() - began) / (reads // 5))
    return min(times)


def _cost_in_threads(read: Callable[[str], object], reads: int, threads: int = 8) -> float:
    def work() -> None:
        for _ in range(reads // threads):
            read(NAME)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    began = time.process_time_ns()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return (time.process_time_ns() - began) / (reads // threads * threads)


def _print_crowds(stand_in: StandIn, client: object) -> bool:
    print(f"| {f'{CALLERS:,} first reads at once':28} | calls |")
    print("|---|---:|")
    fresh: list[Contender] = _contenders(client)
    crowds = [fresh[0], fresh[2], fresh[3]]
    counts = {f"{contender.name}, threads": _crowd(stand_in, contender.read) for contender in crowds}
    counts["tegata aget, tasks"] = _crowd_of_tasks(stand_in, SecretService(AwsSecretsManager(client)))
    for name, calls in counts.items():
        print(f"| {name:28} | {calls:5} |")
    return all(calls == 1 for name, calls in counts.items() if name.startswith("tegata"))


def _crowd(stand_in: StandIn, read: Callable[[str], object]) -> int:
    stand_in.calls.clear()
    barrier = threading.Barrier(CALLERS)

    def work() -> None:
        barrier.wait()
        read(NAME)

    threads = [threading.Thread(target=work) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return stand_in.calls.count("GetSecretValue") + stand_in.calls.count("DescribeSecret")


def _crowd_of_tasks(stand_in: StandIn, service: SecretService) -> int:
    async def crowd() -> None:
        await asyncio.gather(*(service.aget_version(NAME) for _ in range(CALLERS)))

    stand_in.calls.clear()
    asyncio.run(crowd())
    return stand_in.calls.count("GetSecretValue")


if __name__ == "__main__":
    sys.exit(main())
