"""Every option that the drivers and pools of SQLAlchemy, asyncpg and psycopg have is still there."""

from __future__ import annotations

from typing import Any

import asyncpg
import psycopg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.pool import NullPool

from tegata_credentials import CredentialError, FixedPassword, SyncFixedPassword
from tegata_credentials.asyncpg import create_pool
from tegata_credentials.psycopg import async_pool, pool
from tegata_credentials.sqlalchemy import create_async_engine, create_engine

pytestmark = pytest.mark.anyio

# The seed's own engine, with figures that are nobody's default.
POOL = {
    "pool_size": 3,
    "max_overflow": 1,
    "pool_recycle": 1234,
    "pool_pre_ping": True,
    "pool_timeout": 0.2,
    "echo": False,
}


def check_pool(made: Any) -> None:
    assert (made.size(), made._max_overflow, made._recycle, made._pre_ping, made._timeout) == (3, 1, 1234, True, 0.2)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_an_async_engine_has_the_pool_it_was_asked_for(server_18, identity, driver):
    server_18.set_password("first")
    engine = create_async_engine(server_18.url(driver=driver), password=identity.source(), future=True, **POOL)
    check_pool(engine.pool)
    opened = [await engine.connect() for _ in range(4)]
    with pytest.raises(PoolExhausted):
        await engine.connect()
    for connection in opened:
        await connection.close()
    await engine.dispose()


def test_an_engine_has_the_pool_it_was_asked_for(server_18, identity):
    engine = create_engine(server_18.url(driver="psycopg"), password=identity.sync_source(), **POOL)
    check_pool(engine.pool)
    engine.dispose()


async def test_the_query_of_the_url_and_connect_args_reach_the_driver(server_18, identity):
    server_18.set_password("first")
    engine = create_async_engine(
        server_18.url(driver="asyncpg", query="?prepared_statement_cache_size=0&command_timeout=7"),
        password=identity.source(),
        poolclass=NullPool,
        connect_args={"statement_cache_size": 0, "server_settings": {"application_name": "shop"}},
    )
    async with engine.connect() as connection:
        name = (await connection.execute(text("select current_setting('application_name')"))).scalar_one()
        raw = (await connection.get_raw_connection()).driver_connection
        assert (name, raw._config.statement_cache_size, raw._config.command_timeout) == ("shop", 0, 7.0)
    await engine.dispose()


async def test_an_address_may_be_given_as_a_url_object(server_18, identity):
    server_18.set_password("first")
    engine = create_async_engine(make_url(server_18.url(driver="asyncpg")), password=identity.source())
    async with engine.connect() as connection:
        assert (await connection.execute(text("select 1"))).scalar_one() == 1
    await engine.dispose()


def test_listeners_of_your_own_still_hear_of_each_connection(server_18, identity):
    from sqlalchemy import event

    server_18.set_password("first")
    engine = create_engine(server_18.url(driver="psycopg"), password=identity.sync_source())
    heard: list[str] = []

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        heard.append(connection.info.user)

    with engine.connect():
        pass
    engine.dispose()
    assert heard == ["app"]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg2://app@localhost/app",
        "postgresql+pg8000://app@localhost/app",
        "mysql+asyncmy://app@localhost/app",
        "sqlite+aiosqlite://",
        "geheim",
    ],
)
@pytest.mark.parametrize(
    ("make", "password"), [(create_async_engine, FixedPassword), (create_engine, SyncFixedPassword)]
)
def test_another_database_or_driver_is_refused_with_the_right_words(make, password, url):
    with pytest.raises(CredentialError, match=r"postgresql\+psycopg|PostgreSQL") as caught:
        make(url, password=password("x"))
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("option", ["creator", "async_creator", "pool"])
def test_what_would_pass_by_the_source_is_refused(option):
    with pytest.raises(CredentialError, match=option):
        create_async_engine("postgresql+asyncpg://app@localhost/app", password=FixedPassword("x"), **{option: object()})


def test_a_password_in_connect_args_is_refused():
    with pytest.raises(CredentialError, match="password"):
        create_async_engine(
            "postgresql+asyncpg://app@localhost/app", password=FixedPassword("x"), connect_args={"password": "y"}
        )


async def test_an_asyncpg_pool_keeps_its_own_classes_and_hooks(server_18, identity):
    class Mine(asyncpg.Connection):
        pass

    server_18.set_password("first")
    begun: list[type] = []

    async def begin(connection: Any) -> None:
        begun.append(type(connection))

    async with create_pool(
        server_18.url(), password=identity.source(), min_size=1, max_size=3, connection_class=Mine, init=begin
    ) as opened:
        assert await opened.fetchval("select 1") == 1
        assert opened.get_max_size() == 3
    assert begun == [Mine]
    with pytest.raises(CredentialError, match="connect="):
        create_pool(server_18.url(), password=identity.source(), connect=asyncpg.connect)


async def test_psycopg_pools_keep_their_own_classes_and_arguments(server_18, identity):
    class Mine(psycopg.Connection[Any]):
        pass

    class MineAsync(psycopg.AsyncConnection[Any]):
        pass

    server_18.set_password("first")
    keywords = {"autocommit": True, "application_name": "shop"}
    question = "select current_setting('application_name')"
    with (
        pool(
            server_18.url(), password=identity.sync_source(), connection_class=Mine, kwargs=keywords, open=True
        ) as opened,
        opened.connection() as connection,
    ):
        assert isinstance(connection, Mine)
        assert connection.autocommit
        assert connection.execute(question).fetchone() == ("shop",)
    async with (
        async_pool(
            lambda: server_18.url(),
            password=identity.source(),
            connection_class=MineAsync,
            kwargs=lambda: keywords,
            open=False,
        ) as async_opened,
        async_opened.connection() as async_connection,
    ):
        assert isinstance(async_connection, MineAsync)
        assert await (await async_connection.execute(question)).fetchone() == ("shop",)


def test_a_wrong_word_for_libpq_is_refused_without_repeating_the_text(identity):
    with pytest.raises(CredentialError) as caught:
        pool("host=localhost pasword=geheim", password=identity.sync_source(), open=False)
    assert "geheim" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
