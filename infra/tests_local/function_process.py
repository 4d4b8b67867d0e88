"""The rotation function as Lambda runs it: its zip unpacked, boto3 beside it, one process, and its variables alone."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# What Lambda's own Python runtime has beside the standard library.
RUNTIME = ("boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3")
ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64"}

CALLER = """
import importlib, json, sys
sys.path[:0] = sys.argv[1:3]
module, name = sys.argv[3].rsplit(".", 1)
handler = getattr(importlib.import_module(module), name)
for line in sys.stdin:
    try:
        handler(json.loads(line), None)
        answer = {}
    except Exception as error:
        answer = {"errorType": type(error).__name__, "errorMessage": str(error)}
    print(json.dumps(answer), file=sys.stderr, flush=True)
"""


def unpack_zip(directory: Path) -> Path:
    """Build the zip for this machine, as `make lambda` does, and unpack it."""
    wheels = ROOT / "dist" / "lambda" / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    output = directory / "built"
    output.mkdir()
    (output / "wheels").symlink_to(wheels)
    python = ".".join(platform.python_version_tuple()[:2])
    architecture = ARCHITECTURES[platform.machine()]
    command = [sys.executable, "-m", "artefact", "--architecture", architecture, "--python", python]
    done = subprocess.run(
        [*command, "--output", str(output)],
        cwd=ROOT / "tools",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    place = directory / "task"
    with zipfile.ZipFile(output / f"tegata-rotation-{architecture}-python{python}.zip") as opened:
        opened.extractall(place)
    return place


def link_runtime(place: Path) -> Path:
    """Return a folder with what Lambda's runtime brings, and nothing else of this environment."""
    place.mkdir()
    for name in RUNTIME:
        distribution = Distribution.from_name(name)
        tops = {file.parts[0] for file in distribution.files or () if not file.parts[0].startswith(".")}
        for top in tops - {"__pycache__"}:
            path = Path(str(distribution.locate_file(top)))
            if path.exists():
                (place / top).symlink_to(path)
    return place


class FunctionProcess:
    """One process of the function, which is called with events and answers as Lambda does."""

    def __init__(self, code: Path, runtime: Path, handler: str, variables: dict[str, str], output: Path) -> None:
        self._output = output
        with output.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", CALLER, str(code), str(runtime), handler],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.PIPE,
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": ":UTC", **variables},
                text=True,
            )

    def __call__(self, event: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        print(json.dumps(dict(event)), file=self._process.stdin, flush=True)
        line = self._process.stderr.readline()
        assert line.startswith("{"), line + self._process.stderr.read()
        return dict(json.loads(line))

    def lines(self) -> list[dict[str, Any]]:
        """Return what it has written into its log."""
        return [json.loads(line) for line in self._output.read_text().splitlines()]

    def stop(self) -> None:
        self._process.communicate(timeout=20)
