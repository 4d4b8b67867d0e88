"""Which identity the settings choose, seen in the tokens that come of it."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tegata_credentials.doctor.presented import read_claims, read_rds_token
from tegata_credentials.errors import IdentityUnavailable
from tegata_credentials.settings import DatabaseSettings
from tegata_credentials.testing import SYSTEM_ASSIGNED, Laboratory

USER_ASSIGNED = "44444444-4444-4444-8444-444444444444"
CLIENT_ID = "55555555-5555-4555-8555-555555555555"
RDS_NAME = "shop.abcdefghijkl.eu-west-1.rds.amazonaws.com"


def settings(**environ: str) -> DatabaseSettings:
    return DatabaseSettings.from_environment({"DATABASE_URL": "postgresql://app@db.example.com/app", **environ})


async def tokens(found: DatabaseSettings) -> list[str]:
    """One token by way of asyncio and one of threads."""
    source, sync_source = found.password_source(), found.sync_password_source()
    try:
        return [await source.current(), sync_source.current()]
    finally:
        await source.close()
        sync_source.close()


@pytest.fixture
def in_the_cloud(clean_environment: pytest.MonkeyPatch, lab: Laboratory) -> pytest.MonkeyPatch:
    for name, value in {**lab.app_service(), **lab.aws()}.items():
        clean_environment.setenv(name, value)
    return clean_environment


@pytest.mark.anyio
@pytest.mark.parametrize(("client_id", "object_id"), [("", SYSTEM_ASSIGNED), (CLIENT_ID, USER_ASSIGNED)])
async def test_a_user_assigned_identity_is_chosen_by_its_client_id(in_the_cloud, lab, client_id, object_id):
    lab.identity.identities = {None: SYSTEM_ASSIGNED, CLIENT_ID: USER_ASSIGNED}
    for token in await tokens(settings(USE_MANAGED_IDENTITY="true", AZURE_CLIENT_ID=client_id)):
        claims: Any = read_claims(token)
        assert claims["oid"] == object_id


@pytest.mark.anyio
async def test_the_sdks_own_choice_of_credentials_is_honoured(in_the_cloud):
    # The managed identity could be had; the developer's command line, which is not there, was asked for.
    in_the_cloud.setenv("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")
    in_the_cloud.setenv("PATH", "/nowhere")
    found = settings(USE_MANAGED_IDENTITY="true", AZURE_TOKEN_CREDENTIALS="AzureCliCredential")
    source, sync_source = found.password_source(), found.sync_password_source()
    with pytest.raises(IdentityUnavailable):
        await source.current()
    with pytest.raises(IdentityUnavailable):
        sync_source.current()
    await source.close()
    sync_source.close()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("environ", "host", "region"),
    [
        ({"DATABASE_URL": f"postgresql://app@{RDS_NAME}/app", "AWS_REGION": "us-east-1"}, RDS_NAME, "eu-west-1"),
        ({"RDS_ENDPOINT": RDS_NAME, "AWS_REGION": "us-east-1"}, RDS_NAME, "eu-west-1"),
        ({"RDS_ENDPOINT": "127.0.0.1", "AWS_REGION": "us-east-1"}, "127.0.0.1", "us-east-1"),
    ],
    ids=["in the URL", "beside the URL", "nowhere"],
)
async def test_the_region_in_the_hosts_name_goes_before_that_of_the_process(in_the_cloud, environ, host, region):
    for token in await tokens(settings(DATABASE_AUTH="aws_iam", **environ)):
        found: Any = read_rds_token(token)
        assert (found.host, found.region, found.user) == (host, region, "app")


@pytest.mark.anyio
async def test_at_the_end_of_an_engines_life_nothing_of_it_is_left(in_the_cloud, database):
    found = DatabaseSettings.from_environment(
        {"USE_MANAGED_IDENTITY": "true", "DATABASE_URL": f"{database.url('app')}?sslrootcert={database.root}"}
    )

    async def use(kept: list[AsyncEngine]) -> None:
        async with found.open_async_engine() as engine, engine.connect() as connection:
            kept.append(engine)
            await connection.execute(text("select 1"))
            raise KeyError

    kept: list[AsyncEngine] = []
    with pytest.raises(KeyError):
        await use(kept)
    with psycopg.connect(database.socket.psycopg_conninfo(), autocommit=True) as connection:
        left = "select count(*) from pg_stat_activity where usename = 'app'"
        for _ in range(1200):  # the server needs a moment to notice
            if connection.execute(left).fetchone() == (0,):
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail("connections are left")
    with pytest.raises(IdentityUnavailable) as caught:
        await kept[0].connect()
    assert caught.value.reason == "closed"
