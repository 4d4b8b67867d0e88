"""Alternating users: the password says who logs in, each rotation changes both, and open connections stay open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text

from tegata_credentials import LoginPassword
from tegata_credentials.asyncpg import create_pool
from tegata_credentials.attempts import ATTEMPTS
from tegata_credentials.psycopg import async_pool, pool
from tegata_credentials.secret_service import SecretLogin, SecretService, SecretsInMemory, SyncSecretLogin
from tegata_credentials.sqlalchemy import create_async_engine, create_engine

pytestmark = pytest.mark.anyio

WHO = "select session_user::text"


@dataclass
class Rotation:
    """What a store offers: each rejected pair gives way to the next one, the last stays."""

    pairs: list[tuple[str, str]]
    rejected: list[tuple[str, str]] = field(default_factory=list)
    asked: int = 0

    def source(self, *, is_sync: bool) -> Any:
        return SyncSource(self) if is_sync else Source(self)

    def current(self) -> LoginPassword:
        self.asked += 1
        user, password = self.pairs[0]
        return LoginPassword(password, user=user)

    def reject(self, value: str) -> None:
        pair = (value.user, str(value)) if isinstance(value, LoginPassword) else ("", str(value))
        self.rejected.append(pair)
        if len(self.pairs) > 1 and pair == self.pairs[0]:
            del self.pairs[0]


class SyncSource:
    auth_method = "secret"

    def __init__(self, rotation: Rotation) -> None:
        self.rotation = rotation

    def current(self) -> str:
        return self.rotation.current()

    def rejected(self, value: str) -> None:
        self.rotation.reject(value)

    def close(self) -> None:
        pass


class Source:
    auth_method = "secret"

    def __init__(self, rotation: Rotation) -> None:
        self.rotation = rotation

    async def current(self) -> str:
        return self.rotation.current()

    async def rejected(self, value: str) -> None:
        self.rotation.reject(value)

    async def close(self) -> None:
        pass


@pytest.fixture
def set_password(server_18: Any) -> Iterator[Callable[[str, str], None]]:
    """Two login roles, as on a server with rotation."""
    with psycopg.connect(server_18.admin.psycopg_conninfo(), autocommit=True) as connection:
        for role in ("app_a", "app_b"):
            if not connection.execute("select 1 from pg_roles where rolname = %s", [role]).fetchone():
                connection.execute(sql.SQL("create role {} login").format(sql.Identifier(role)))

        def set_it(role: str, password: str) -> None:
            connection.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(password)))

        set_it("app_a", "a-1")
        set_it("app_b", "b-1")
        yield set_it


async def login(adapter: Any, url: str, source: Any) -> str:
    return await adapter.login(url, source)


async def test_the_password_says_who_logs_in(adapter, server_18, set_password):
    for user, password in (("app_a", "a-1"), ("app_b", "b-1")):
        rotation = Rotation([(user, password)])
        source = rotation.source(is_sync=adapter.is_sync)
        assert await login(adapter, server_18.url(driver=adapter.driver), source) == user
        assert rotation.rejected == []


async def test_each_rotation_is_followed_to_the_other_user(adapter, server_18, set_password):
    rotation = Rotation([("app_a", "a-1"), ("app_b", "b-2"), ("app_a", "a-3"), ("app_b", "b-4")])
    source = rotation.source(is_sync=adapter.is_sync)
    url = server_18.url(driver=adapter.driver)
    for user, password, last in (("app_b", "b-2", "a-1"), ("app_a", "a-3", "b-2"), ("app_b", "b-4", "a-3")):
        other = "app_a" if user == "app_b" else "app_b"
        set_password(user, password)
        set_password(other, "changed-behind-our-back")
        assert await login(adapter, url, source) == user
        assert rotation.rejected[-1] == (other, last)


async def test_a_secret_that_rotates_is_followed_through_the_service(adapter, server_18, set_password):
    store = SecretsInMemory({"db": {"username": "app_a", "password": "a-1"}})
    service = SecretService(store)
    source = (SyncSecretLogin if adapter.is_sync else SecretLogin)(service, "db")
    url = server_18.url(driver=adapter.driver)
    assert await login(adapter, url, source) == "app_a"
    for number, user in enumerate(("app_b", "app_a", "app_b"), start=2):
        set_password(user, f"{user}-{number}")
        store.put("db", {"username": user, "password": f"{user}-{number}"})
        other = "app_a" if user == "app_b" else "app_b"
        # Alternating users: the old pair stays good, and what is in memory is used on.
        assert await login(adapter, url, source) == other
        set_password(other, "taken-away")
        assert await login(adapter, url, source) == user
    service.close()


async def test_a_login_goes_on_while_there_is_another_credential_and_ends_after_three(
    direct_adapter, server_18, set_password
):
    url = server_18.url(driver=direct_adapter.driver)
    third = Rotation([("app_a", "wrong-1"), ("app_b", "wrong-2"), ("app_a", "a-1")])
    assert await login(direct_adapter, url, third.source(is_sync=direct_adapter.is_sync)) == "app_a"
    assert third.rejected == [("app_a", "wrong-1"), ("app_b", "wrong-2")]
    fourth = Rotation([("app_a", "wrong-1"), ("app_b", "wrong-2"), ("app_a", "wrong-3"), ("app_a", "a-1")])
    with pytest.raises(Exception, match="password authentication failed"):
        await login(direct_adapter, url, fourth.source(is_sync=direct_adapter.is_sync))
    assert (len(fourth.rejected), fourth.asked) == (ATTEMPTS, ATTEMPTS)


async def test_a_credential_that_comes_back_is_not_tried_twice(direct_adapter, server_18, set_password):
    back = Rotation([("app_a", "wrong"), ("app_b", "wrong"), ("app_a", "wrong")])
    before = server_18.refused_logins()
    with pytest.raises(Exception, match="password authentication failed"):
        await login(
            direct_adapter, server_18.url(driver=direct_adapter.driver), back.source(is_sync=direct_adapter.is_sync)
        )
    # The same word for two users is two credentials.
    assert server_18.refused_logins() == before + 2


async def test_a_role_that_may_no_longer_log_in_is_refused_like_a_wrong_password(
    direct_adapter, server_18, set_password
):
    server_18.execute("alter role app_a nologin")
    try:
        rotation = Rotation([("app_a", "a-1"), ("app_b", "b-1")])
        url = server_18.url(driver=direct_adapter.driver)
        assert await login(direct_adapter, url, rotation.source(is_sync=direct_adapter.is_sync)) == "app_b"
    finally:
        server_18.execute("alter role app_a login")


async def test_open_connections_survive_and_a_pool_opens_further_ones_as_the_other_user(server_18, set_password):
    rotation = Rotation([("app_a", "a-1"), ("app_b", "b-1")])
    made = create_pool(server_18.url(), password=Source(rotation), min_size=1, max_size=2)
    async with made as opened, opened.acquire() as first:
        assert await first.fetchval(WHO) == "app_a"
        set_password("app_a", "another")
        async with opened.acquire() as second:
            assert (await first.fetchval(WHO), await second.fetchval(WHO)) == ("app_a", "app_b")


async def test_the_same_for_the_async_pool_of_psycopg(server_18, set_password):
    rotation = Rotation([("app_a", "a-1"), ("app_b", "b-1")])
    made = async_pool(server_18.url(), password=Source(rotation), min_size=1, max_size=2, open=False)
    async with made as opened:
        await opened.wait()
        set_password("app_a", "another")  # before the pool grows, which it does when the first one is taken
        async with opened.connection() as first, opened.connection() as second:
            assert (await (await second.execute(WHO)).fetchone())[0] == "app_b"
            assert (await (await first.execute(WHO)).fetchone())[0] == "app_a"


async def test_the_same_for_the_pool_of_psycopg(server_18, set_password):
    rotation = Rotation([("app_a", "a-1"), ("app_b", "b-1")])
    with pool(server_18.url(), password=SyncSource(rotation), min_size=1, max_size=2, open=False) as opened:
        opened.wait()
        set_password("app_a", "another")
        with opened.connection() as first, opened.connection() as second:
            assert second.execute(WHO).fetchone()[0] == "app_b"
            assert first.execute(WHO).fetchone()[0] == "app_a"


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_the_same_for_an_async_engine(server_18, set_password, driver):
    rotation = Rotation([("app_a", "a-1"), ("app_b", "b-1")])
    engine = create_async_engine(server_18.url(driver=driver), password=Source(rotation), pool_size=2)
    try:
        async with engine.connect() as first:
            assert (await first.execute(text(WHO))).scalar_one() == "app_a"
            set_password("app_a", "another")
            async with engine.connect() as second:
                assert (await second.execute(text(WHO))).scalar_one() == "app_b"
            assert (await first.execute(text(WHO))).scalar_one() == "app_a"
    finally:
        await engine.dispose()


async def test_the_same_for_an_engine(server_18, set_password):
    rotation = Rotation([("app_a", "a-1"), ("app_b", "b-1")])
    engine = create_engine(server_18.url(driver="psycopg"), password=SyncSource(rotation), pool_size=2)
    try:
        with engine.connect() as first:
            assert first.execute(text(WHO)).scalar_one() == "app_a"
            set_password("app_a", "another")
            with engine.connect() as second:
                assert second.execute(text(WHO)).scalar_one() == "app_b"
            assert first.execute(text(WHO)).scalar_one() == "app_a"
    finally:
        engine.dispose()
