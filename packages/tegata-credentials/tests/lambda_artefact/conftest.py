"""The zip of the rotation function as `make lambda` builds it, unpacked, and run with nothing else on its path."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[4]
# What Lambda's own Python runtime has beside the standard library.
RUNTIME = ("boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3")
LAMBDA_WORD = {"x86_64": "x86_64", "aarch64": "arm64"}

# Lambda's part: import the module of the handler, call it for each event, and tell what became of it.
INVOKER = """
import importlib, json, sys, time
sys.path[:0] = sys.argv[1:3]
began = time.process_time()
module, name = sys.argv[3].rsplit(".", 1)
handler = getattr(importlib.import_module(module), name)
places = sorted({str(m.__file__) for m in list(sys.modules.values()) if getattr(m, "__file__", None)})
told = sys.stderr
print(json.dumps({"seconds": time.process_time() - began, "places": places}), file=told, flush=True)
for line in sys.stdin:
    try:
        handler(json.loads(line), None)
        answer = {}
    except Exception as error:
        answer = {"errorType": type(error).__name__, "errorMessage": str(error)}
    print(json.dumps(answer), file=told, flush=True)
"""


class Invoked:
    """One process of the function; Lambda would freeze it between invocations."""

    def __init__(self, code: Path, runtime: Path, handler: str, environment: dict[str, str], output: Path) -> None:
        self.output = output
        with output.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", INVOKER, str(code), str(runtime), handler],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.PIPE,
                env=environment,
                text=True,
            )
        self.started = self._answer()

    def __call__(self, event: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        print(json.dumps(dict(event)), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        assert line.startswith("{"), line + self._process.stderr.read()
        return dict(json.loads(line))

    def stop(self) -> None:
        self._process.communicate(timeout=20)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.read_text().splitlines()]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Return the zip for an architecture and a Python; the wheels are kept where `make lambda` keeps them."""
    made: dict[tuple[str, str], Path] = {}

    def build(architecture: str, python: str) -> Path:
        if (architecture, python) not in made:
            output = tmp_path_factory.mktemp("lambda")
            wheels = ROOT / "dist" / "lambda" / "wheels"
            wheels.mkdir(parents=True, exist_ok=True)
            (output / "wheels").symlink_to(wheels)
            command = [sys.executable, "-m", "artefact", "--architecture", architecture, "--python", python]
            environment = {**os.environ, "PYTHONPATH": str(ROOT / "tools")}
            done = subprocess.run(
                [*command, "--output", str(output)],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            made[architecture, python] = output / f"tegata-rotation-{architecture}-python{python}.zip"
        return made[architecture, python]

    return build


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what Lambda's runtime brings, and nothing else of this environment."""
    place = tmp_path_factory.mktemp("runtime")
    for name in RUNTIME:
        distribution = Distribution.from_name(name)
        tops = {file.parts[0] for file in distribution.files or () if not file.parts[0].startswith(".")}
        for top in tops:
            path = Path(str(distribution.locate_file(top)))
            if path.exists() and top != "__pycache__":
                (place / top).symlink_to(path)
    return place


@pytest.fixture(scope="session")
def unpacked(built: Callable[[str, str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip for this machine and this Python, unpacked as Lambda does."""
    python = ".".join(platform.python_version_tuple()[:2])
    place = tmp_path_factory.mktemp("task")
    with zipfile.ZipFile(built(LAMBDA_WORD[platform.machine()], python)) as opened:
        opened.extractall(place)
    return place


@pytest.fixture
def invoked(unpacked: Path, runtime: Path, tmp_path: Path) -> Iterator[Callable[..., Invoked]]:
    """Start a process of the function."""
    running: list[Invoked] = []

    def start(handler: str, environment: dict[str, str]) -> Invoked:
        # Lambda's own variables, and nothing of this machine.
        kept = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": ":UTC", "HOME": str(tmp_path)}
        output = tmp_path / f"stdout-{len(running)}"
        running.append(Invoked(unpacked, runtime, handler, {**kept, **environment}, output))
        return running[-1]

    yield start
    for process in running:
        process.stop()
