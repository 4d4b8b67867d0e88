"""The templates, each synthesized once for a run however many processes test, and read as plain data."""

from __future__ import annotations

import fcntl
from collections.abc import Callable

import pytest
from tegata_infra.config import DEPLOYMENTS, ENVIRONMENTS
from tegata_infra.synthesis import synthesize

from .templates import Assembly

COMBINATIONS = [(deployment, environment) for deployment in DEPLOYMENTS for environment in ENVIRONMENTS]


@pytest.fixture(scope="session")
def read_assembly(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str, str], Assembly]:
    """Return what `make synth` writes for a deployment in an environment."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    read: dict[tuple[str, str], Assembly] = {}

    def find(deployment: str, environment: str) -> Assembly:
        key = deployment, environment
        if key not in read:
            directory = shared / f"{deployment}-{environment}"
            with open(shared / f"{deployment}-{environment}.lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not (directory / "acknowledged.json").exists():
                    synthesize(deployment, environment, directory)  # type: ignore[arg-type]
            read[key] = Assembly.read(directory)
        return read[key]

    return find


@pytest.fixture(scope="session")
def idp(read_assembly) -> Assembly:
    """Tegata in production."""
    return read_assembly("idp", "production")


@pytest.fixture(scope="session")
def plan_b(read_assembly) -> Assembly:
    """Plan B in production."""
    return read_assembly("plan-b", "production")


@pytest.fixture(scope="session")
def plan_c(read_assembly) -> Assembly:
    """Plan C in production."""
    return read_assembly("plan-c", "production")


@pytest.fixture(scope="session", params=COMBINATIONS, ids="/".join)
def each(request: pytest.FixtureRequest, read_assembly) -> Assembly:
    """Every deployment in every environment."""
    return read_assembly(*request.param)
