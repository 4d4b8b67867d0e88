"""The image, built once for all workers; and an installation as compose.yaml describes it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers.compose import Image
from containers.dockerfile import Dockerfile
from containers.image import Build, root_of
from containers.sandbox import why_not

from .charts import PYTHON, Charts
from .installation import Installation
from .postgres import SocketPostgres

DEPLOY = Path(__file__).parents[1]
ROOT = DEPLOY.parent


@pytest.fixture(scope="session")
def dockerfile() -> Dockerfile:
    return Dockerfile.read(DEPLOY / "image" / "Dockerfile")


@pytest.fixture(scope="session")
def build(dockerfile: Dockerfile, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """What the build stage leaves, made by its own commands."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "image"
    build = Build(dockerfile, ROOT, shared, from_registry=os.environ.get("TEGATA_TEST_IMAGE") == "registry")
    with open(shared.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "done").exists():
            shutil.rmtree(shared, ignore_errors=True)
            shared.mkdir()
            build.do()
            (shared / "done").touch()
    return build


@pytest.fixture(scope="session")
def image(dockerfile: Dockerfile, build: Build) -> Image:
    return Image.of(dockerfile.image, root_of(build))


@pytest.fixture(scope="session")
def charts() -> Iterator[Charts]:
    if not PYTHON.exists():
        pytest.skip("Helm's engine is not installed")
    with Charts() as rendering:
        yield rendering


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the script makes that people run first."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    directory = tmp_path_factory.mktemp("made") / "secrets"
    script = DEPLOY / "compose" / "make_secrets.py"
    subprocess.run([sys.executable, str(script), str(directory)], check=True, capture_output=True)
    return directory


@pytest.fixture(scope="module")
def installation(image: Image, secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """PostgreSQL, empty; every service of compose.yaml can be started on it."""
    with SocketPostgres((secrets / "postgres_password").read_text()) as postgres:
        installed = Installation(image, secrets, postgres, tmp_path_factory.mktemp("installation"))
        try:
            yield installed
        finally:
            installed.stop()


@pytest.fixture(scope="module")
def migrated(installation: Installation) -> Installation:
    """The same with roles and schema, made by its own one-off services."""
    for name in ("bootstrap", "migrate"):
        done = installation.run(name)
        assert done.status == 0, done.log
    return installation
