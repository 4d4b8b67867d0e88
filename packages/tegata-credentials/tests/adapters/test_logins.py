"""A credential that changes under every adapter: each login has the current one, a refused one is replaced once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tegata_credentials import CredentialError, FixedPassword, IdentityUnavailable, SyncFixedPassword

pytestmark = pytest.mark.anyio


async def test_the_credential_of_the_source_logs_in(adapter, server, identity):
    server.set_password("first")
    assert await adapter.login(server.url(driver=adapter.driver), adapter.source(identity)) == "app"
    assert identity.fetches == 1


async def test_a_refused_credential_is_dropped_and_the_login_tried_once_more(adapter, server, identity, caplog):
    server.set_password("first")
    source = adapter.source(identity)
    url = server.url(driver=adapter.driver)
    assert await adapter.login(url, source) == "app"
    server.set_password("second")
    identity.value = "second"
    assert await adapter.login(url, source) == "app"
    assert (identity.fetches, identity.discards) == (2, 1)
    # A pool of psycopg's tries again by itself after a failed connection; it has not had to.
    assert "error connecting" not in caplog.text


async def test_it_works_each_time_the_credential_changes(adapter, server, identity):
    source = adapter.source(identity)
    for number in range(4):
        identity.value = f"password-{number}"
        server.set_password(identity.value)
        assert await adapter.login(server.url(driver=adapter.driver), source) == "app"
    assert identity.fetches == 4


async def test_a_credential_that_stays_wrong_raises_the_drivers_error_and_asks_the_provider_twice(
    direct_adapter, server, identity
):
    server.set_password("right")
    source = direct_adapter.source(identity)
    for _ in range(5):
        with pytest.raises(Exception, match="password authentication failed") as caught:
            await direct_adapter.login(server.url(driver=direct_adapter.driver), source)
        assert not isinstance(caught.value, CredentialError)
    assert identity.fetches <= 3


async def test_the_same_credential_is_not_tried_twice(direct_adapter, server_18):
    # Not the server with TLS: the drivers' own default tries that one again in the clear.
    server_18.set_password("right")
    source: Any = SyncFixedPassword("wrong") if direct_adapter.is_sync else FixedPassword("wrong")
    before = server_18.refused_logins()
    with pytest.raises(Exception, match="password authentication failed"):
        await direct_adapter.login(server_18.url(driver=direct_adapter.driver), source)
    assert server_18.refused_logins() == before + 1


async def test_errors_that_are_no_refusal_do_not_drop_the_credential(direct_adapter, server, identity):
    server.set_password("first")
    source = direct_adapter.source(identity)
    for database in ("nowhere", "closed"):
        with pytest.raises(Exception, match=r"does not exist|permission denied"):
            await direct_adapter.login(server.url(driver=direct_adapter.driver, database=database), source)
    assert (identity.fetches, identity.discards) == (1, 0)


async def test_an_unreachable_server_does_not_drop_the_credential(direct_adapter, server_18, identity):
    source = direct_adapter.source(identity)
    url = server_18.url(driver=direct_adapter.driver).replace(str(server_18.admin.port), "1")
    with pytest.raises(Exception, match=r"refused|Connect call failed"):
        await direct_adapter.login(url, source)
    assert (identity.fetches, identity.discards) == (1, 0)


async def test_a_role_at_its_connection_limit_does_not_drop_the_credential(direct_adapter, server_15, identity):
    server_15.set_password("first")
    server_15.execute("alter role app connection limit 0")
    try:
        source = direct_adapter.source(identity)
        with pytest.raises(Exception, match="too many connections"):
            await direct_adapter.login(server_15.url(driver=direct_adapter.driver), source)
    finally:
        server_15.execute("alter role app connection limit -1")
    assert (identity.fetches, identity.discards) == (1, 0)


async def test_without_a_credential_no_login_is_tried(direct_adapter, server, identity):
    identity.failure = IdentityUnavailable("unreachable")
    with pytest.raises(IdentityUnavailable) as caught:
        await direct_adapter.login(server.url(driver=direct_adapter.driver), direct_adapter.source(identity))
    assert caught.value.reason == "unreachable"


async def test_thirty_cold_connections_make_one_fetch(server, identity, async_adapter):
    server.set_password("first")
    source = async_adapter.source(identity)
    url = server.url(driver=async_adapter.driver)
    assert set(await asyncio.gather(*[async_adapter.login(url, source) for _ in range(30)])) == {"app"}
    assert identity.fetches == 1


async def test_thirty_refused_connections_make_one_more_fetch(server, identity, async_adapter):
    server.set_password("second")
    source = async_adapter.source(identity)
    await source.current()
    identity.value = "second"
    url = server.url(driver=async_adapter.driver)
    assert set(await asyncio.gather(*[async_adapter.login(url, source) for _ in range(30)])) == {"app"}
    assert identity.fetches == 2


async def test_a_fixed_password_logs_in_without_asking_about_tls(direct_adapter, server_18):
    server_18.set_password("first")
    source: Any = SyncFixedPassword("first") if direct_adapter.is_sync else FixedPassword("first")
    assert await direct_adapter.login(server_18.url("127.1", direct_adapter.driver), source) == "app"


async def test_a_password_in_the_url_is_refused_with_the_cure(adapter, server_18, identity):
    url = server_18.url(driver=adapter.driver).replace("app@", "app:left-behind@")
    with pytest.raises(CredentialError, match="take the password out of the URL") as caught:
        await adapter.login(url, adapter.source(identity))
    assert "left-behind" not in str(caught.value)
    assert identity.fetches == 0


async def test_a_password_in_the_query_is_refused_too(adapter, server_18, identity):
    url = server_18.url(driver=adapter.driver, query="?password=left-behind")
    with pytest.raises(CredentialError):
        await adapter.login(url, adapter.source(identity))


async def test_one_aws_token_is_not_sent_to_two_hosts(direct_adapter, server_18, identity):
    port = server_18.admin.port
    hosts = f"127.0.0.1:{port},127.0.0.2:{port}"
    scheme = f"postgresql+{direct_adapter.driver}" if direct_adapter.driver else "postgresql"
    url = f"{scheme}://app@{hosts}/postgres"
    if direct_adapter.driver:
        url = f"{scheme}://app@/postgres?host=127.0.0.1:{port}&host=127.0.0.2:{port}"
    with pytest.raises(CredentialError, match="one source and one pool for each host"):
        await direct_adapter.login(url, direct_adapter.source(identity, "aws_iam"))
