"""The one-off tasks with a real PostgreSQL: bootstrap and migration as processes, as a deployment runs them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from local_aws.cloudformation import DEFINITION, Stack
from local_aws.ecs import Definition

from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import Cluster

BOOTSTRAP = DEFINITION.replace("migrate", "bootstrap")


@dataclass(frozen=True, slots=True)
class Deployment:
    """A stack with the two tasks, and the database they work on, as its administrator."""

    stack: Stack
    database: ConnectionTarget

    def bootstrap(self) -> dict[str, str]:
        return self.stack.ask(TaskDefinition=BOOTSTRAP, Command=["db", "bootstrap", "--create-database"])

    def migrate(self, request: str = "Create") -> dict[str, str]:
        return self.stack.ask(request, TaskDefinition=DEFINITION, Command=["migrate"])

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.database.psycopg_conninfo(), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """A server of this module's own: roles belong to the whole of it."""
    cluster = Cluster()
    yield cluster
    cluster.stop()


def deploy(stack: Stack, database: ConnectionTarget) -> Deployment:
    """Define the tasks as the container runs them; what differs between the two is who logs in."""
    tegata = [str(Path(sys.executable).with_name("tegata"))]
    logins = {
        BOOTSTRAP: {"TEGATA_BOOTSTRAP_DATABASE_URL": database.psycopg_conninfo()},
        DEFINITION: {"TEGATA_MIGRATION_DATABASE_URL": database.entering_as("tegata_migrator").psycopg_conninfo()},
    }
    for arn, login in logins.items():
        stack.ecs.definitions[arn] = Definition(tegata, {"PATH": os.environ["PATH"], "TEGATA_HOME": "/none", **login})
    return Deployment(stack, database)


@pytest.fixture
def deployment(stack: Stack, server: Cluster) -> Iterator[Deployment]:
    """A database with the schema of this release."""
    with server.migrated_database() as migrated:
        yield deploy(stack, migrated.admin)


def test_from_an_empty_server_to_the_newest_schema(stack: Stack, server: Cluster) -> None:
    deployment = deploy(stack, server.admin.in_database("idp"))
    early = deployment.migrate()
    assert early["Status"] == "FAILED"
    assert "tegata: exit code 3" in early["Reason"]
    for _ in range(2):
        assert deployment.bootstrap()["Status"] == "SUCCESS", deployment.stack.ecs.output()
    assert deployment.migrate()["Status"] == "SUCCESS", deployment.stack.ecs.output()
    assert deployment.execute("select count(*) from tegata.tenant") == [(0,)]


def test_two_stacks_migrate_one_database_at_once(deployment: Deployment) -> None:
    other = threading.Thread(target=deployment.migrate)
    other.start()
    deployment.migrate("Update")
    other.join()
    assert [answer["Status"] for answer in deployment.stack.answers.taken] == ["SUCCESS"] * 2
    assert deployment.stack.ecs.output() == "the schema is up to date\n" * 2


def test_an_older_release_fails_on_the_way_forward_and_bars_no_way_back(deployment: Deployment) -> None:
    deployment.execute("update tegata.schema_version set version_num = '9999'")
    forward = deployment.migrate("Update")
    assert (forward["Status"], "exit code 3" in forward["Reason"]) == ("FAILED", True)
    assert "newer than this release knows" in deployment.stack.ecs.output()
    deployment.stack.ecs.stack_status = "UPDATE_ROLLBACK_IN_PROGRESS"
    assert deployment.migrate("Update")["Status"] == "SUCCESS"
