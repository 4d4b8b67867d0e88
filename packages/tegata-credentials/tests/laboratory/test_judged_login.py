"""The laboratory is proved with drivers and SDKs alone, without a line of the kit."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import asyncpg
import psycopg
import pytest
from azure.identity import ManagedIdentityCredential
from azure.identity.aio import ManagedIdentityCredential as AsyncManagedIdentityCredential
from azure.identity.aio import WorkloadIdentityCredential

from tegata_credentials.testing import AUDIENCE, SYSTEM_ASSIGNED, Answer, Authority, Laboratory, TokenIssuer

pytestmark = pytest.mark.anyio

SCOPE = f"{AUDIENCE}/.default"


async def log_in(database: Any, password: str, *, user: str = "app", context: Any = None) -> None:
    """Log in and out; raises what asyncpg raises."""
    connection = await asyncpg.connect(
        host=database.endpoint.host,
        port=database.endpoint.port,
        user=user,
        password=password,
        database="postgres",
        ssl=context or ssl.create_default_context(cafile=database.root),
    )
    assert await connection.fetchval("select current_user") == user
    await connection.close()


async def refuse(database: Any, password: str, *, user: str = "app") -> None:
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError) as caught:
        await log_in(database, password, user=user)
    assert caught.value.sqlstate == "28000"


async def test_a_living_token_opens_the_database(lab: Laboratory, database: Any) -> None:
    token = lab.issuer.issue(SYSTEM_ASSIGNED)
    assert 1200 < len(token.value) < 1600
    await log_in(database, token.value)
    (bind,) = lab.binds
    assert (bind.role, bind.server, bind.reason, bind.token) == ("app", "writer", None, token.number)


async def test_each_login_is_judged_anew(lab: Laboratory, database: Any) -> None:
    token = lab.issuer.issue(SYSTEM_ASSIGNED, lifetime_seconds=60)
    await log_in(database, token.value)
    lab.clock.offset_seconds = 61
    await refuse(database, token.value)
    assert [bind.reason for bind in lab.binds] == [None, "expired"]


async def test_a_revoked_token_is_refused_and_the_next_one_is_not(lab: Laboratory, database: Any) -> None:
    token = lab.issuer.issue(SYSTEM_ASSIGNED)
    lab.issuer.revoke_all()
    await refuse(database, token.value)
    await log_in(database, lab.issuer.issue(SYSTEM_ASSIGNED).value)
    assert [bind.reason for bind in lab.binds] == ["revoked", None]


async def test_tokens_that_stand_for_something_else_are_refused(lab: Laboratory, database: Any) -> None:
    stranger = TokenIssuer(lab.clock)
    await refuse(database, stranger.issue(SYSTEM_ASSIGNED).value)
    await refuse(database, lab.issuer.issue(SYSTEM_ASSIGNED, audience="https://storage.azure.com").value)
    await refuse(database, lab.issuer.issue("somebody else").value)
    await refuse(database, "letmein")
    assert [bind.reason for bind in lab.binds] == [
        "no_token_of_ours",
        "wrong_audience",
        "wrong_identity",
        "no_token_of_ours",
    ]


async def test_without_tls_nobody_reaches_the_judge(lab: Laboratory, database: Any) -> None:
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="connection"):
        await log_in(database, lab.issuer.issue(SYSTEM_ASSIGNED).value, context="disable")
    assert lab.binds == []


async def test_verify_full_is_refused_under_another_authority(lab: Laboratory, database: Any) -> None:
    other = Authority(lab.files, "Other")
    with pytest.raises(ssl.SSLCertVerificationError):
        await log_in(database, "never sent", context=ssl.create_default_context(cafile=other.root))
    assert lab.binds == []


async def test_psycopg_logs_in_with_verify_full(lab: Laboratory, database: Any) -> None:
    def log_in_with_psycopg() -> None:
        with psycopg.connect(
            database.url("app"),
            password=lab.issuer.issue(SYSTEM_ASSIGNED).value,
            sslmode="verify-full",
            sslrootcert=str(database.root),
        ) as connection:
            assert connection.execute("select ssl from pg_stat_ssl where pid = pg_backend_pid()").fetchone() == (True,)

    await asyncio.to_thread(log_in_with_psycopg)
    assert len(lab.logins("app")) == 1


@pytest.mark.parametrize("form", ["app_service", "imds"])
async def test_azure_identity_gets_tokens_that_log_in(
    form: str, lab: Laboratory, database: Any, clean_environment: pytest.MonkeyPatch
) -> None:
    for name, value in (lab.app_service() if form == "app_service" else lab.virtual_machine()).items():
        clean_environment.setenv(name, value)
    async with AsyncManagedIdentityCredential() as credential:
        token = await credential.get_token(SCOPE)
    await log_in(database, token.token)
    with ManagedIdentityCredential() as blocking:
        await log_in(database, blocking.get_token(SCOPE).token)
    assert [(call.form, call.status) for call in lab.calls] == [(form, 200)] * 2
    assert token.expires_on == lab.issuer.issued[-2].expires_at


async def test_azure_identity_finds_a_user_assigned_identity_by_its_client_id(
    lab: Laboratory, database: Any, clean_environment: pytest.MonkeyPatch
) -> None:
    lab.identity.identities["client-of-reports"] = "object-of-reports"
    database.create_role("reports")
    lab.map_role("reports", "object-of-reports")
    for name, value in lab.app_service().items():
        clean_environment.setenv(name, value)
    async with AsyncManagedIdentityCredential(client_id="client-of-reports") as credential:
        token = (await credential.get_token(SCOPE)).token
    await log_in(database, token, user="reports")
    await refuse(database, token, user="app")


async def test_azure_identity_exchanges_the_token_of_a_pod(
    lab: Laboratory, database: Any, clean_environment: pytest.MonkeyPatch
) -> None:
    lab.identity.identities["client-of-pod"] = SYSTEM_ASSIGNED
    for name, value in lab.workload("client-of-pod").items():
        clean_environment.setenv(name, value)
    async with WorkloadIdentityCredential(connection_verify=str(lab.authority.root)) as credential:
        await log_in(database, (await credential.get_token(SCOPE)).token)
    assert [call.form for call in lab.calls] == ["workload"]


async def test_the_endpoints_misbehave_on_demand(lab: Laboratory, clean_environment: pytest.MonkeyPatch) -> None:
    for name, value in lab.app_service().items():
        clean_environment.setenv(name, value)
    lab.identity.behaviour.announced_seconds = 7200
    lab.identity.behaviour.next_answers = [Answer(500, b"<h1>no</h1>", "text/html")]
    async with AsyncManagedIdentityCredential(retry_total=1, retry_backoff_factor=0) as credential:
        token = await credential.get_token(SCOPE)
    assert [call.status for call in lab.calls] == [500, 200]
    assert token.expires_on == lab.issuer.issued[-1].expires_at + 3600
    lab.go_down()
    try:
        async with AsyncManagedIdentityCredential(retry_total=0) as credential:
            with pytest.raises(Exception, match="127"):
                await credential.get_token(SCOPE)
    finally:
        lab.come_back()
    async with AsyncManagedIdentityCredential(retry_total=0) as credential:
        await credential.get_token(SCOPE)
    assert len(lab.calls) == 3


async def test_a_wrong_identity_header_gets_nothing(lab: Laboratory, clean_environment: pytest.MonkeyPatch) -> None:
    for name, value in (lab.app_service() | {"IDENTITY_HEADER": "guessed"}).items():
        clean_environment.setenv(name, value)
    issued = len(lab.issuer.issued)
    async with AsyncManagedIdentityCredential(retry_total=0) as credential:
        with pytest.raises(Exception, match="missing or wrong"):
            await credential.get_token(SCOPE)
    assert len(lab.issuer.issued) == issued
