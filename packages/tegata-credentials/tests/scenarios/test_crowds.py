"""Many at once: cold connections, cancelled requests, forked processes, several event loops."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import text

from tegata_credentials import asyncpg as our_asyncpg
from tegata_credentials import psycopg as our_psycopg
from tegata_credentials import sqlalchemy as our_sqlalchemy
from tegata_credentials.azure import managed_identity, sync_managed_identity
from tegata_credentials.testing import Laboratory
from tegata_credentials.tokens import RefreshPolicy, SyncTokenSource, TokenSource

from ..closing import until_connections_are_closed  # noqa: TID252 - tests are no installed package

pytestmark = pytest.mark.anyio

CROWD = 50
UNHURRIED = RefreshPolicy(fetch_timeout=60)
PATIENCE_SECONDS = 60


@pytest.fixture
async def tokens() -> AsyncIterator[TokenSource]:
    source = TokenSource(managed_identity(), auth_method="managed_identity", policy=UNHURRIED)
    yield source
    await source.close()


async def log_in(database: Any, tokens: TokenSource) -> None:
    connection = await our_asyncpg.connect(database.verified_url("app"), password=tokens)
    await connection.close()


async def test_fifty_cold_connections_make_one_identity_call(
    lab: Laboratory, database: Any, tokens: TokenSource, count: Any
) -> None:
    lab.identity.behaviour.delay_seconds = 0.2
    engine = our_sqlalchemy.create_async_engine(
        database.verified_url("app", "asyncpg"), password=tokens, pool_size=CROWD
    )
    together = asyncio.Barrier(CROWD)

    async def ask() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("select 1"))
            await together.wait()  # nobody gives a connection back before all have one

    await asyncio.gather(*(ask() for _ in range(CROWD)))
    await engine.dispose()
    assert len(lab.calls) == 1
    assert len(lab.logins()) == CROWD
    count("50 cold connections, asyncio", logins=len(lab.logins()), errors=0, identity_calls=len(lab.calls))


def test_fifty_cold_threads_make_one_identity_call(lab: Laboratory, database: Any, count: Any) -> None:
    lab.identity.behaviour.delay_seconds = 0.2
    source = SyncTokenSource(sync_managed_identity(), auth_method="managed_identity", policy=UNHURRIED)

    def log_in_once(_: int) -> None:
        our_psycopg.connect(database.verified_url("app"), password=source).close()

    with ThreadPoolExecutor(CROWD) as threads:
        list(threads.map(log_in_once, range(CROWD)))
    source.close()
    assert len(lab.calls) == 1
    assert len(lab.logins()) == CROWD
    count("50 cold connections, threads", logins=len(lab.logins()), errors=0, identity_calls=len(lab.calls))


async def until_the_identity_is_asked(lab: Laboratory) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not lab.calls:
            await asyncio.sleep(0.01)


async def test_a_cancelled_first_caller_does_not_take_the_others_along(
    lab: Laboratory, database: Any, tokens: TokenSource, count: Any
) -> None:
    lab.identity.behaviour.held = True
    first = asyncio.create_task(log_in(database, tokens))
    await until_the_identity_is_asked(lab)
    others = [asyncio.create_task(log_in(database, tokens)) for _ in range(20)]
    await asyncio.sleep(0.05)
    first.cancel()
    for task in others[:10]:
        task.cancel()
    await asyncio.sleep(0.05)
    lab.identity.behaviour.held = False
    outcomes = await asyncio.gather(first, *others, return_exceptions=True)
    assert [isinstance(outcome, asyncio.CancelledError) for outcome in outcomes] == [True] * 11 + [False] * 10
    assert outcomes[11:] == [None] * 10
    assert len(lab.calls) == 1
    count("11 of 21 requests cancelled", logins=len(lab.logins()), errors=0, identity_calls=len(lab.calls))


@contextmanager
def unhandled(overheard: Any) -> Iterator[list[BaseException]]:
    """Collect what the event loop would complain about."""
    loop = asyncio.get_running_loop()
    before, found = loop.get_exception_handler(), []

    def keep(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        overheard.said.write(f"{context!r}\n")
        if "exception" in context:
            found.append(overheard.caught(context["exception"]))

    loop.set_exception_handler(keep)
    try:
        yield found
    finally:
        loop.set_exception_handler(before)


async def test_requests_cancelled_at_any_moment_leave_the_engine_usable(
    lab: Laboratory, database: Any, tokens: TokenSource, overheard: Any, count: Any
) -> None:
    engine = our_sqlalchemy.create_async_engine(
        database.verified_url("app", "asyncpg"), password=tokens, pool_size=2, max_overflow=0, pool_timeout=60
    )

    async def ask() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("select 1"))
            await connection.invalidate()  # the next one logs in again

    cancelled = 0
    with unhandled(overheard) as left_behind:
        for step in range(40):
            task = asyncio.create_task(ask())
            await asyncio.sleep(step * 0.001)
            cancelled += task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for _ in range(4):
            await ask()
        await engine.dispose()
        await until_connections_are_closed()
        gc.collect()
    # asyncpg leaves a future behind when it is cancelled while it waits for the server's answer about TLS.
    assert {type(error) for error in left_behind} <= {ConnectionError}
    assert cancelled > 0
    assert len(lab.calls) <= 2
    count("requests cancelled at any moment", cancelled=cancelled, lost_connections=0, identity_calls=len(lab.calls))


async def test_everybody_cancelled_means_nobody_is_stuck_afterwards(
    lab: Laboratory, database: Any, tokens: TokenSource
) -> None:
    lab.identity.behaviour.held = True
    tasks = [asyncio.create_task(log_in(database, tokens)) for _ in range(5)]
    await until_the_identity_is_asked(lab)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    lab.identity.behaviour.held = False
    await log_in(database, tokens)
    assert len(lab.logins()) == 1
    assert len(lab.calls) <= 2


def test_one_source_serves_event_loops_one_after_the_other(lab: Laboratory, database: Any) -> None:
    source = TokenSource(managed_identity(), auth_method="managed_identity", policy=UNHURRIED)

    async def ask() -> None:
        await log_in(database, source)
        await until_connections_are_closed()

    with ThreadPoolExecutor(1) as other:
        for _ in range(3):
            other.submit(asyncio.run, ask()).result()
            lab.issuer.revoke_all()
    assert [bind.reason for bind in lab.binds] == [None, "revoked", None, "revoked", None]
    assert len(lab.calls) == 3


FORKING = {
    "threads": """
        from tegata_credentials import psycopg as our_psycopg
        from tegata_credentials.azure import sync_managed_identity
        from tegata_credentials.tokens import SyncTokenSource

        source = SyncTokenSource(sync_managed_identity(), auth_method="managed_identity", **TIMES)

        def log_in():
            with our_psycopg.connect(url, password=source) as connection:
                assert connection.execute("select current_user").fetchone() == ("app",)
            connection.close()
        """,
    "asyncio": """
        import asyncio
        from tegata_credentials import asyncpg as our_asyncpg
        from tegata_credentials.azure import managed_identity
        from tegata_credentials.tokens import TokenSource

        source = TokenSource(managed_identity(), auth_method="managed_identity", **TIMES)

        async def connect():
            connection = await our_asyncpg.connect(url, password=source)
            assert await connection.fetchval("select current_user") == "app"
            await connection.close()

        def log_in():
            asyncio.run(connect())
        """,
}
# Each process has a clock of its own, which is moved on: nothing is too late because the machine is busy.
CLOCKS = """
import sys, time
from tegata_credentials.tokens import RefreshPolicy

