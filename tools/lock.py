"""Pins `requirements/*.in` in `requirements/*.txt`: with hashes, for every Python and platform, without addresses.

Versions that still fit are kept; `make lock ARGS=--upgrade` lets them rise.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OURS = ("tegata", "tegata-verify", "tegata-credentials")

PURPOSES = {
    "build": (),
    "run": ("build",),
    "dev": ("build", "run"),
    "node": (),
    "lambda": ("build", "run"),
    "ministack": (),
    "infra": (),
    "checkov": (),
    "image": ("build", "run", "dev"),
    "charts": (),
}
"""Each purpose, and those whose pins it must not contradict: they share an environment, or are tested in one."""

ADDRESSES = ("FIND_LINKS", "INDEX_URL", "EXTRA_INDEX_URL", "INDEX", "DEFAULT_INDEX")
"""Settings of the machine that may steer the search for packages, but must leave no trace in the files."""


def main(arguments: list[str]) -> int:
    """Write every file; the arguments go to `uv pip compile`."""
    for purpose, within in PURPOSES.items():
        constraints = [word for name in within for word in ("--constraint", f"requirements/{name}.txt")]
        command = [sys.executable, "-m", "uv", "pip", "compile", f"requirements/{purpose}.in"]
        command += ["--output-file", f"requirements/{purpose}.txt", *constraints, *arguments]
        command += ["--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
        command += ["--no-header", "--no-annotate", *(word for name in OURS for word in ("--no-emit-package", name))]
        if subprocess.run(command, check=False, cwd=ROOT).returncode != 0:
            return 1
        check_without_addresses(ROOT / "requirements" / f"{purpose}.txt", os.environ)
    return 0


def check_without_addresses(path: Path, environ: Mapping[str, str]) -> None:
    """Refuse a file that holds an option, an address, or one of this machine's settings."""
    text = path.read_text()
    settings = [environ.get(f"{tool}_{name}") for tool in ("PIP", "UV") for name in ADDRESSES]
    for line in text.splitlines():
        if "://" in line or line.startswith("-") or any(value and value in line for value in settings):
            raise SystemExit(f"{path.name} would tell where packages come from: {line}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
