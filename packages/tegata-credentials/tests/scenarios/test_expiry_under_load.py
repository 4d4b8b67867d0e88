"""Clients that connect and ask in a loop through several lives of a token, over every adapter: nothing is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.pool import NullPool

from tegata_credentials import asyncpg as our_asyncpg
from tegata_credentials import psycopg as our_psycopg
from tegata_credentials import sqlalchemy as our_sqlalchemy
from tegata_credentials.azure import managed_identity, sync_managed_identity
from tegata_credentials.testing import Laboratory
from tegata_credentials.tokens import RefreshPolicy, SyncTokenSource, TokenSource

pytestmark = pytest.mark.anyio

LIFETIME_SECONDS = 60
STEP_SECONDS = 7  # passes between two rounds, in which everybody asks once
LIVES = 3
CLIENTS = 2  # of each adapter, at the same time
LATEST_SECONDS = 120.0  # a loop that does not get its tokens ends here, and the test says so
QUERY = "select current_user"

Ask = Callable[[], Any]
Clock = Callable[[], float]
Adapter = Callable[[str, str, Clock], AbstractAsyncContextManager[Ask]]
POLICY = RefreshPolicy(fetch_timeout=60)


def source(role: str, clock: Clock) -> TokenSource:
    provider = managed_identity(f"client-of-{role}")
    return TokenSource(provider, auth_method="managed_identity", clock=clock, ticks=clock, policy=POLICY)


def sync_source(role: str, clock: Clock) -> SyncTokenSource:
    provider = sync_managed_identity(f"client-of-{role}")
    return SyncTokenSource(provider, auth_method="managed_identity", clock=clock, ticks=clock, policy=POLICY)


def over_sqlalchemy(driver: str, **options: Any) -> Adapter:
    @asynccontextmanager
    async def opened(url: str, role: str, clock: Clock) -> AsyncIterator[Ask]:
        tokens = source(role, clock)
        engine = our_sqlalchemy.create_async_engine(
            url.replace("postgresql://", f"postgresql+{driver}://"), password=tokens, **options
        )

        async def ask() -> Any:
            async with engine.connect() as connection:
                return (await connection.execute(text(QUERY))).scalar_one()

        yield ask
        await engine.dispose()
        await tokens.close()

    return opened


@asynccontextmanager
async def over_sync_sqlalchemy(url: str, role: str, clock: Clock) -> AsyncIterator[Ask]:
    tokens = sync_source(role, clock)
    engine = our_sqlalchemy.create_engine(
        url.replace("postgresql://", "postgresql+psycopg://"), password=tokens, poolclass=NullPool
    )

    def ask() -> Any:
        with engine.connect() as connection:
            return connection.execute(text(QUERY)).scalar_one()

    yield lambda: asyncio.to_thread(ask)
    engine.dispose()
    tokens.close()


@asynccontextmanager
async def over_asyncpg_pool(url: str, role: str, clock: Clock) -> AsyncIterator[Ask]:
    tokens = source(role, clock)
    # A connection is replaced after a few queries, so that the loop logs in again and again.
    async with our_asyncpg.create_pool(url, password=tokens, min_size=0, max_size=2, max_queries=3) as pool:
        yield lambda: pool.fetchval(QUERY)
    await tokens.close()


@asynccontextmanager
async def over_psycopg_pool(url: str, role: str, clock: Clock) -> AsyncIterator[Ask]:
    tokens = source(role, clock)
    async with our_psycopg.async_pool(url, password=tokens, min_size=1, max_size=2, max_lifetime=0.05) as pool:

        async def ask() -> Any:
            async with pool.connection() as connection:
                row = await (await connection.execute(QUERY)).fetchone()
                return row and row[0]

        yield ask
    await tokens.close()


@asynccontextmanager
async def over_sync_psycopg_pool(url: str, role: str, clock: Clock) -> AsyncIterator[Ask]:
    tokens = sync_source(role, clock)
    with our_psycopg.pool(url, password=tokens, min_size=1, max_size=2, max_lifetime=0.05) as pool:

        def ask() -> Any:
            with pool.connection() as connection:
                row = connection.execute(QUERY).fetchone()
                return row and row[0]

        yield lambda: asyncio.to_thread(ask)
    tokens.close()


ADAPTERS: dict[str, Adapter] = {
    "sqlalchemy_asyncpg_nullpool": over_sqlalchemy("asyncpg", poolclass=NullPool),
    "sqlalchemy_asyncpg_queuepool": over_sqlalchemy("asyncpg", pool_size=2, pool_recycle=0, pool_pre_ping=True),
    "sqlalchemy_psycopg_nullpool": over_sqlalchemy("psycopg", poolclass=NullPool),
    "sqlalchemy_sync": over_sync_sqlalchemy,
    "asyncpg_pool": over_asyncpg_pool,
    "psycopg_async_pool": over_psycopg_pool,
    "psycopg_pool": over_sync_psycopg_pool,
}


@dataclass
class Outcome:
    """What one adapter went through."""

    queries: int = 0
    errors: list[BaseException] = field(default_factory=list)
    wrong: int = 0
    logins: int = 0
    rejected: int = 0
    tokens: int = 0
    identity_calls: int = 0


class Rounds:
    """Lets everybody ask once, then time pass, until each adapter has logged in with tokens of several lives.

    Time stands still while they ask, so that no token ends on the way to the database because the machine is busy.
    """

    def __init__(self, lab: Laboratory) -> None:
        self._lab = lab
        self._together = asyncio.Barrier(len(ADAPTERS) * CLIENTS)
        self._latest = time.monotonic() + LATEST_SECONDS
        self.are_over = False

    async def end(self) -> None:
        if await self._together.wait() == 0:
            self._lab.clock.offset_seconds += STEP_SECONDS
            seen = [len({bind.token for bind in self._lab.logins(name)}) for name in ADAPTERS]
            self.are_over = min(seen) > LIVES or time.monotonic() > self._latest
        await self._together.wait()


async def go_on(name: str, adapter: Adapter, lab: Laboratory, url: str, rounds: Rounds) -> Outcome:
    """Ask in each round."""
    outcome = Outcome()
    async with adapter(url, name, lab.clock) as ask:

        async def repeat() -> None:
            while not rounds.are_over:
                try:
                    outcome.wrong += await ask() != name
                except Exception as error:  # noqa: BLE001 - whatever it is, it is counted as lost
                    outcome.errors.append(error)
                outcome.queries += 1
                await rounds.end()

        await asyncio.gather(*(repeat() for _ in range(CLIENTS)))
    outcome.logins = len(lab.logins(name))
    outcome.rejected = len(lab.refusals(name))
    outcome.tokens = len({bind.token for bind in lab.logins(name)})
    outcome.identity_calls = sum(call.parameters.get("client_id") == f"client-of-{name}" for call in lab.calls)
    return outcome


@pytest.fixture(scope="module")
async def outcomes(anyio_backend: str, laboratory: Laboratory, database: Any, new_overheard: Any) -> dict[str, Outcome]:
    """All adapters at once, each with an identity, a role and a source of its own: one wait for all of them."""
    laboratory.reset()
    laboratory.issuer.lifetime_seconds = LIFETIME_SECONDS
    laboratory.clock.stop()
    rounds = Rounds(laboratory)
    for name in ADAPTERS:
        database.create_role(name)
        laboratory.map_role(name, f"object-of-{name}")
        laboratory.identity.identities[f"client-of-{name}"] = f"object-of-{name}"
    with pytest.MonkeyPatch.context() as environment, new_overheard().listening(laboratory) as listener:
        for variable, value in laboratory.app_service().items():
            environment.setenv(variable, value)
        found = await asyncio.gather(
            *(
                go_on(name, adapter, laboratory, database.verified_url(name), rounds)
                for name, adapter in ADAPTERS.items()
            )
        )
        for outcome in found:
            for error in outcome.errors:
                listener.caught(error)
    return dict(zip(ADAPTERS, found, strict=True))


@pytest.mark.parametrize("name", ADAPTERS)
def test_no_query_is_lost_through_several_lives_of_a_token(name: str, outcomes: dict[str, Outcome], count: Any) -> None:
    outcome = outcomes[name]
    assert [f"{type(error).__name__}: {error}" for error in outcome.errors] == []
    assert outcome.wrong == 0
    assert outcome.tokens > LIVES, "the loop ended before it had seen enough tokens"
    # Each token that was fetched was also used, one perhaps not yet.
    assert outcome.identity_calls <= outcome.tokens + 1
    count(
        f"expiry under load, {name}",
        queries=outcome.queries,
        errors=len(outcome.errors),
        logins=outcome.logins,
        rejected_logins=outcome.rejected,
        tokens=outcome.tokens,
        identity_calls=outcome.identity_calls,
    )
