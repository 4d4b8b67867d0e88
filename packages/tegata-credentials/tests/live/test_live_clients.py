"""Clients connect and ask, again and again, while their password is rotated fifty times and much goes wrong.

Nothing may fail: neither while the store of secrets throttles, errs, loses answers or is silent, nor while a step of a
rotation is repeated, doubled or begun anew (invariant I8).
"""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.config import Config
from sqlalchemy import NullPool, text

from tegata_credentials.asyncpg import connect as asyncpg_connect
from tegata_credentials.errors import SecretUnavailable
from tegata_credentials.psycopg import connect as psycopg_connect
from tegata_credentials.rotation.aws_store import AwsVersions
from tegata_credentials.rotation.plans import AlternatingUsersPlan
from tegata_credentials.rotation.steps import Rotation
from tegata_credentials.rotation.strategies import strategy_of
from tegata_credentials.secret_service import CachePolicy, SecretLogin, SecretService, SyncSecretLogin
from tegata_credentials.sources.aws_secrets_manager import AwsSecretsManager
from tegata_credentials.sqlalchemy import create_async_engine
from tegata_credentials.testing.secrets_manager import (
    DUPLICATED,
    INTERNAL_ERROR,
    LOST_RESPONSE,
    THROTTLED,
    UNAVAILABLE,
    InvocationFailed,
    RotationService,
    Silence,
    StandIn,
)

from .conftest import LivePair

pytestmark = pytest.mark.anyio

ROTATIONS = 50
# Here passwords change faster than caches forget, and the store fails just then: a refused login has to outwait that.
BUDGET = 120.0
ATTEMPTS = 60  # at a step, before a rotation is given up: on a busy machine honest answers are too late as well
LONGEST = 120.0  # that a client needs for an operation
SEED = 20_261_121
PAUSE = 0.1  # of each client between two operations: room for the rotation on a small machine
ASK = "select current_user::text"
FUNCTION, CLIENT = "AKIAFUNCTION", "AKIACLIENT"
# The SDK pauses for seconds before it calls a fourth time; twice is enough to get through, and to give up, quickly.
CALLS = 2
SHORT = Config(retries={"mode": "standard", "total_max_attempts": CALLS}, connect_timeout=0.5, read_timeout=0.5)

OF_THE_FUNCTION = (
    ("PutSecretValue", LOST_RESPONSE, 1),
    ("PutSecretValue", THROTTLED, CALLS - 1),
    ("PutSecretValue", DUPLICATED, 1),
    ("PutSecretValue", INTERNAL_ERROR, CALLS),
    ("UpdateSecretVersionStage", LOST_RESPONSE, 1),
    ("UpdateSecretVersionStage", UNAVAILABLE, CALLS),
    ("UpdateSecretVersionStage", DUPLICATED, 1),
    ("DescribeSecret", THROTTLED, CALLS),
    ("GetSecretValue", Silence(0.8), 1),
    ("GetSecretValue", INTERNAL_ERROR, CALLS - 1),
)
OF_CLIENTS = (
    ("GetSecretValue", THROTTLED, CALLS + 1),
    ("GetSecretValue", Silence(0.8), CALLS),
    ("GetSecretValue", UNAVAILABLE, CALLS),
)


@dataclass
class Tally:
    """What one client did."""

    operations: int = 0
    errors: list[str] = field(default_factory=list)

    def note(self, group: object, expected: str) -> None:
        self.operations += 1
        if group != expected:
            self.errors.append(f"asked as {group}")


def service_of(stand_in: StandIn, name: str, policy: CachePolicy) -> tuple[SecretService, Any]:
    """Return a service that has read the secret once, and its client."""
    client = stand_in.client(principal=CLIENT, config=SHORT)
    service = SecretService(AwsSecretsManager(client), policy=policy)
    latest = time.monotonic() + LONGEST
    while True:
        try:
            service.get_version(name)
        except SecretUnavailable:
            assert time.monotonic() < latest, "the secret cannot be read"
            time.sleep(policy.unavailable_pause)
        else:
            return service, client


async def until(stopped: threading.Event, act: Callable[[], Awaitable[object]], tally: Tally, group: str) -> None:
    while not stopped.is_set():
        try:
            tally.note(await act(), group)
            await asyncio.sleep(PAUSE)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client has failed
            tally.errors.append(f"{type(error).__name__}: {error}")


def until_each_goes_on(tallies: Collection[Tally]) -> None:
    """Wait until each client has begun an operation and ended it since now, or has failed."""
    waited_for = {id(tally): tally.operations + 2 for tally in tallies}
    latest = time.monotonic() + LONGEST
    while any(tally.operations < waited_for[id(tally)] and not tally.errors for tally in tallies):
        assert time.monotonic() < latest, "a client does not go on"
        time.sleep(0.005)


