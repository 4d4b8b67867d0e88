"""Builds what a Dockerfile builds, in a folder: its own commands, in a sandbox where `/build` and `/opt` are writable.

What the pinned requirements name is not fetched again: `make dev` has installed it from the same pins, with the same
hashes, so it is copied from there, and nothing else is. With `from_registry` the commands run as they stand.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from importlib.util import cache_from_source
from pathlib import Path

from packaging.requirements import Requirement

from containers.dockerfile import Dockerfile, Instruction
from containers.sandbox import Container, run

_FOR_BUILDING = 600.0
_LOADED = [f"tegata.cli.{name}" for name in ("main", "serve", "worker", "db", "migrate", "doctor", "apply", "audit")]


class BuildError(Exception):
    """A command of the build failed; what it said."""


_BASE = "/base"
"""Where a build finds Python, as in the image that it begins from."""


class Build:
    """The first stage, in `directory`: `/build` and `/opt` are folders of it."""

    def __init__(self, dockerfile: Dockerfile, context: Path, directory: Path, *, from_registry: bool = False) -> None:
        self._stage = dockerfile.stages[0]
        self._context, self._directory = context, directory
        self._from_registry = from_registry
        self._commands = 0
        self.opt, self.build, self._base = directory / "opt", directory / "build", directory / "base"

    def do(self) -> None:
        """Carry out every instruction. Raises `BuildError`."""
        self.opt.mkdir()
        self.build.mkdir()
        self._base.mkdir()
        # The base image has a `python`, Debian only a `python3`. No link: environments made with it would lead there.
        python = self._base / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.base_prefix}/bin/python3 "$@"\n')
        python.chmod(0o755)
        for instruction in self._stage.instructions:
            if instruction.word == "COPY":
                self._copy(instruction)
            elif instruction.word == "RUN":
                self._run(instruction.text)
        if not self._from_registry and (self.opt / "tegata").exists():
            # pip compiles what it installs; here it is done for what commands load.
            self._shell(f"/opt/tegata/bin/python -c 'import {', '.join(_LOADED)}'")

    def _copy(self, instruction: Instruction) -> None:
        *sources, target = instruction.words
        for source in sources:
            for path in sorted(self._context.glob(source)):
                # A folder's contents go into the target; a file goes into a target that ends with a slash.
                place = self.build / target / path.name if target.endswith("/") else self.build / target
                copy_let_in(path, place, self._context)

    def _run(self, text: str) -> None:
        commands = [text] if self._from_registry else [part.strip() for part in text.split(" && ")]
        for command in commands:
            pinned = re.search(r"--require-hashes .*-r (\S+)$", command)
            if pinned is None or self._from_registry:
                self._shell(command)
            else:
                environment = "tegata" if "/opt/tegata/" in command else "builder"
                lay(self.build / pinned[1], self.opt / environment)

    def _shell(self, command: str) -> None:
        self._commands += 1
        environment = {
            **self._stage.pairs("ENV"),
            # Where registries are is the machine's affair.
            **{name: value for name, value in os.environ.items() if name.startswith("PIP_")},
            "PATH": f"{_BASE}:/usr/bin:/bin",
            "HOME": "/nonexistent",
        }
        container = Container(
            ["/bin/sh", "-ec", command],
            environment,
            user="0:0",
            writable={"/build": self.build, "/opt": self.opt},
            memory=["/tmp"],
            mounts={_BASE: self._base},
            workdir="/build",
        )
        done = run(container, {}, self._directory / f"run-{self._commands}.log", _FOR_BUILDING)
        if done.status != 0:
            raise BuildError(f"{command}\n{done.log}")


def let_in(path: Path, context: Path) -> bool:
    """Whether `.dockerignore` lets a file through: the last rule that fits decides; each covers what is below it."""
    name = path.relative_to(context).as_posix()
    kept_out = False
    for keeps_out, pattern in _rules((context / ".dockerignore").read_text()):
        if pattern.fullmatch(name):
            kept_out = keeps_out
    return not kept_out


@cache
def _rules(text: str) -> list[tuple[bool, re.Pattern[str]]]:
    """Return the lines of a `.dockerignore`: whether they keep out what fits."""
    lines = [line.strip() for line in text.splitlines()]
    return [(line[0] != "!", _pattern(line.removeprefix("!"))) for line in lines if line and line[0] != "#"]


def _pattern(rule: str) -> re.Pattern[str]:
    pattern = re.escape(rule).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
    return re.compile(f"{pattern}(?:/.*)?")


def copy_let_in(source: Path, target: Path, context: Path) -> None:
    """Copy a file or the contents of a folder, but for what `.dockerignore` keeps out."""
    for path in [source] if source.is_file() else sorted(source.rglob("*")):
        if path.is_file() and let_in(path, context):
            place = target if source.is_file() else target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place)


def pins(path: Path) -> dict[str, tuple[Requirement, frozenset[str]]]:
    """Return what a file of requirements pins, by name, with the hashes."""
    found: dict[str, tuple[Requirement, frozenset[str]]] = {}
    for block in path.read_text().replace("\\\n", " ").splitlines():
        if block.strip() and not block.startswith("#"):
            text, *hashes = block.split("--hash=")
            requirement = Requirement(text.strip())
            found[requirement.name] = requirement, frozenset(each.strip() for each in hashes)
    return found


def lay(requirements: Path, environment: Path) -> None:
    """Put what is pinned into a virtual environment, from the packages of this Python. Raises `BuildError`."""
    target = next(environment.glob("lib/python*/site-packages"))
    here = Path(sysconfig.get_paths()["purelib"])
    for requirement, _ in pins(requirements).values():
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        distribution = metadata.distribution(requirement.name)
        if not requirement.specifier.contains(distribution.version, prereleases=True):
            raise BuildError(f"{requirement} is pinned, {distribution.version} is installed: make dev")
        for file in _files(distribution):
            place = target / file
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                _link(here / file, place)


def _files(distribution: metadata.Distribution) -> Iterator[str]:
    """Name what a distribution has below `site-packages`, compiled modules too; scripts are not wanted."""
    for file in distribution.files or ():
        place = Path(file.locate())
        if ".." in file.parts or not place.is_file():
            continue
        yield str(file)
        if place.suffix == ".py" and Path(compiled := cache_from_source(str(place))).is_file():
            yield str(Path(file).parent / "__pycache__" / Path(compiled).name)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def root_of(build: Build) -> Mapping[str, Path]:
    """Return what the last stage takes from the first, by its place in the image."""
    return {"/opt/tegata": build.opt / "tegata", "/etc/ssl/rds": build.build / "certificates"}
