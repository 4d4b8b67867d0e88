"""The store of secrets goes away for a while; the server is killed in the middle of a rotation. Tokens go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from .doorway import Doorway
from .installation import Installation, Served
from .load import Load, plain_client
from .rotations import DatabaseRotations
from .verifiers import Jury

pytestmark = pytest.mark.anyio

AWAY_SECONDS = 8
PATIENCE_SECONDS = 90
SEED = 20_261_122
# Logins of the server since the store of secrets went away.
SESSIONS = "select pid from pg_stat_activity where usename like 'tegata_app%' and backend_start > to_timestamp({})"


async def test_no_request_fails_while_the_store_of_secrets_is_away(
    installation: Installation, count: Callable[..., None]
) -> None:
    database = DatabaseRotations(installation, SEED)
    upstream = urlsplit(installation.stand_in.endpoint_url).port
    assert upstream is not None
    async with Doorway(upstream) as doorway, plain_client() as http:
        installation.store = doorway.address
        jury = Jury(f"{installation.address}/live", http)
        # What is kept of the secret ends long before the store is back.
        served, load = installation.served(TEGATA_SECRET_CACHE_SECONDS="2"), Load(installation, jury)
        async with served as server, load:
            await asyncio.to_thread(database.rotate)
            before = load.requests
            await doorway.close()
            sessions = await sessions_until_it_is_missed(server)
            meanwhile = load.requests - before
            failed = server.told("secret.read_failed")
            await doorway.open()
            await asyncio.to_thread(database.rotate)
            await asyncio.to_thread(load.wait_until_each_goes_on)
    database.close()
    assert load.failures == []
    assert jury.refused == []
    assert {line["reason"] for line in failed} == {"unavailable"}
    assert meanwhile > 0
    count(
        "live server without its store of secrets",
        seconds=AWAY_SECONDS,
        requests=meanwhile,
        failed=len(load.failures),
        new_sessions=len(sessions),
        vain_readings=len(failed),
        tokens_refused=len(jury.refused),
    )


async def sessions_until_it_is_missed(server: Served) -> set[int]:
    """Let time pass until the server has asked in vain, and was let in with what it knew; return its new sessions."""
    ((since,),) = server.installation.ask("select extract(epoch from now())::float8")
    sessions: set[int] = set()
    began = time.monotonic()
    while time.monotonic() < began + AWAY_SECONDS or len(sessions) <= 4 or not server.told("secret.read_failed"):
        assert time.monotonic() < began + PATIENCE_SECONDS, len(sessions)
        await asyncio.sleep(0.5)
        sessions |= {pid for (pid,) in server.installation.ask(SESSIONS.format(since))}
    return sessions


async def test_a_server_that_is_killed_in_the_middle_of_a_rotation_serves_at_once_when_it_is_started_again(
    installation: Installation, count: Callable[..., None]
) -> None:
    database = DatabaseRotations(installation, SEED)
    requests = 0
    async with plain_client() as http:
        jury = Jury(f"{installation.address}/live", http)
        async with installation.served() as served:
            for step in ("testSecret", "finishSecret"):
                async with Load(installation, jury) as load:
                    await asyncio.to_thread(database.rotate)
                    await asyncio.to_thread(database.rotate_until, step)
                    await asyncio.to_thread(load.wait_until_each_goes_on)
                await asyncio.to_thread(served.kill)
                await asyncio.to_thread(served.start)
                async with Load(installation, jury) as after:
                    await jury.look_again()
                    await asyncio.to_thread(database.go_on)
                    await asyncio.to_thread(database.rotate)
                    await asyncio.to_thread(after.wait_until_each_goes_on)
                assert load.failures == after.failures == []
                requests += load.requests + after.requests
    database.close()
    assert jury.refused == []
    count("live server killed while its login rotates", kills=2, requests=requests, failed=0, refused=0)
