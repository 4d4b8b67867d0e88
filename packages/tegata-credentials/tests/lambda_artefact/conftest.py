"""The zip of the rotation function as `make lambda` builds it, unpacked, and run with nothing else on its path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artefact.local import FunctionProcess, build_zip, link_runtime, own_target, unpack_zip
from artefact.target import Target


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Target], Path]:
    """Return the zip for a machine and a Python; the wheels are kept where `make lambda` keeps them."""
    made: dict[Target, Path] = {}

    def build(target: Target) -> Path:
        if target not in made:
            made[target] = build_zip(target, tmp_path_factory.mktemp("lambda"))
        return made[target]

    return build


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return link_runtime(tmp_path_factory.mktemp("runtime"))


@pytest.fixture(scope="session")
def unpacked(built: Callable[[Target], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack_zip(built(own_target()), tmp_path_factory.mktemp("task"))


@pytest.fixture
def invoked(unpacked: Path, runtime: Path, tmp_path: Path) -> Iterator[Callable[..., FunctionProcess]]:
    """Start a process of the function."""
    running: list[FunctionProcess] = []

    def start(handler: str, environment: dict[str, str]) -> FunctionProcess:
        variables = {"HOME": str(tmp_path), **environment}
        running.append(FunctionProcess(unpacked, runtime, handler, variables, tmp_path / f"stdout-{len(running)}"))
        return running[-1]

    yield start
    for process in running:
        process.stop()
