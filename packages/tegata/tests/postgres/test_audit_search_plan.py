"""The search of the audit log under row-level security: by index, in its order, in no partition beside its time."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import asyncpg
import psycopg
import pytest

from tegata.identifiers import TenantId
from tegata.postgres.audit_log import fetch_events
from tegata.storage.marked_reads import EventSearch
from tegata.storage.records import AuditEvent
from tegata.testing.clusters import MigratedDatabase

pytestmark = pytest.mark.anyio
DAY = 86_400
# Two tenants' events of ten weeks around now, so that several partitions hold some.
FILL = """
    insert into tegata.audit_event (tenant_id, event_id, at, type, outcome)
      select %s, gen_random_uuid(), now() + n * interval '5 minutes', 'token.issued', 'success'
        from generate_series(-10000, 10000) n
"""


class Explaining:
    """A connection that answers with no rows and keeps the plan of what it was asked."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.plan: dict[str, Any] = {}

    async def fetch(self, statement: str, *arguments: object) -> list[Any]:
        text = await self._connection.fetchval(f"explain (analyze, costs off, format json) {statement}", *arguments)
        self.plan = json.loads(text)[0]["Plan"]
        return []

    def nodes(self) -> list[dict[str, Any]]:
        return list(_nodes(self.plan))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


@pytest.fixture(scope="module")
def tenant_id(each_migrated_database: MigratedDatabase) -> TenantId:
    """One of two tenants with events."""
    tenants = [TenantId(uuid4()), TenantId(uuid4())]
    with psycopg.connect(each_migrated_database.admin.psycopg_conninfo(), autocommit=True) as connection:
        for tenant in tenants:
            connection.execute("insert into tegata.tenant values (%s, %s, '{}', '')", [tenant, str(tenant)])
            connection.execute(FILL, [tenant])
        connection.execute("analyze tegata.audit_event")
    return tenants[0]


@pytest.fixture
async def connection(
    each_migrated_database: MigratedDatabase, tenant_id: TenantId
) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the application role in a transaction of the tenant."""
    app = await asyncpg.connect(**each_migrated_database.app.asyncpg_arguments())
    await app.execute(f"begin read only; select set_config('app.tenant_id', '{tenant_id}', true)")
    yield app
    await app.close()


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("later_page", [False, True], ids=["first page", "later page"])
@pytest.mark.parametrize("days", [None, 7], ids=["of all time", "of a week"])
async def test_a_page_reads_little_more_than_what_it_shows(
    connection: asyncpg.Connection, tenant_id: TenantId, days: int | None, later_page: bool, mode: str
) -> None:
    now = time.time()
    await connection.execute(f"set local plan_cache_mode = {mode}")
    search = EventSearch() if days is None else EventSearch(since=now - days * DAY, until=now)
    before = AuditEvent(str(uuid4()), now - DAY, "x", "success") if later_page else None
    explaining = Explaining(connection)
    await fetch_events(explaining, tenant_id, search, limit=100, before=before)
    kinds = {node["Node Type"] for node in explaining.nodes()}
    assert not {"Sort", "Incremental Sort", "Seq Scan", "Bitmap Heap Scan"} & kinds, kinds
    scans = [node for node in explaining.nodes() if node["Node Type"] in {"Index Scan", "Index Only Scan"}]
    assert all("tenant_id" in scan["Index Cond"] and "ROW(" in scan["Index Cond"] for scan in scans)
    # What a merge of partitions looks at beside the hundred is the first row of each.
    assert 100 <= sum(scan["Actual Rows"] for scan in scans) <= 100 + len(scans)


async def test_no_partition_is_opened_that_lies_outside_the_time(
    connection: asyncpg.Connection, tenant_id: TenantId
) -> None:
    now = time.time()
    explaining = Explaining(connection)
    await fetch_events(explaining, tenant_id, EventSearch(), limit=100, before=None)
    every = {node["Relation Name"] for node in explaining.nodes() if "Relation Name" in node}
    await fetch_events(explaining, tenant_id, EventSearch(now - 60, now), limit=100, before=None)
    needed = {node["Relation Name"] for node in explaining.nodes() if "Relation Name" in node}
    assert len(every) > 2
    assert 1 <= len(needed) <= 2  # two at the turn of a month
    assert needed < every
