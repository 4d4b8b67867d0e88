"""No credential in what an adapter shows: errors with everything they hold, logs, representations."""

from __future__ import annotations

import asyncio
import logging
import pickle
import time
import traceback
from collections.abc import AsyncIterator, Iterator

import pytest

from tegata_credentials.asyncpg import create_pool
from tegata_credentials.psycopg import async_pool, pool
from tegata_credentials.sqlalchemy import create_async_engine, create_engine

pytestmark = pytest.mark.anyio

SECRET = "eyJhbGciOiJSUzI1NiJ9.c2VjcmV0LXRva2Vu.bm9ib2R5LW11c3Qtc2VlLXRoaXM"


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


@pytest.fixture
def secret(identity) -> None:
    identity.value = SECRET


@pytest.fixture
async def silent_port() -> AsyncIterator[int]:
    """A server that lets everybody in and says nothing."""
    connections: list[asyncio.StreamWriter] = []

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    for writer in connections:
        writer.close()
    server.close()


def chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        link = waiting.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        waiting += [link.__cause__, link.__context__, getattr(link, "orig", None)]


def everything_about(error: BaseException) -> str:
    """What an error report could show: texts, attributes, and the local variables of every frame."""
    shown: list[str] = ["".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())]
    for link in chain(error):
        shown += [str(link), repr(link), repr(link.args), repr(vars(link)), repr(getattr(link, "pgconn", None))]
        frame = link.__traceback__
        while frame is not None:
            shown += [repr(value) for value in frame.tb_frame.f_locals.values()]
            frame = frame.tb_next
    return "\n".join(shown)


def assert_unseen(text: str, caplog: pytest.LogCaptureFixture) -> None:
    records = "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    for part in (SECRET, *SECRET.split(".")[1:]):
        assert part not in text
        assert part not in records


async def test_a_refused_login_shows_nothing(direct_adapter, server, identity, secret, caplog):
    server.set_password("right")
    with pytest.raises(Exception, match="password authentication failed") as caught:
        await direct_adapter.login(server.url(driver=direct_adapter.driver), direct_adapter.source(identity))
    assert_unseen(everything_about(caught.value), caplog)


async def test_a_pool_that_cannot_log_in_shows_nothing(telling_adapter, server, identity, secret, caplog):
    server.set_password("right")
    with pytest.raises(Exception, match="password authentication failed") as caught:
        await telling_adapter.login(server.url(driver=telling_adapter.driver), telling_adapter.source(identity))
    assert_unseen(everything_about(caught.value), caplog)


def test_the_log_of_a_psycopg_pool_shows_nothing(server, identity, secret, caplog):
    from psycopg_pool import PoolTimeout

    server.set_password("right")
    made = pool(server.url(), password=identity.sync_source(), min_size=1, open=False, reconnect_timeout=0.1)
    made.open()
    latest = time.monotonic() + 60
    while "password authentication failed" not in caplog.text and time.monotonic() < latest:
        time.sleep(0.01)
    with pytest.raises(PoolTimeout) as caught:
        made.wait(timeout=0.1)
    made.close()
    assert "password authentication failed" in caplog.text
    assert_unseen(everything_about(caught.value) + repr(made) + repr(vars(made)), caplog)


async def test_a_missing_database_shows_nothing(direct_adapter, server, identity, secret, caplog):
    server.set_password(SECRET)
    with pytest.raises(Exception, match="does not exist") as caught:
        await direct_adapter.login(
            server.url(driver=direct_adapter.driver, database="nowhere"), direct_adapter.source(identity)
        )
    assert_unseen(everything_about(caught.value), caplog)


async def test_a_failed_handshake_shows_nothing(direct_adapter, server, identity, secret, caplog):
    with pytest.raises(Exception, match=r"(?i)certificate|SSL|TLS") as caught:
        await direct_adapter.login(server.url("127.1", direct_adapter.driver), direct_adapter.source(identity))
    assert_unseen(everything_about(caught.value), caplog)


async def test_a_cancelled_login_shows_nothing(direct_async_adapter, silent_port, identity, secret, caplog):
    scheme = f"postgresql+{direct_async_adapter.driver}" if direct_async_adapter.driver else "postgresql"
    url = f"{scheme}://app@127.0.0.1:{silent_port}/postgres"
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.3):
            await direct_async_adapter.login(url, direct_async_adapter.source(identity))
    assert_unseen(everything_about(caught.value), caplog)


async def test_a_driver_that_gives_up_waiting_shows_nothing(direct_adapter, silent_port, identity, secret, caplog):
    scheme = f"postgresql+{direct_adapter.driver}" if direct_adapter.driver else "postgresql"
    url = f"{scheme}://app@127.0.0.1:{silent_port}/postgres"
    is_asyncpg = "asyncpg" in direct_adapter.name
    patience = {"timeout": 0.3} if is_asyncpg else {"connect_timeout": 2}
    options = {"connect_args": patience} if direct_adapter.driver else patience
    with pytest.raises(Exception, match=r"^$|timeout") as caught:
        await direct_adapter.login(url, direct_adapter.source(identity), **options)
    assert_unseen(everything_about(caught.value), caplog)


async def test_an_engine_that_logs_everything_shows_nothing(engine_adapter, server, identity, secret, caplog):
    server.set_password(SECRET)
    source = engine_adapter.source(identity)
    url = server.url(driver=engine_adapter.driver)
    assert await engine_adapter.login(url, source, echo="debug", echo_pool="debug") == "app"
    assert_unseen("", caplog)


async def test_engines_and_pools_show_and_pickle_nothing(server, identity, secret, caplog):
    server.set_password(SECRET)
    engine = create_async_engine(server.url(driver="asyncpg"), password=identity.source())
    async with engine.connect() as connection:
        raw = await connection.get_raw_connection()
        shown = [repr(connection), repr(raw), repr(raw.driver_connection), repr(engine), str(engine.url)]
        shown += [engine.url.render_as_string(hide_password=False), repr(engine.pool), engine.pool.status()]
    await engine.dispose()
    sync_engine = create_engine(server.url(driver="psycopg"), password=identity.sync_source())
    with sync_engine.connect() as sync_connection:
        shown += [repr(sync_engine), repr(sync_connection), repr(sync_connection.connection.driver_connection)]
    sync_engine.dispose()
    async with create_pool(server.url(), password=identity.source(), min_size=1) as opened:
        shown += [repr(opened), repr(vars(type(opened)))]
    async with async_pool(server.url(), password=identity.source(), min_size=1, open=False) as psycopg_pool:
        shown += [repr(psycopg_pool), repr(vars(psycopg_pool))]
    assert_unseen("\n".join(shown), caplog)


async def test_a_source_in_use_is_not_pickled(adapter, server, identity, secret):
    server.set_password(SECRET)
    source = adapter.source(identity)
    await adapter.login(server.url(driver=adapter.driver), source)
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(source)
