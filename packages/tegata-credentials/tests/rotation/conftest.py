"""Servers of three versions, started when they are first asked for; at the end their logs are searched."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tegata.testing.clusters import fastest_directory
from tegata_credentials.testing.authority import Authority
from tegata_credentials.testing.leaks import find_leaks
from tegata_credentials.testing.outputs import keep, remember

from .cases import Case
from .driving import Lock, Scene, a_directory, a_memory
from .worlds import Server, World, make_world
from .worlds import start as start_server


@pytest.fixture(scope="session")
def authority() -> Iterator[Authority]:
    """Who has signed the certificate of the server that can TLS."""
    directory = Path(tempfile.mkdtemp(prefix="rotation-", dir=fastest_directory()))
    directory.chmod(0o755)
    yield Authority(directory)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def started(authority: Authority) -> Iterator[Callable[[int], Server]]:
    """Start the server of a version when it is first asked for."""
    directory = authority.root.parent
    servers: dict[int, Server] = {}

    def start(version: int) -> Server:
        if version not in servers:
            place = directory / str(version)
            place.mkdir()
            servers[version] = start_server(version, place, authority)
        return servers[version]

    yield start
    for server in servers.values():
        server.stop()
        keep(server.process.log_file)
        for secret in server.secrets:
            remember(secret)
    leaks = {server.version: find_leaks(server.log(), sorted(server.secrets)) for server in servers.values()}
    assert not any(leaks.values()), "a password is in the log of PostgreSQL"


@pytest.fixture
def server(started: Callable[[int], Server]) -> Server:
    return started(15)


@pytest.fixture(params=[15, 16, 18], ids=lambda version: f"PostgreSQL {version}")
def each_server(request: pytest.FixtureRequest, started: Callable[[int], Server]) -> Server:
    return started(request.param)


@pytest.fixture
def new_world() -> Callable[..., World]:
    return make_world


@pytest.fixture
def world(server: Server) -> World:
    return make_world(server)


@pytest.fixture
def case() -> Case:
    return Case()


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory in memory where there is one: every change of a store of files waits for the disk several times."""
    with tempfile.TemporaryDirectory(prefix="rotation-", dir=fastest_directory()) as directory:
        yield Path(directory)


@pytest.fixture(params=[a_directory, a_memory], ids=["directory", "memory"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    """A secret in each kind of store, with a driver to rotate it."""
    return Scene(request.param(tmp_path / "secrets" if request.param is a_directory else None), Lock())


@pytest.fixture
def files(tmp_path: Path) -> Scene:
    """The same in files alone."""
    return Scene(a_directory(tmp_path / "secrets"), Lock())
