"""A wrong clock deletes nothing and replaces nothing."""

from __future__ import annotations

import pytest

from tegata.cli.clocks import agreed_time
from tegata.cli.failures import CommandFailure
from tegata.cli.keys import rotated_by_hand
from tegata.crypto.envelope import Envelope
from tegata.flows.admin.apply import Operator
from tegata.flows.admin.key_times import PUBLISHED_SECONDS
from tegata.postgres.storage import PostgresOperatorStorage
from tegata.testing.clock import SetClock
from tegata.testing.clusters import MigratedDatabase
from tegata.testing.memory import MemoryStorage
from tegata.testing.patience import PATIENT

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("seconds", "side"), [(301, "ahead of"), (-301, "behind"), (10 * 365 * 86_400, "ahead of")])
async def test_a_clock_that_is_wrong_ends_the_command(seconds: int, side: str) -> None:
    clock = SetClock()
    with pytest.raises(CommandFailure, match=f"{abs(seconds)} s {side} the database's, so nothing is deleted"):
        await agreed_time(MemoryStorage(clock), lambda: clock() + seconds)


@pytest.mark.parametrize("seconds", [-299, 0, 299])
async def test_clocks_that_nearly_agree_do(seconds: int) -> None:
    clock = SetClock()
    assert await agreed_time(MemoryStorage(clock), lambda: clock() + seconds) == clock() + seconds


async def test_keys_are_not_replaced_by_hand_either() -> None:
    clock = SetClock()
    operator = Operator(MemoryStorage(clock), Envelope([b"x" * 32]), now=lambda: clock() + 10 * 365 * 86_400)
    with pytest.raises(CommandFailure, match="ahead of the database's, so no key is replaced"):
        await rotated_by_hand(operator, "acme", ["ES256"], published_seconds=PUBLISHED_SECONDS)


async def test_postgresql_tells_its_own_time(migrated_database: MigratedDatabase) -> None:
    storage = PostgresOperatorStorage(migrated_database.maintenance, PATIENT)
    try:
        await agreed_time(storage)
        with pytest.raises(CommandFailure):
            await agreed_time(storage, lambda: 4_000_000_000.0)
    finally:
        await storage.close()
