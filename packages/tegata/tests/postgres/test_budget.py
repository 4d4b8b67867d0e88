"""The budget of connections is computed from the server's own numbers."""

from __future__ import annotations

import psycopg
import pytest

from tegata.postgres.budget import ConnectionBudget, connection_budget
from tegata.postgres.engine import Database
from tegata.testing.clusters import MigratedDatabase
from tegata.testing.patience import PATIENT

pytestmark = pytest.mark.anyio


async def test_the_servers_limits_are_read(each_migrated_database: MigratedDatabase) -> None:
    database = Database(each_migrated_database.app, PATIENT)
    found = await connection_budget(database, processes=2, of_each=11)
    await database.close()
    assert found == ConnectionBudget(processes=2, of_each=11, max_connections=200, reserved=3, allowed=197)
    assert found.wanted == 22
    assert found.fits


async def test_a_limit_of_role_or_database_counts_if_it_is_smaller(each_migrated_database: MigratedDatabase) -> None:
    name = each_migrated_database.app.database
    with psycopg.connect(each_migrated_database.admin.psycopg_conninfo(), autocommit=True) as admin:
        admin.execute(f"alter database {name} connection limit 20".encode())
        try:
            database = Database(each_migrated_database.app, PATIENT)
            found = await connection_budget(database, processes=2, of_each=10)
            await database.close()
        finally:
            admin.execute(f"alter database {name} connection limit -1".encode())
    assert found.allowed == 20
    assert not found.fits  # nothing would be left for anybody else
