"""Keeps the virtual environment in step with `requirements/`: pinned and hashed, renewed when those files change."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PACKAGES = ("tegata-verify", "tegata-credentials", "tegata")
"""Our own distributions, each installed in place, after those it depends on."""

SATISFIED_BY = {
    "run": ("run", "dev"),
    "dev": ("dev",),
    "node": ("node",),
    "ministack": ("ministack",),
    "infra": ("infra",),
    "checkov": ("checkov",),
    "charts": ("charts",),
}
"""Which purposes contain which: who has run the tests need not install again to run the server."""

INHERITED = (
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "PYTHONHOME",
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_REQUIRE_VIRTUALENV",
)
"""Variables that would send packages, or imports, somewhere else than into our own environment."""


class SetupError(Exception):
    """Something on this machine is missing; the message says what to do about it."""


class Environment:
    """The virtual environment `.venv` of one checkout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = root / ".venv"
        self.python = self.directory / "bin" / "python"

    def prepare(self, purpose: str) -> None:
        """Install what `requirements/{purpose}.txt` pins, unless a stamp says that it has been done."""
        with self._locked():
            version = self._version()
            if any(self._stamp(name) == self._expected(name, version) for name in SATISFIED_BY[purpose]):
                return
            if version is None or self._moved():
                self._create()
                version = self._version()
            self._install(purpose)
            self._stamp_path(purpose).write_text(json.dumps(self._expected(purpose, version)) + "\n")

    def _install(self, purpose: str) -> None:
        self._ensure_pip()
        announce(f"installing the packages pinned in requirements/{purpose}.txt")
        self._pip("--require-hashes", "--only-binary", ":all:", "-r", f"requirements/{purpose}.txt")
        if purpose != "node":
            ours = [argument for name in PACKAGES for argument in ("-e", f"packages/{name}")]
            self._pip("--no-deps", "--no-build-isolation", *ours)

    def _create(self) -> None:
        announce(f"creating {self.directory.relative_to(self.root)} with Python {sys.version.split()[0]}")
        shutil.rmtree(self.directory, ignore_errors=True)
        # Without pip, because Debian splits ensurepip off into a package that may not be there.
        run([sys.executable, "-m", "venv", "--without-pip", str(self.directory)], cwd=self.root)

    def _ensure_pip(self) -> None:
        """Put the pinned pip and build backend into the environment, with the help of any pip of this machine."""
        pinned = ["install", *QUIET, "--require-hashes", "--only-binary", ":all:", "-r", "requirements/build.txt"]
        inside = [str(self.python), "-m", "pip"]
        outside = [[sys.executable, "-m", "pip"], *([tool] for name in ("pip3", "pip") if (tool := shutil.which(name)))]
        if succeeds([*inside, "--version"]):
            run([*inside, *pinned], cwd=self.root)
            return
        for pip in outside:
            # `--python` makes pip work inside our environment, so that PEP 668's refusal does not concern it.
            if succeeds([*pip, "--python", str(self.python), "--version"]):
                run([*pip, "--python", str(self.python), *pinned], cwd=self.root)
                return
        if not succeeds([str(self.python), "-m", "ensurepip"]):
            raise SetupError("no pip found: install python3-pip (or python3-venv), then try again")
        run([*inside, *pinned], cwd=self.root)

    def _pip(self, *arguments: str) -> None:
        run([str(self.python), "-m", "pip", "install", *QUIET, *arguments], cwd=self.root)

    def _version(self) -> str | None:
        """The environment's Python as `3.11`, or None if it is missing, broken or too old."""
        program = "import sys; print('%d.%d' % sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))"
        try:
            answer = subprocess.run(
                [self.python, "-c", program], check=False, capture_output=True, text=True, env=own_variables()
            )
        except OSError:
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    def _moved(self) -> bool:
        """Whether the checkout was moved or copied here: the scripts in `.venv/bin` would still start the old one."""
        stamps = [stamp for name in SATISFIED_BY if (stamp := self._stamp(name)) is not None]
        return any(stamp["root"] != str(self.root) or stamp["python"] != self._version() for stamp in stamps)

    def _stamp_path(self, purpose: str) -> Path:
        return self.directory / f"tegata-{purpose}.json"

    def _stamp(self, purpose: str) -> dict[str, str] | None:
        try:
            stamp: dict[str, str] = json.loads(self._stamp_path(purpose).read_text())
        except (OSError, ValueError):
            return None
        return stamp

    def _expected(self, purpose: str, version: str | None) -> dict[str, str]:
        digest = hashlib.sha256()
        ours = [self.root / "packages" / name / "pyproject.toml" for name in PACKAGES]
        for path in (self.root / "requirements" / f"{name}.txt" for name in ("build", purpose)):
            digest.update(path.read_bytes())
        for path in ours:
            digest.update(path.read_bytes())
        return {"root": str(self.root), "python": version or "none", "pinned": digest.hexdigest()}

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one make at a time change the environment; the lock is on a directory, so that no file is left behind."""
        descriptor = os.open(self.root / "requirements", os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


QUIET = ("--quiet", "--no-input", "--disable-pip-version-check", "--root-user-action", "ignore")


def own_variables(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables for a program of ours, without those that belong to another Python environment."""
    return {name: value for name, value in environ.items() if name not in INHERITED}


def announce(text: str) -> None:
    """Tell the person who waits what is going on; on standard error, so that output stays usable in a pipe."""
    print(f"tegata: {text}", file=sys.stderr, flush=True)


def succeeds(command: list[str]) -> bool:
    """Whether the command can be started and ends well; what it prints is not shown."""
    try:
        answer = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True, env=own_variables()
        )
    except OSError:
        return False
    return answer.returncode == 0


def run(command: list[str], *, cwd: Path, variables: Mapping[str, str] | None = None) -> None:
    """Run the command to its end, or raise `SetupError` with its name."""
    variables = own_variables() if variables is None else variables
    if subprocess.run(command, check=False, cwd=cwd, stdin=subprocess.DEVNULL, env=variables).returncode != 0:
        raise SetupError(f"this command failed, its own words are above: {' '.join(command)}")
