"""The rotation function as Lambda runs it, on this machine: its files, boto3 beside them, and a process of its own."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

from artefact.__main__ import ROOT, build
from artefact.target import Target

# What Lambda's own Python runtime has beside the standard library.
_RUNTIME = ("boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3")
_ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64"}
# Lambda's own variables, and nothing of this machine.
_VARIABLES = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": ":UTC"}
# Lambda's part: import the module of the handler, call it for each event, and tell what became of it.
_CALLER = """
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


def build_zip(target: Target, output: Path) -> Path:
    """Build the zip as `make lambda` does, with the wheels that are kept there; return it."""
    wheels = ROOT / "dist" / "lambda" / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    output.mkdir(exist_ok=True)
    (output / "wheels").symlink_to(wheels)
    return build(target, output)


def own_target() -> Target:
    """Return this machine and this Python."""
    return Target(_ARCHITECTURES[platform.machine()], ".".join(platform.python_version_tuple()[:2]))


def unpack_zip(built: Path, place: Path) -> Path:
    """Unpack a zip as Lambda does; return the folder."""
    with zipfile.ZipFile(built) as opened:
        opened.extractall(place)
    return place


def link_runtime(place: Path) -> Path:
    """Make a folder with what Lambda's runtime brings, and nothing else of this environment; return it."""
    place.mkdir(exist_ok=True)
    for name in _RUNTIME:
        distribution = Distribution.from_name(name)
        tops = {file.parts[0] for file in distribution.files or () if not file.parts[0].startswith(".")}
        for top in tops - {"__pycache__"}:
            path = Path(str(distribution.locate_file(top)))
            if path.exists():
                (place / top).symlink_to(path)
    return place


class FunctionProcess:
    """One process of the function, called with events; Lambda would freeze it between two of them."""

    def __init__(self, code: Path, runtime: Path, handler: str, variables: Mapping[str, str], output: Path) -> None:
        self.output = output
        with output.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _CALLER, str(code), str(runtime), handler],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.PIPE,
                env={**_VARIABLES, **variables},
                text=True,
            )
        self.started = self._answer()
        """The seconds of CPU that the import took, and the places of all modules."""

    def __call__(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return what became of an event: nothing, or the error."""
        assert self._process.stdin is not None
        print(json.dumps(dict(event)), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        assert line.startswith("{"), line + self._process.stderr.read()
        return dict(json.loads(line))

    def lines(self) -> list[dict[str, Any]]:
        """Return what it has written into its log."""
        return [json.loads(line) for line in self.output.read_text().splitlines()]

    def stop(self) -> None:
        """End it."""
        self._process.communicate(timeout=60)
