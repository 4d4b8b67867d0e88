"""A PostgreSQL that asks for passwords over TCP, and an installation of Tegata on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tegata.testing.password_server import PasswordCluster, password_cluster
from tegata_credentials.testing.secrets_manager import StandIn

from .installation import OPERATOR, Installation


@pytest.fixture(scope="module")
def cluster() -> Iterator[PasswordCluster]:
    with password_cluster(log_statement="ddl") as made:
        yield made


@pytest.fixture(scope="module")
def secrets_manager() -> Iterator[StandIn]:
    with StandIn() as running:
        yield running


@pytest.fixture
def stand_in(secrets_manager: StandIn) -> StandIn:
    secrets_manager.reset()
    return secrets_manager


@pytest.fixture
def installation(cluster: PasswordCluster, stand_in: StandIn, tmp_path: Path) -> Iterator[Installation]:
    with cluster.migrated_database() as database:
        made = Installation(stand_in, stand_in.endpoint_url, database.admin, tmp_path)
        made.prepare()
        yield made


@pytest.fixture
def operator_environment(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """What boto3 reads in this process, where operators' work is done as well."""
    for name, value in installation.stand_in.environment(principal=OPERATOR).items():
        monkeypatch.setenv(name, value)
