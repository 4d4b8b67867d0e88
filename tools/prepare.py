"""What the Makefile calls: `prepare.py run|dev|start|test|infra [arguments]`: sets up what is needed, and starts it.

Its syntax is one that older Pythons can read, so that they can say that they are too old.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workspace.environment import Environment

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Do what the first argument says; the rest belongs to the program that is started."""
    if sys.version_info < (3, 11):  # noqa: UP036 - an older Python is what this line is for
        return complain("Tegata needs Python 3.11 or newer; if you have one: make PYTHON=/where/it/is ...")
    from workspace.environment import Environment, SetupError

    environment = Environment(ROOT)
    try:
        if sys.argv[1] == "start":
            environment.prepare("run")
            start(environment.python, "tegata", ["dev", *sys.argv[2:]], [])
        elif sys.argv[1] == "test":
            test(environment)
        elif sys.argv[1] == "infra":
            infra(environment)
        else:
            environment.prepare(sys.argv[1])
    except SetupError as error:
        return complain(str(error))
    except KeyboardInterrupt:
        return complain("interrupted; the next make goes on from here")
    return 0


def test(environment: Environment) -> None:
    """Set up everything the tests can use, say what cannot be had here, and hand over to pytest."""
    from workspace import apart, debian, node
    from workspace.environment import SetupError, announce

    environment.prepare("dev")
    missing = [(package.name, package.tests) for package in debian.prepare(ROOT)]
    places: list[Path] = []
    try:
        places = node.prepare(environment)
    except SetupError as error:
        announce(str(error))
        missing.append(("npm", "openid-client and jose"))
    for purpose, tests in apart.TESTED.items():
        try:
            apart.prepare(environment, purpose)
        except SetupError as error:
            announce(str(error))
            missing.append((purpose, tests))
    for name, tests in missing:
        announce(f"{name} is missing, so these tests will be skipped: {tests}")
    if not missing:
        # A skip for want of something would hide a fault then, and fails.
        os.environ["TEGATA_ACCEPTANCE_COMPLETE"] = "1"
    start(environment.python, "pytest", sys.argv[2:], places)


def infra(environment: Environment) -> None:
    """Set up CDK and what reads its templates, and hand over to the Python module named next, in `infra`."""
    from workspace import apart, node
    from workspace.environment import SetupError, announce, own_variables

    environment.prepare("dev")
    python = apart.prepare(environment, "infra").python
    variables = own_variables()
    if sys.argv[2] == "tegata_infra.command_line":
        node.prepare(environment, node.INFRA)
    if sys.argv[2] == "pytest":
        apart.prepare(environment, "checkov")
        try:
            node.prepare(environment, node.INFRA)
            variables["TEGATA_INFRA_COMPLETE"] = "1"
        except SetupError as error:
            announce(f"{error}; npm is missing, so CDK's command line will not be tested")
    die_with_parent()
    os.chdir(ROOT / "infra")
    os.execve(python, [str(python), "-m", *sys.argv[2:]], variables)


def start(python: Path, script: str, arguments: list[str], places: list[Path]) -> None:
    """Become the program: its signals and its exit status are then those that make sees."""
    from workspace.environment import own_variables

    variables = own_variables()
    variables["PATH"] = os.pathsep.join([*map(str, places), str(python.parent), variables.get("PATH", "")])
    die_with_parent()
    os.chdir(ROOT)
    os.execve(python, [str(python), str(python.parent / script), *arguments], variables)


def die_with_parent() -> None:
    """Be told to stop when make is killed outright: it could not pass the signal on itself. Linux alone knows how."""
    if sys.platform.startswith("linux"):
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM, 0, 0, 0)


def complain(text: str) -> int:
    """Say what is wrong, where errors are read."""
    print(f"tegata: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
