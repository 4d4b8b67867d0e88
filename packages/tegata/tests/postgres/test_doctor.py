"""The doctor finds nothing on the schema as migrated, and finds each hole that is made on purpose."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tegata.postgres.doctor import CHECKS, Diagnosis, examine
from tegata.testing.clusters import Cluster, MigratedDatabase

from . import holes_of_rights, holes_of_tables

HOLES = {**holes_of_tables.HOLES, **holes_of_rights.HOLES}


@pytest.fixture
def database(each_cluster: Cluster) -> Iterator[MigratedDatabase]:
    with each_cluster.migrated_database() as migrated:
        yield migrated


def run(database: MigratedDatabase, statements: str) -> None:
    with psycopg.connect(database.admin.psycopg_conninfo()) as connection:
        connection.execute(statements.encode())


def diagnose(database: MigratedDatabase) -> Diagnosis:
    return examine(database.admin, application=database.app)


@pytest.mark.parametrize("name", HOLES)
def test_a_hole_is_found(database: MigratedDatabase, name: str) -> None:
    hole = HOLES[name]
    run(database, hole.make)
    try:
        found = diagnose(database).findings
    finally:
        if hole.mend:
            run(database, hole.mend)
    assert {finding.check for finding in found} == hole.checks
    assert any(hole.object in finding.object for finding in found), found


def test_every_check_has_a_hole_that_it_finds() -> None:
    assert {check.id for check in CHECKS} <= {check for hole in HOLES.values() for check in hole.checks}
    assert len(CHECKS) == 41


def test_the_schema_as_migrated_is_healthy_and_proven(bare_cluster: Cluster) -> None:
    """On 15, 16 and 18."""
    with bare_cluster.migrated_database() as migrated:
        for catalogue in (migrated.admin, migrated.owner):
            diagnosis = examine(catalogue, application=migrated.app)
            assert diagnosis.findings == ()
            assert diagnosis.remarks == ()
            assert diagnosis.is_proven
            assert diagnosis.probes > 150


@pytest.mark.parametrize("entered_as", ["maintenance", "app"])
def test_a_role_with_few_rights_can_ask_too_and_is_told_what_was_not_tried(
    each_migrated_database: MigratedDatabase, entered_as: str
) -> None:
    diagnosis = examine(getattr(each_migrated_database, entered_as))
    assert diagnosis.findings == ()
    assert diagnosis.remarks


def test_the_examination_leaves_nothing_behind(database: MigratedDatabase) -> None:
    diagnose(database)
    with psycopg.connect(database.admin.psycopg_conninfo()) as connection:
        rows = connection.execute("select count(*) from tegata.tenant").fetchall()
    assert rows == [(0,)]


def test_a_server_that_logs_in_as_somebody_stronger_is_found_out(each_migrated_database: MigratedDatabase) -> None:
    as_superuser = examine(each_migrated_database.admin, application=each_migrated_database.admin)
    assert {"R01", "L00", "L01"} <= {finding.check for finding in as_superuser.findings}
    with_role = each_migrated_database.admin.taking_role("tegata_app")
    assert {finding.check for finding in examine(each_migrated_database.admin, application=with_role).findings} == {
        "L00"
    }


def test_a_database_that_was_never_set_up_is_one_finding(each_cluster: Cluster) -> None:
    with each_cluster.empty_database() as target:
        assert [finding.check for finding in examine(target).findings] == ["R00"]
