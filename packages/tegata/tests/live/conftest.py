"""A PostgreSQL that asks for passwords over TCP, and an installation of Tegata on it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import Cluster, fastest_directory
from tegata_credentials.testing import free_port
from tegata_credentials.testing.secrets_manager import StandIn

from .installation import HOST, OPERATOR, Installation

_RULES = f"local all all trust\nhost all all {HOST}/32 scram-sha-256\n"


class _PasswordCluster(Cluster):
    """Listens on TCP as well, where everybody needs a password."""

    @property
    def admin(self) -> ConnectionTarget:
        return replace(super().admin, port=int(self.settings["port"]))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    directory = Path(tempfile.mkdtemp(prefix="live-", dir=fastest_directory()))
    directory.chmod(0o755)
    rules = directory / "pg_hba.conf"
    rules.write_text(_RULES)
    settings = {"listen_addresses": HOST, "port": str(free_port()), "hba_file": str(rules), "log_statement": "ddl"}
    made = _PasswordCluster(settings=settings)
    yield made
    made.stop()
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def secrets_manager() -> Iterator[StandIn]:
    with StandIn() as running:
        yield running


@pytest.fixture
def stand_in(secrets_manager: StandIn) -> StandIn:
    secrets_manager.reset()
    return secrets_manager


@pytest.fixture
def installation(cluster: Cluster, stand_in: StandIn, tmp_path: Path) -> Iterator[Installation]:
    with cluster.migrated_database() as database:
        made = Installation(stand_in, stand_in.endpoint_url, database.admin, tmp_path)
        made.prepare()
        yield made


@pytest.fixture
def operator_environment(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """What boto3 reads in this process, where operators' work is done as well."""
    for name, value in installation.stand_in.environment(principal=OPERATOR).items():
        monkeypatch.setenv(name, value)
