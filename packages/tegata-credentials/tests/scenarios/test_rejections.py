"""Tokens that end before they said they would: revoked, announced too long, or judged by another clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from tegata_credentials import asyncpg as our_asyncpg
from tegata_credentials import psycopg as our_psycopg
from tegata_credentials import sqlalchemy as our_sqlalchemy
from tegata_credentials.azure import managed_identity, sync_managed_identity
from tegata_credentials.testing import Laboratory
from tegata_credentials.tokens import RefreshPolicy, SyncTokenSource, TokenSource

pytestmark = pytest.mark.anyio


def by_the_clock_of(lab: Laboratory, offset: float = 0.0) -> TokenSource:
    """A source on the laboratory's clock, which stands still; its wall clock is wrong by so many seconds."""
    lab.clock.stop()
    policy = RefreshPolicy(patience=60, fetch_timeout=60)
    wall, ticks = lambda: lab.clock() + offset, lab.clock
    return TokenSource(managed_identity(), auth_method="managed_identity", clock=wall, ticks=ticks, policy=policy)


@pytest.fixture
async def tokens() -> AsyncIterator[TokenSource]:
    source = TokenSource(managed_identity(), auth_method="managed_identity", policy=RefreshPolicy(fetch_timeout=60))
    yield source
    await source.close()


@pytest.fixture
def sync_tokens() -> Iterator[SyncTokenSource]:
    policy = RefreshPolicy(fetch_timeout=60)
    source = SyncTokenSource(sync_managed_identity(), auth_method="managed_identity", policy=policy)
    yield source
    source.close()


async def log_in(database: Any, tokens: TokenSource) -> None:
    connection = await our_asyncpg.connect(database.verified_url("app"), password=tokens)
    assert await connection.fetchval("select current_user") == "app"
    await connection.close()


def story(lab: Laboratory) -> list[str]:
    return [bind.reason or "let in" for bind in lab.binds]


async def test_asyncpg_gets_in_with_a_new_token_after_one_rejection(
    lab: Laboratory, database: Any, tokens: TokenSource, count: Any
) -> None:
    await log_in(database, tokens)
    lab.issuer.revoke_all()
    await log_in(database, tokens)
    await log_in(database, tokens)
    assert story(lab) == ["let in", "revoked", "let in", "let in"]
    assert len(lab.calls) == 2
    count("early revocation, asyncpg", rejected_logins=1, errors=0, identity_calls=len(lab.calls))


async def test_sqlalchemy_gets_in_with_a_new_token_after_one_rejection(
    lab: Laboratory, database: Any, tokens: TokenSource, count: Any
) -> None:
    engine = our_sqlalchemy.create_async_engine(
        database.verified_url("app", "asyncpg"), password=tokens, poolclass=NullPool
    )
    for _ in range(2):
        async with engine.connect() as connection:
            assert (await connection.execute(text("select current_user"))).scalar_one() == "app"
        lab.issuer.revoke_all()
    await engine.dispose()
    assert story(lab) == ["let in", "revoked", "let in"]
    count("early revocation, SQLAlchemy", rejected_logins=1, errors=0, identity_calls=len(lab.calls))


def test_psycopg_gets_in_with_a_new_token_after_one_rejection(
    lab: Laboratory, database: Any, sync_tokens: SyncTokenSource, count: Any
) -> None:
    for _ in range(2):
        with our_psycopg.connect(database.verified_url("app"), password=sync_tokens) as connection:
            assert connection.execute("select current_user").fetchone() == ("app",)
        connection.close()
        lab.issuer.revoke_all()
    assert story(lab) == ["let in", "revoked", "let in"]
    assert len(lab.calls) == 2
    count("early revocation, psycopg", rejected_logins=1, errors=0, identity_calls=len(lab.calls))


async def test_async_psycopg_gets_in_with_a_new_token_after_one_rejection(
    lab: Laboratory, database: Any, tokens: TokenSource
) -> None:
    for _ in range(2):
        async with await our_psycopg.connect_async(database.verified_url("app"), password=tokens) as connection:
            row = await (await connection.execute("select current_user")).fetchone()
        assert row == ("app",)
        lab.issuer.revoke_all()
    assert story(lab) == ["let in", "revoked", "let in"]
    assert len(lab.calls) == 2


async def test_many_rejections_of_one_token_lead_to_one_new_one(
    lab: Laboratory, database: Any, tokens: TokenSource, count: Any
) -> None:
    await log_in(database, tokens)
    lab.issuer.revoke_all()
    await asyncio.gather(*(log_in(database, tokens) for _ in range(20)))
    assert len(lab.calls) == 2
    assert len(lab.logins()) == 21
    count(
        "early revocation, 20 logins at once",
        rejected_logins=len(lab.refusals()),
        errors=0,
        identity_calls=len(lab.calls) - 1,
    )


