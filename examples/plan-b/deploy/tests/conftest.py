"""The chain of Plan B for all tests here; `chain/` has the parts."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2]
sys.path[:0] = [str(EXAMPLE), str(EXAMPLE / "deploy")]

from chain import Chain, Nginx, configure, find_nginx, run_chain  # noqa: E402

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


@pytest.fixture(scope="module")
def start_nginx(nginx: str) -> Iterator[Callable[..., Nginx]]:
    """Start nginx with a configuration, until the end of the module; its logs are looked through then.

    Not below `tmp_path`: nginx runs as nobody, who may not enter the folders above that.
    """
    with ExitStack() as stack:
        running = []

        def start(prepare: Callable[[Path], dict[str, Any]] = lambda directory: {}, **given: Any) -> Nginx:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plan-b-")))
            config = configure(directory, **prepare(directory), **given)
            running.append(stack.enter_context(Nginx(nginx, directory, config)))
            return running[-1]

        yield start
        for each in running:
            check_logs(each.read_logs())


def check_logs(text: str) -> None:
    """Refuse what begins as every JWT does, and workers that ended by a signal."""
    assert "eyJ" not in text
    assert "exited on signal" not in text


@pytest.fixture(scope="session")
def chain(nginx: str, stand_in: StandIn) -> Iterator[Chain]:
    """The chain. Whatever the tests have sent through it, no token may be in a log at the end."""
    with tempfile.TemporaryDirectory(prefix="plan-b-") as directory:
        with run_chain(stand_in, Path(directory), nginx=nginx) as running:
            # Before the application has asked for keys, so that it knows those of tokens that tests sign as the pool.
            running.pool.rotate()
            yield running
        logged = running.nginx.read_logs() + running.application_log.read_text()
    assert '"status":' in logged
    check_logs(logged)
    for secret in running.secrets:
        assert secret not in logged
