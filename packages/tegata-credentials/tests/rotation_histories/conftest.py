"""The servers on which histories are told: one pair for each worker, started when a test first asks for it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest

from tegata.testing.clusters import fastest_directory
from tegata_credentials.rotation.aws_store import AwsVersions
from tegata_credentials.testing.secrets_manager import StandIn

from .kits import SecretsManagerKit
from .servers import Servers, started

POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture(scope="session")
def pair_15() -> Iterator[Servers]:
    """PostgreSQL 15: the oldest that is supported."""
    if not POSTGRES_15.exists():
        pytest.skip("PostgreSQL 15 is not installed")
    with started(POSTGRES_15) as servers:
        yield servers


@pytest.fixture(scope="session")
def pair_18() -> Iterator[Servers]:
    """PostgreSQL 18, of the wheel."""
    with started() as servers:
        yield servers


@pytest.fixture
def private_directory() -> Iterator[Path]:
    """A directory in memory that nobody else may read."""
    made = Path(tempfile.mkdtemp(prefix="histories-", dir=fastest_directory()))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def secrets_manager_kit(stand_in: StandIn) -> Iterator[Callable[[], SecretsManagerKit]]:
    """Kits on Secrets Manager's stand-in, with one client of boto3 for all of them: making one takes long."""
    session = boto3.Session("AKIASTANDIN", "not-a-key", region_name=stand_in.region)
    versions = AwsVersions(session=session, endpoint_url=stand_in.endpoint_url)
    yield lambda: SecretsManagerKit(stand_in, versions)
    versions.close()
