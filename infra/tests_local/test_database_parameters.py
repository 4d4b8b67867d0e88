"""The parameters that the template gives RDS, accepted by PostgreSQL itself.

RDS has PostgreSQL 17; here run the two majors around it. What begins with `rds.` only RDS knows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tegata.testing.clusters import Cluster

SNAPSHOT = Path(__file__).parent.parent / "snapshots" / "idp" / "production" / "Tegata-production-Data.json"
POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")


def read_parameters() -> dict[str, str]:
    """Return the parameter group of the committed template."""
    resources = json.loads(SNAPSHOT.read_text())["Resources"].values()
    found = [one["Properties"]["Parameters"] for one in resources if one["Type"] == "AWS::RDS::DBParameterGroup"]
    assert len(found) == 1
    return dict(found[0])


PARAMETERS = {name: value for name, value in read_parameters().items() if not name.startswith("rds.")}
BUNDLED = {"shared_preload_libraries"}
"""What the PostgreSQL of the wheel cannot: it comes without contrib."""


@pytest.fixture(scope="module")
def newest() -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """PostgreSQL 18 with the template's parameters."""
    cluster = Cluster(settings={name: value for name, value in PARAMETERS.items() if name not in BUNDLED})
    try:
        with psycopg.connect(cluster.admin.psycopg_conninfo()) as connection:
            yield connection
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def debian() -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """PostgreSQL 15 with contrib and all the template's parameters."""
    if not POSTGRES_15.exists():
        missing = "missing: PostgreSQL 15"
        (pytest.fail if os.environ.get("TEGATA_ACCEPTANCE_COMPLETE") else pytest.skip)(missing)
    cluster = Cluster(POSTGRES_15, settings=PARAMETERS)
    try:
        with psycopg.connect(cluster.admin.psycopg_conninfo(), autocommit=True) as connection:
            yield connection
    finally:
        cluster.stop()


def ask(connection: psycopg.Connection[tuple[object, ...]], name: str) -> tuple[object, ...]:
    """Return the value in force, and whether the server still waits for something to apply it."""
    row = connection.execute(
        "select reset_val, unit, vartype, pending_restart from pg_settings where name = %s", [name]
    ).fetchone()
    assert row is not None, f"PostgreSQL knows no {name}"
    return row


def means(row: tuple[object, ...], value: str) -> bool:
    """Whether what PostgreSQL says is what the template says."""
    said, _unit, kind, pending = row
    wanted = {"1": "on", "0": "off"}.get(value, value) if kind == "bool" else value
    # PostgreSQL 18 made a list of log_connections; 1 is still taken.
    return said == wanted and not pending


@pytest.mark.parametrize("name", sorted(PARAMETERS.keys() - BUNDLED))
def test_postgresql_18_takes_the_parameter(newest: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    assert means(ask(newest, name), PARAMETERS[name]), ask(newest, name)


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_postgresql_15_takes_the_parameter(debian: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    assert means(ask(debian, name), PARAMETERS[name]), ask(debian, name)


def test_statements_are_counted_once_the_extension_is_made(debian: psycopg.Connection[tuple[object, ...]]) -> None:
    debian.execute("create extension pg_stat_statements")
    debian.execute("select 17 as counted_by_the_library")
    row = debian.execute("select sum(calls) from pg_stat_statements where query like '%counted_by_the_library%'")
    assert row.fetchone() == (1,)


def test_a_comparison_that_never_fails_would_prove_nothing(newest: psycopg.Connection[tuple[object, ...]]) -> None:
    assert not means(ask(newest, "max_connections"), "100")
