"""Every statement of a hot act finds its rows by index, behind row-level security, among a million in one tenant.

PostgreSQL itself tells the plans it has run (auto_explain), inside stored functions and foreign-key checks too; twice,
because a plan made for any tenant (generic) may differ from one made for this tenant (custom).
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import psycopg
import pytest

from tegata.postgres.storage import PostgresOperatorStorage, PostgresStorage
from tegata.postgres.stored_functions import wanted_functions
from tegata.postgres.tenancy import tenant
from tegata.testing.clusters import Cluster, MigratedDatabase
from tegata.testing.crowd import crowd
from tegata.testing.hot_acts import hot_acts
from tegata.testing.patience import PATIENT
from tegata.testing.records import Inhabited, World, inhabit

pytestmark = pytest.mark.anyio

ONE = replace(PATIENT, size=1)
ROWS = 1_000_000
SMALL_TENANTS = 1_000
# Reading all of a table with a row for each tenant, or for each key of this one, is what a planner should do.
NOT_CROWDED = {"tenant_directory", "client_secret", "signing_key", "schema_version"}
# A row may be read and thrown away: the session that is not the newest, the account that is disabled.
FEW = 5


@dataclass(frozen=True)
class Crowded:
    """The database, and two inhabited tenants in it: `here` holds a million rows of everything."""

    database: MigratedDatabase
    here: Inhabited
    there: Inhabited


@pytest.fixture(scope="module")
async def crowded(clusters: dict[str, Cluster]) -> AsyncIterator[Crowded]:
    if not clusters["15"].is_installed:
        pytest.skip("auto_explain comes with the system's PostgreSQL 15, which is not installed")
    with clusters["15"].migrated_database() as database:
        operator = PostgresOperatorStorage(database.maintenance, ONE)
        here, there = await inhabit(operator), await inhabit(operator)
        await operator.close()
        crowd(database.admin, here.tenant_id, rows=ROWS, small_tenants=SMALL_TENANTS)
        with psycopg.connect(database.admin.psycopg_conninfo(), autocommit=True) as admin:
            for setting in (
                "session_preload_libraries = 'auto_explain'",
                "auto_explain.log_min_duration = 0",
                "auto_explain.log_nested_statements = on",
                "auto_explain.log_analyze = on",
                "auto_explain.log_timing = off",
                "auto_explain.log_format = 'json'",
                "auto_explain.log_level = 'notice'",
            ):
                admin.execute(f"alter role tegata_app in database {database.app.database} set {setting}".encode())
        yield Crowded(database, here, there)


class Watched:
    """A storage with one connection, whose plans are written down."""

    def __init__(self, crowded: Crowded) -> None:
        self.storage = PostgresStorage(crowded.database.app, ONE)
        self._operator = PostgresOperatorStorage(crowded.database.maintenance, ONE)
        self._plans: list[Mapping[str, Any]] = []
        self._crowded = crowded

    async def start(self, plan_cache_mode: str) -> None:
        pool = self.storage.database.pool
        connection = await pool.take()
        connection.add_log_listener(self._hear)
        await connection.execute(f"set plan_cache_mode = '{plan_cache_mode}'")
        pool.give_back(connection)

    async def close(self) -> None:
        await self.storage.close()
        await self._operator.close()

    def _hear(self, _: asyncpg.Connection, message: Any) -> None:
        _, found, plan = message.message.partition("plan:\n")
        if found:
            self._plans.append(json.loads(plan))

    def plans(self) -> list[Mapping[str, Any]]:
        """The plans since the last call."""
        plans, self._plans = self._plans, []
        return plans

    def world(self, *, small: bool) -> World:
        """The tenants, seen from the small one or from the crowded one."""
        here, there = self._crowded.here, self._crowded.there
        return World(self.storage, self._operator, *((there, here) if small else (here, there)))


@pytest.fixture(params=["force_generic_plan", "force_custom_plan"])
async def watched(crowded: Crowded, request: pytest.FixtureRequest) -> AsyncIterator[Watched]:
    watched = Watched(crowded)
    await watched.start(request.param)
    yield watched
    await watched.close()


def nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def faults(plan: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a plan: a table read from end to end, or rows read to be thrown away."""
    for node in nodes(plan["Plan"]):
        table, wasted = node.get("Relation Name", ""), node.get("Rows Removed by Filter", 0)
        if table in NOT_CROWDED or table.startswith("pg_"):  # the driver asks the catalogue about types
            continue
        if node["Node Type"] == "Seq Scan":
            yield f"all of {table} read by: {plan['Query Text']}"
        if wasted > FEW:
            yield f"{wasted} rows of {table} thrown away by: {plan['Query Text']}"


@pytest.mark.parametrize("small", [False, True], ids=["in the crowded tenant", "in a small tenant"])
async def test_every_statement_of_the_hot_acts_uses_an_index(watched: Watched, small: bool) -> None:
    acts = await hot_acts(watched.world(small=small))
    watched.plans()
    texts = []
    for name, act in acts.items():
        await act()
        plans = watched.plans()
        texts += [plan["Query Text"] for plan in plans]
        assert plans, name
        assert [fault for plan in plans for fault in faults(plan)] == [], name
    called = set(re.findall(r"\btegata\.(\w+)\(", "\n".join(texts)))
    # PL/pgSQL evaluates a bare function call without a plan: find_tenant is called so by load_tenant.
    assert called | {"find_tenant"} >= {function.name for function in wanted_functions()}, "hot_acts lacks an act"
    # More than one for each act: those inside the functions are among them.
    assert len(texts) > 2 * len(acts)


async def test_a_statement_without_an_index_is_noticed(watched: Watched, crowded: Crowded) -> None:
    watched.plans()
    async with tenant(watched.storage.database, crowded.here.tenant_id) as connection:
        await connection.fetch("select count(*) from tegata.account where username = 'u7'")
        await connection.fetch("select count(*) from tegata.account where lower(username_norm) = 'u7'")
    assert len([fault for plan in watched.plans() for fault in faults(plan)]) >= 2
