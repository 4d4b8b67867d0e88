"""Runs pytest with the root's conftest.py in a folder of its own, as a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_pytest(
    directory: Path, *words: str, workers: int = 0, without: Sequence[str] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the tests of a folder. `without`: variables of this process that it does not get."""
    shutil.copy(ROOT / "conftest.py", directory)
    # No plugin but those that are named: to import all that are installed takes as long as everything else.
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--import-mode=importlib"]
    command += ["-p", "xdist", "-n", str(workers), "--dist", "loadfile"] if workers else []
    inherited = {name: value for name, value in os.environ.items() if name not in without}
    return subprocess.run(
        [*command, "--rootdir", str(directory), *words, str(directory)],
        cwd=directory,
        env={**inherited, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
