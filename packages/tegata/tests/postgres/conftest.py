"""A server as an administrator finds it before anything of Tegata is there, on every version that is supported.

Managed services cannot be had in a test. What is theirs alone is stood in for: the administrator without superuser, the
roles `rds_superuser`, `rds_iam` and `azure_pg_admin`, and a database that belongs to somebody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tegata.postgres.embedded import wheel_binaries
from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import Cluster

_POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")
_DATABASE = "untouched"
_KEPT_ROLES = "('postgres')"

Enter = Callable[[str], ConnectionTarget]

_MAKE_ADMINISTRATOR = {
    "superuser": [],
    "rds": [
        "create role rds_iam",
        "create role rds_superuser",
        "grant pg_monitor, pg_signal_backend to rds_superuser with admin option",
        "grant rds_iam to rds_superuser with admin option",
        "create role master login createrole createdb in role rds_superuser",
        # On the real service the administrator may pass rds_iam on without being a member: the service's own patch.
        # That cannot be had here, so the role that owns the right is entered for the test of the grant alone.
        f"alter database {_DATABASE} owner to master",
    ],
    "azure": [
        "create role azure_pg_admin",
        "create role entra_admin login createrole createdb in role azure_pg_admin",
        f"alter database {_DATABASE} owner to azure_pg_admin",
    ],
    # CREATEROLE and CREATE on a database that belongs to somebody else.
    "guest": [
        "create role guest login createrole",
        f"grant create on database {_DATABASE} to guest with grant option",
    ],
}
_NAMES = {"superuser": "postgres", "rds": "master", "azure": "entra_admin", "guest": "guest"}


@pytest.fixture(scope="module", params=["15", "16", "18"])
def bare_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A server of each version for the tests that make and drop roles, which belong to the whole server."""
    bindir = {"15": _POSTGRES_15, "16": wheel_binaries().parents[1] / "pginstall" / "bin", "18": wheel_binaries()}
    if not bindir[request.param].exists():
        pytest.skip(f"PostgreSQL {request.param} is not installed")
    cluster = Cluster(bindir[request.param])
    yield cluster
    cluster.stop()


@pytest.fixture
def enter(bare_cluster: Cluster) -> Iterator[Enter]:
    """Enter an empty database as one kind of administrator. At the end nothing is left, no role either."""
    admin = bare_cluster.admin
    execute(admin, f"create database {_DATABASE} template template0 strategy file_copy")
    made: set[str] = set()

    def entered(kind: str) -> ConnectionTarget:
        if kind not in made:
            made.add(kind)
            for statement in _MAKE_ADMINISTRATOR[kind]:
                execute(admin, statement)
        return admin.in_database(_DATABASE).entering_as(_NAMES[kind])

    yield entered
    _wipe(admin)


def execute(target: ConnectionTarget, statement: str) -> None:
    with psycopg.connect(target.psycopg_conninfo(), autocommit=True) as connection:
        connection.execute(statement.encode())


def _wipe(admin: ConnectionTarget) -> None:
    with psycopg.connect(admin.psycopg_conninfo(), autocommit=True) as connection:
        databases = "select datname from pg_database where datname not in ('postgres', 'template0', 'template1')"
        for (name,) in connection.execute(databases).fetchall():
            connection.execute(f'drop database "{name}" with (force)'.encode())
        roles = f"select rolname from pg_roles where rolname !~ '^pg_' and rolname not in {_KEPT_ROLES}"
        found = [str(row[0]) for row in connection.execute(roles.encode()).fetchall()]
        for name in found:
            connection.execute(f'drop owned by "{name}" cascade'.encode())
        for name in found:
            connection.execute(f'drop role "{name}"'.encode())
