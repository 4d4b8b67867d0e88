"""The chain of Plan B for all tests here; `chain/` has the parts."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2]
sys.path[:0] = [str(EXAMPLE), str(EXAMPLE / "deploy")]

from chain import Chain, find_nginx, run_chain  # noqa: E402

from tegata_credentials.testing.secrets_manager import StandIn  # noqa: E402


@pytest.fixture(scope="session")
def nginx() -> str:
    """Where Debian's nginx is."""
    found = find_nginx()
    if found is None:
        if os.environ.get("TEGATA_ACCEPTANCE_COMPLETE"):
            pytest.fail("nginx is missing")
        pytest.skip("nginx is not installed")
    return found


@pytest.fixture(scope="session")
def stand_in() -> Iterator[StandIn]:
    with StandIn(region="eu-west-1") as running:
        yield running


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that nginx as nobody can reach: those above `tmp_path` are closed to others than their owner."""
    with tempfile.TemporaryDirectory(prefix="plan-b-") as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def chain(nginx: str, stand_in: StandIn) -> Iterator[Chain]:
    """The chain. Whatever the tests have sent through it, no token may be in a log at the end."""
    with tempfile.TemporaryDirectory(prefix="plan-b-") as directory:
        with run_chain(stand_in, Path(directory), nginx=nginx) as running:
            yield running
        logged = running.nginx.read_logs() + (Path(directory) / "application.log").read_text()
    assert '"status":200' in logged
    for secret in running.secrets:
        assert secret not in logged