url, children, ahead = sys.argv[1], int(sys.argv[2]), 0.0
TIMES = {
    "clock": lambda: time.time() + ahead,
    "ticks": lambda: time.monotonic() + ahead,
    "policy": RefreshPolicy(fetch_timeout=60),
}
"""
FAMILY = """
import json, os, sys

def repeat(times):
    global ahead
    for _ in range(times):
        log_in()
        ahead += 400

repeat(1)
pids = []
for _ in range(children):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            repeat(12)  # longer than the hour that a token lives: each child gets tokens of its own
            status = 0
        finally:
            os._exit(status)
    pids.append(pid)
repeat(5)
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]))
"""


@pytest.mark.parametrize("way", FORKING)
def test_forked_processes_go_on_with_the_token_and_renew_it_each_for_itself(
    way: str, lab: Laboratory, database: Any, overheard: Any, count: Any
) -> None:
    children = 3
    script = f"{CLOCKS}{textwrap.dedent(FORKING[way])}{FAMILY}"
    finished = subprocess.run(
        [sys.executable, "-c", script, database.verified_url("app"), str(children)],
        capture_output=True,
        text=True,
        timeout=180,
        env=dict(os.environ),
        check=False,
    )
    overheard.said.write(finished.stderr + finished.stdout)
    assert finished.returncode == 0, "the script failed"
    assert json.loads(finished.stdout) == [0] * children
    assert len(lab.logins()) == 1 + 5 + 12 * children
    assert len(lab.calls) >= 1 + children
    count(
        f"{children} forked processes, {way}",
        logins=len(lab.logins()),
        errors=0,
        rejected_logins=len(lab.refusals()),
        identity_calls=len(lab.calls),
    )