async def test_an_announced_life_longer_than_the_token_is_not_believed(
    lab: Laboratory, database: Any, count: Any
) -> None:
    lab.issuer.lifetime_seconds = 60
    lab.identity.behaviour.announced_seconds = 3600
    tokens = by_the_clock_of(lab)
    for _ in range(7):
        await log_in(database, tokens)
        lab.clock.offset_seconds += 20
    await tokens.close()
    used = {bind.token for bind in lab.logins()}
    assert len(used) == 3
    assert len(lab.calls) == 3
    assert lab.refusals() == []
    count(
        "announced 3600 s, really 60 s",
        logins=len(lab.logins()),
        errors=0,
        rejected_logins=len(lab.refusals()),
        tokens=len(used),
    )


async def test_the_memory_of_the_sdk_does_not_keep_a_dead_token_alive(lab: Laboratory, database: Any) -> None:
    """Told an hour, the SDK would give the same token for an hour; the source has read that it lives one minute."""

    lab.issuer.lifetime_seconds = 60
    lab.identity.behaviour.announced_seconds = 3600
    source = by_the_clock_of(lab)
    for minutes in range(4):
        lab.clock.offset_seconds = minutes * 61
        await log_in(database, source)
    await source.close()
    assert story(lab) == ["let in"] * 4
    assert len(lab.calls) == 4


async def test_a_token_that_ends_although_nothing_says_so_costs_one_rejection(
    lab: Laboratory, database: Any, tokens: TokenSource
) -> None:
    """The database's clock jumps: what the token says of itself is no help, the rejection is."""
    await log_in(database, tokens)
    lab.clock.offset_seconds = 3700
    await log_in(database, tokens)
    assert story(lab) == ["let in", "expired", "let in"]


@pytest.mark.parametrize("offset", [-7200, -600, -30, 30, 600, 7200])
async def test_a_wrong_clock_of_the_client_loses_nothing(
    offset: int, lab: Laboratory, database: Any, count: Any
) -> None:
    lab.issuer.lifetime_seconds = 3600
    source = by_the_clock_of(lab, offset)
    for _ in range(5):
        await log_in(database, source)
        lab.clock.offset_seconds += 1
    await source.close()
    assert len(lab.logins()) == 5
    assert lab.refusals() == []
    assert len(lab.calls) <= 2
    count(f"clock of the client wrong by {offset} s", logins=5, errors=0, identity_calls=len(lab.calls))


@pytest.mark.parametrize("offset", [-600, 600])
async def test_a_wrong_clock_loses_nothing_at_the_end_of_a_token_either(
    offset: int, lab: Laboratory, database: Any, count: Any
) -> None:
    lab.issuer.lifetime_seconds = 12
    source = by_the_clock_of(lab, offset)
    while len({bind.token for bind in lab.logins()}) < 3 and len(lab.binds) < 100:
        await log_in(database, source)
        lab.clock.offset_seconds += 0.9
    await source.close()
    assert len({bind.token for bind in lab.logins()}) == 3
    count(
        f"12-second tokens and a clock wrong by {offset} s",
        logins=len(lab.logins()),
        errors=0,
        rejected_logins=len(lab.refusals()),
        identity_calls=len(lab.calls),
    )


async def test_a_role_that_is_not_mapped_fails_clearly_and_does_not_hammer_the_endpoint(
    lab: Laboratory, database: Any, overheard: Any, count: Any
) -> None:
    database.create_role("unmapped")
    lab.map_role("unmapped", "an identity that is not ours")
    tokens = by_the_clock_of(lab)
    for _ in range(10):
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError) as caught:
            await our_asyncpg.connect(database.verified_url("unmapped"), password=tokens)
        overheard.caught(caught.value)
        lab.clock.offset_seconds += 0.5
    await tokens.close()
    assert lab.logins() == []
    assert len(lab.calls) <= 5
    count("role not mapped, 10 attempts", logins=0, rejected=len(lab.refusals()), identity_calls=len(lab.calls))


async def test_the_refusal_of_every_driver_keeps_the_token_to_itself(
    lab: Laboratory, database: Any, tokens: TokenSource, sync_tokens: SyncTokenSource, overheard: Any
) -> None:
    database.create_role("unmapped")
    lab.map_role("unmapped", "an identity that is not ours")
    url = database.verified_url("unmapped")
    engine = our_sqlalchemy.create_async_engine(
        database.verified_url("unmapped", "asyncpg"), password=tokens, poolclass=NullPool
    )
    with pytest.raises(DBAPIError) as by_sqlalchemy:
        async with engine.connect():
            pass
    await engine.dispose()
    with pytest.raises(psycopg.OperationalError) as by_psycopg:
        await our_psycopg.connect_async(url, password=tokens)
    with pytest.raises(psycopg.OperationalError) as by_threads:
        await asyncio.to_thread(our_psycopg.connect, url, password=sync_tokens)
    assert by_sqlalchemy.value.orig is not None
    assert by_sqlalchemy.value.orig.sqlstate == "28000"  # type: ignore[attr-defined]
    for caught in (by_sqlalchemy, by_psycopg, by_threads):
        overheard.caught(caught.value)
    for each in (tokens, sync_tokens, engine, engine.url, engine.pool):
        overheard.said.write(f"{each!r} {each!s}\n")
