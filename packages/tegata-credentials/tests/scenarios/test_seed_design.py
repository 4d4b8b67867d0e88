"""The design that puts the token into the URL when the engine is made, on the same server: why the kit is different.

The functions here are written from its description: one credential, asked once while the module is imported; the
token as the password of the URL; connections recycled and pinged in the belief that this renews the token.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlparse, urlunparse

import pytest
from azure.identity import DefaultAzureCredential
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tegata_credentials.testing import Laboratory

pytestmark = pytest.mark.anyio

DAY = 24 * 3600
RECYCLE_SECONDS = 1  # thirty minutes there


def url_with_token(url: str) -> str:
    with DefaultAzureCredential() as credential:
        token = credential.get_token("https://ossrdbms-aad.database.windows.net/.default").token
    parsed = urlparse(url)
    netloc = f"{parsed.username}:{token}@{parsed.hostname}:{parsed.port}"
    return urlunparse(parsed._replace(netloc=netloc))


def make_engine(url: str) -> AsyncEngine:
    return create_async_engine(
        url_with_token(url), pool_pre_ping=True, pool_size=1, max_overflow=1, pool_recycle=RECYCLE_SECONDS
    )


async def ask(engine: AsyncEngine) -> str:
    async with engine.connect() as connection:
        return str((await connection.execute(text("select current_user"))).scalar_one())


async def test_recycled_connections_fail_once_the_first_token_has_ended(
    lab: Laboratory, database: Any, count: Any
) -> None:
    lab.issuer.lifetime_seconds = DAY
    engine = make_engine(database.url("app", "asyncpg"))
    try:
        assert await ask(engine) == "app"
        calls_before = len(lab.calls)
        await asyncio.sleep(RECYCLE_SECONDS + 0.2)
        assert await ask(engine) == "app"
        # Recycling has logged in again, with the very same token.
        assert len({bind.token for bind in lab.logins()}) == 1
        assert len(lab.logins()) == 2

        lab.clock.offset_seconds = DAY
        await asyncio.sleep(RECYCLE_SECONDS + 0.2)
        failed = 0
        for _ in range(3):
            with pytest.raises(DBAPIError) as caught:
                await ask(engine)
            assert caught.value.orig is not None
            assert caught.value.orig.sqlstate == "28000"  # type: ignore[attr-defined]
            failed += 1
        assert {bind.reason for bind in lab.refusals()} == {"expired"}
        # Neither recycling nor pinging has asked for another token, and nothing ever will.
        calls_after_start = len(lab.calls) - calls_before
        assert calls_after_start == 0
        count(
            "the token in the URL, a day later",
            connections_failed=failed,
            connections_opened=len(lab.logins()) - 2,
            identity_calls_after_start=calls_after_start,
        )
    finally:
        await engine.dispose()


async def test_an_open_session_lives_on_while_the_next_connection_fails(lab: Laboratory, database: Any) -> None:
    lab.issuer.lifetime_seconds = DAY
    engine = make_engine(database.url("app", "asyncpg"))
    try:
        async with engine.connect() as held:
            await held.execute(text("select 1"))
            lab.clock.offset_seconds = DAY
            assert (await held.execute(text("select 1"))).scalar_one() == 1
            with pytest.raises(DBAPIError):
                await ask(engine)
    finally:
        await engine.dispose()
