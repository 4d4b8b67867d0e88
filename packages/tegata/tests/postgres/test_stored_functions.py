"""The hot acts: each sets its tenant, names it in every statement, and reads by index however many rows there are."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import psycopg
import pytest

from tegata.postgres.storage import PostgresOperatorStorage, PostgresStorage
from tegata.postgres.stored_functions import StoredFunction, wanted_functions
from tegata.postgres.tenancy import tenant
from tegata.testing.clusters import Cluster
from tegata.testing.crowd import crowd
from tegata.testing.hot_acts import hot_acts
from tegata.testing.patience import PATIENCE_SECONDS, PATIENT
from tegata.testing.records import World, inhabit

FUNCTIONS = {function.name: function for function in wanted_functions()}
# find_tenant and load_tenant begin without a tenant; append_events is called by functions that have set it.
WITHOUT_CONTEXT = {"find_tenant", "append_events"}


def statements(function: StoredFunction) -> list[str]:
    """The statements of a function without its comments."""
    text = re.sub(r"--[^\n]*", "", function.text)
    return [part for part in text.split(";") if re.search(r"\btegata\.[a-z_]+\b", part)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_runs_with_its_callers_rights_and_finds_no_name_outside_the_catalogue(name: str) -> None:
    text = FUNCTIONS[name].text
    # An empty path would still look for types in pg_temp first.
    assert "set search_path = pg_catalog, pg_temp as" in text
    assert ("security definer" in text) == (name == "find_tenant")


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - WITHOUT_CONTEXT))
def test_a_function_sets_its_tenant_for_the_transaction_alone(name: str) -> None:
    assert re.search(r"perform pg_catalog\.set_config\('app\.tenant_id', [^;]*, true\);", FUNCTIONS[name].text)


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - {"find_tenant"}))
def test_every_read_and_change_names_the_tenant(name: str) -> None:
    for statement in statements(FUNCTIONS[name]):
        tables = re.findall(r"\b(?:from|join|update) tegata\.([a-z_]+)", statement)
        wanted = re.findall(r"tenant_id = (?:p_tenant|wanted)\b", statement)
        assert len(wanted) >= len(tables), statement


ROWS = 4000


@pytest.mark.anyio
async def test_no_hot_act_reads_a_whole_table(each_cluster: Cluster) -> None:
    with each_cluster.migrated_database() as database:
        one = replace(PATIENT, size=1)
        storage, operator = PostgresStorage(database.app, one), PostgresOperatorStorage(database.maintenance, one)
        world = World(storage, operator, await inhabit(operator), await inhabit(operator))
        with psycopg.connect(database.admin.psycopg_conninfo(), autocommit=True) as admin:
            crowd(database.admin, world.here.tenant_id, rows=ROWS, small_tenants=100, rows_each=5)
            # A session may tell what it has read only when it ends.
            await operator.close()
            async with asyncio.timeout(PATIENCE_SECONDS):
                others = "select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
                while admin.execute(others).fetchone() is not None:
                    await asyncio.sleep(0.01)

            async def scanned() -> set[str]:
                """Tables that the application's connection has read from end to end so far."""
                await storage.database.value("select pg_stat_force_next_flush()")
                await storage.database.value("select 1")
                rows = admin.execute(
                    "select relname || ' ' || seq_scan from pg_stat_user_tables where schemaname = 'tegata'"
                    " and seq_scan > 0 and relname <> all (%s)",
                    (
                        ["tenant", "tenant_directory", "client", "signing_key", "client_secret"],
                    ),  # too small for an index
                ).fetchall()
                return {str(row[0]) for row in rows}

            async def count_everything() -> None:
                async with tenant(storage.database, world.here.tenant_id) as connection:
                    for kind in ("indexscan", "indexonlyscan", "bitmapscan"):
                        await connection.execute(f"set local enable_{kind} = off")
                    await connection.execute("select count(*) from tegata.audit_event where type = 'x'")

            acts = await hot_acts(world) | {"what must be noticed": count_everything}
            guilty = {}
            for name, act in acts.items():
                before = await scanned()
                await act()
                if new := await scanned() - before:
                    guilty[name] = new
        await storage.close()
    assert guilty.keys() == {"what must be noticed"}
