"""Functions that somebody left in `public` are never called by those who have more rights (CVE-2018-1058).

Databases older than PostgreSQL 15 let everybody make something there, and an administrator who does not own that schema
cannot end it. A function whose arguments fit better than those of the catalogue's goes first, wherever both are found.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from tegata.postgres.bootstrap import Plan, bootstrap, bootstrap_script
from tegata.postgres.migrate import migrate, migration_script
from tegata.postgres.storage import PostgresOperatorStorage
from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import Cluster
from tegata.testing.dumps import psql
from tegata.testing.patience import PATIENT

pytestmark = pytest.mark.anyio

# What the set-up, migrations and purging call with literals and small numbers.
TRAPS = (
    "pg_advisory_xact_lock(integer)",
    "pg_try_advisory_lock(integer)",
    "pg_try_advisory_lock(smallint)",
    "format(text, timestamptz)",
    "format(text, name)",
    "format(text, name, name)",
    "format(text, text)",
    "pg_relation_size(text)",
)


@pytest.fixture
def trapped(each_cluster: Cluster) -> Iterator[ConnectionTarget]:
    """A database in which `public` holds functions that an attacker would have made, each of which tells of a call."""
    with each_cluster.empty_database() as target:
        with psycopg.connect(target.psycopg_conninfo(), autocommit=True) as connection:
            for signature in TRAPS:
                connection.execute(
                    f"create function public.{signature} returns text language plpgsql as"
                    " $$ begin raise exception 'caught in public'; end $$".encode()
                )
        yield target


async def test_an_administrator_calls_none(trapped: ConnectionTarget) -> None:
    bootstrap(trapped)


async def test_the_migrator_and_maintenance_call_none(trapped: ConnectionTarget) -> None:
    bootstrap(trapped)
    migrate(trapped)
    operator = PostgresOperatorStorage(trapped.entering_as("tegata_maint"), PATIENT)
    try:
        await operator.purge_expired(now=time.time())
        await operator.prepare_audit(now=time.time())
    finally:
        await operator.close()


async def test_the_printed_scripts_call_none(trapped: ConnectionTarget, each_cluster: Cluster) -> None:
    for script in (bootstrap_script(Plan(), database=trapped.database, create=True), migration_script()):
        finished = psql(trapped, script, bindir=each_cluster.bindir)
        assert (finished.returncode, "caught" in finished.stderr) == (0, False), finished.stderr
