"""Announcements reach every process, and a gap is told as "everything may have changed"."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest

from tegata.identifiers import TenantId
from tegata.postgres.changes import ChangeListener
from tegata.postgres.storage import PostgresOperatorStorage
from tegata.protocol.client import Client, ClientMetadata
from tegata.protocol.policy import TenantPolicy
from tegata.storage.records import DesiredUser, SigningKeyRecord
from tegata.testing.clusters import Cluster, MigratedDatabase
from tegata.testing.patience import PATIENCE_SECONDS, PATIENT
from tegata.testing.records import NOW, inhabit

pytestmark = pytest.mark.anyio


@dataclass(slots=True)
class Ear:
    """Keeps what it hears."""

    heard: list[tuple[TenantId | None, str, str]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, tenant_id: TenantId | None, kind: str, key: str) -> None:
        self.heard.append((tenant_id, kind, key))
        self.news.set()

    async def until(self, wanted: tuple[TenantId | None, str, str]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while wanted not in self.heard:
                self.news.clear()
                await self.news.wait()


@pytest.fixture
async def operator(each_migrated_database: MigratedDatabase) -> AsyncIterator[PostgresOperatorStorage]:
    storage = PostgresOperatorStorage(each_migrated_database.maintenance, PATIENT)
    yield storage
    await storage.close()


@pytest.fixture
async def ear(each_migrated_database: MigratedDatabase) -> AsyncIterator[Ear]:
    # No beat of the heart in between: one that is answered late would end the connection.
    listener, ear = ChangeListener(each_migrated_database.app, heartbeat_seconds=600), Ear()
    listener.subscribe(ear)
    await listener.start()
    await listener.until_listening()
    assert ear.heard == [(None, "all", "")]
    ear.heard.clear()
    yield ear
    await listener.close()


async def test_each_kind_of_change_is_announced_with_its_key(operator: PostgresOperatorStorage, ear: Ear) -> None:
    here = await inhabit(operator)
    await ear.until((here.tenant_id, "tenant", here.name))
    await ear.until((here.tenant_id, "client", "other"))
    ear.heard.clear()

    await operator.update_tenant(here.tenant_id, TenantPolicy(display_name="new"), events=[])
    await ear.until((here.tenant_id, "tenant", here.name))
    web = await operator.find_client(here.tenant_id, "web")
    assert web is not None
    await operator.put_client(here.tenant_id, replace(web, secrets=()), events=[])
    await operator.put_client(here.tenant_id, Client("new", ClientMetadata()), events=[])
    await operator.delete_client(here.tenant_id, "other", events=[])
    await ear.until((here.tenant_id, "client", "other"))
    assert {change[2] for change in ear.heard if change[1] == "client"} == {"web", "new", "other"}
    key = SigningKeyRecord("kid-1", "ES256", "active", {}, b"sealed", NOW, NOW)
    await operator.add_key(here.tenant_id, key, events=[])
    await ear.until((here.tenant_id, "signing_key", "kid-1"))


async def test_what_is_not_cached_is_not_announced_nor_is_what_is_rolled_back(
    operator: PostgresOperatorStorage, ear: Ear
) -> None:
    here = await inhabit(operator)
    await ear.until((here.tenant_id, "client", "other"))
    ear.heard.clear()
    await operator.put_user(here.tenant_id, here.user_id, DesiredUser("taro", {"name": "x"}, ()), events=[])
    await operator.update_tenant(here.tenant_id, TenantPolicy(), events=[])
    await ear.until((here.tenant_id, "tenant", here.name))
    assert {change[1] for change in ear.heard} == {"tenant"}


async def test_after_a_gap_everything_may_have_changed() -> None:
    cluster = Cluster()
    try:
        with cluster.migrated_database() as database:
            listener, ear = ChangeListener(database.app, retry_seconds=0.05), Ear()
            listener.subscribe(ear)
            await listener.start()
            await listener.until_listening()
            ear.heard.clear()
            await asyncio.to_thread(cluster.restart)
            await ear.until((None, "all", ""))
            operator = PostgresOperatorStorage(database.maintenance, PATIENT)
            here = await inhabit(operator)
            await ear.until((here.tenant_id, "tenant", here.name))
            await operator.close()
            await listener.close()
    finally:
        cluster.stop()