def rotate_many(
    stand_in: StandIn, live: LivePair, faults: random.Random, told: dict[str, int], tallies: Collection[Tally]
) -> None:
    """Play Secrets Manager: fifty rotations, each with a fault or two; a step that fails is delivered again."""
    client, unhurried = stand_in.client(principal=FUNCTION, config=SHORT), stand_in.client()
    store, watched = AwsVersions(client), AwsVersions(unhurried)
    plan = AlternatingUsersPlan(
        secret=live.arn, strategy="alternating-users", group=live.pair.group, administrator=live.rotator
    )
    rotation = Rotation(store, {live.arn: strategy_of(plan, store)})
    manager = RotationService(stand_in, attempts=ATTEMPTS)
    manager.register(live.arn, rotation.handle)
    for number in range(ROTATIONS):
        for operation, fault, times in faults.sample(OF_THE_FUNCTION, k=number % 3):
            stand_in.faults.next(operation, fault, times=times, principal=FUNCTION)
            told["faults"] += 1
        if number % 4 == 1:
            operation, fault, times = faults.choice(OF_CLIENTS)
            stand_in.faults.next(operation, fault, times=times, principal=CLIENT)
            told["faults"] += 1
        token = manager.begin(live.arn)
        if number % 5 == 0:
            # Delivered twice at once, at the step where it could hurt.
            with suppress(InvocationFailed):
                manager.deliver_next()
            manager.deliver_together(manager.events[0], manager.events[0])
        manager.run()
        told["repeated steps"] += len(manager.delivered) - 4
        manager.delivered.clear()
        assert watched.labels(live.arn).holder("AWSCURRENT") == token
        until_each_goes_on(tallies)
    client.close()
    unhurried.close()


async def test_no_operation_fails_across_fifty_rotations_with_faults(
    live_pair: LivePair, stand_in: StandIn, count: Callable[..., None]
) -> None:
    group = live_pair.pair.group
    # One keeps a value for seconds, as all do by default for minutes: it is refused and asks again. One hardly does.
    patient, patient_client = service_of(
        stand_in, live_pair.name, CachePolicy(unavailable_pause=0.2, throttled_pause=0.2)
    )
    quick, quick_client = service_of(
        stand_in, live_pair.name, CachePolicy(ttl=0.5, unavailable_pause=0.2, throttled_pause=0.2)
    )
    tallies = {name: Tally() for name in ("asyncpg", "psycopg", "SQLAlchemy", "SQLAlchemy pool")}
    stopped = threading.Event()
    fresh = create_async_engine(
        live_pair.url("asyncpg"), password=SecretLogin(patient, live_pair.name, budget=BUDGET), poolclass=NullPool
    )
    pooled = create_async_engine(
        live_pair.url("asyncpg"),
        password=SecretLogin(quick, live_pair.name, budget=BUDGET),
        pool_size=2,
        pool_recycle=1,
    )
    by_asyncpg, by_psycopg = (
        SecretLogin(quick, live_pair.name, budget=BUDGET),
        SyncSecretLogin(patient, live_pair.name, budget=BUDGET),
    )

    async def with_asyncpg() -> object:
        connection = await asyncpg_connect(live_pair.url(), password=by_asyncpg)
        try:
            return await connection.fetchval(ASK)
        finally:
            await connection.close()

    def asking(engine: Any) -> Callable[[], Awaitable[object]]:
        async def ask() -> object:
            async with engine.connect() as connection:
                return (await connection.execute(text(ASK))).scalar()

        return ask

    def with_psycopg() -> None:
        tally = tallies["psycopg"]
        while not stopped.is_set():
            try:
                with psycopg_connect(live_pair.url(), password=by_psycopg) as connection:
                    row = connection.execute(ASK).fetchone()
                    tally.note(row and row[0], group)
                stopped.wait(PAUSE)
            except Exception as error:  # noqa: BLE001 - whatever it is, the client has failed
                tally.errors.append(f"{type(error).__name__}: {error}")

    told = dict.fromkeys(("faults", "repeated steps"), 0)
    clients = [
        asyncio.create_task(until(stopped, with_asyncpg, tallies["asyncpg"], group)),
        asyncio.create_task(until(stopped, asking(fresh), tallies["SQLAlchemy"], group)),
        asyncio.create_task(until(stopped, asking(pooled), tallies["SQLAlchemy pool"], group)),
        asyncio.create_task(asyncio.to_thread(with_psycopg)),
    ]
    try:
        await asyncio.to_thread(rotate_many, stand_in, live_pair, random.Random(SEED), told, tallies.values())
    finally:
        stopped.set()
        await asyncio.gather(*clients)
        await asyncio.gather(fresh.dispose(), pooled.dispose())
        for service, client in ((patient, patient_client), (quick, quick_client)):
            service.close()
            client.close()
        stand_in.faults.clear()
    errors = list(itertools.chain.from_iterable(tally.errors for tally in tallies.values()))
    assert errors == []
    assert all(tally.operations >= ROTATIONS for tally in tallies.values()), tallies
    assert told["faults"] >= ROTATIONS
    operations = {name: tally.operations for name, tally in tallies.items()}
    count("live clients across rotations", rotations=ROTATIONS, **told, **operations, failed_operations=len(errors))
