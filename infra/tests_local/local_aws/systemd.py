"""systemd, as far as the units of Plan B use it: it reads their files and runs what they say."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs

from local_aws.serving import Quiet, serving

SYSTEMCTL = """#!/bin/sh
exec curl -s -f -o /dev/null --noproxy '*' --data-urlencode "words=$*" "$SYSTEMD"
"""
"""The command, which asks the process of the test: what it starts is a child of that."""


class Systemd:
    """Units of one instance, whose files are below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = ""
        self.environment: dict[str, str] = {}
        self.enabled: set[str] = set()
        self.timers: set[str] = set()
        self.wanted: set[str] = set()
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.said: list[str] = []

    @contextmanager
    def serve(self) -> Iterator[Systemd]:
        """Take the command's words until the end of the block, and end what runs."""
        systemd = self

        class Handler(Quiet):
            def do_POST(self) -> None:
                words = parse_qs(self.read().decode())["words"][0].split()
                self.answer(200 if systemd.obey(words) else 409)

        with serving(Handler) as self.url:
            try:
                yield self
            finally:
                for process in self.running.values():
                    process.terminate()
                    process.wait(120)

    def obey(self, words: list[str]) -> bool:
        """Do what `systemctl` was asked for, and tell whether it went well."""
        options = {word for word in words if word.startswith("--")}
        command, *units = (word for word in words if word not in options)
        if command == "enable":
            self.enabled.update(units)
        if command == "start" or (command == "enable" and "--now" in options):
            went_well = [self.start(unit) for unit in units]
            return "--no-block" in options or all(went_well)
        assert command in ("daemon-reload", "enable"), words
        return True

    def start(self, name: str) -> bool:
        """Start a unit; tell whether it went well."""
        if name.endswith(".timer"):
            self.timers.add(name)
            return True
        service = self._read(name)["Service"]
        directory = self.root / "run" / service["RuntimeDirectory"]
        directory.mkdir(parents=True, exist_ok=True)
        if service["Type"] == "oneshot":
            went_well = self._run(service["ExecStart"], service.get("EnvironmentFile")) == 0
            if service.get("RuntimeDirectoryPreserve") != "yes":
                shutil.rmtree(directory)
            return went_well
        self.wanted.add(name)
        if name in self.running and self.running[name].poll() is None:
            return True
        return self._launch(name, service, directory)

    def go_on(self) -> None:
        """Do what time alone brings: timers elapse, and services that are to run are started again."""
        for timer in self.timers:
            service = timer.replace(".timer", ".service")
            if (self._units / service).exists():
                self.start(service)
        for name in self.wanted:
            self.start(name)

    def find_workers(self) -> frozenset[int]:
        """Return nginx's processes that accept connections, without old ones that serve on after a reload."""
        master = self.running["plan-b-nginx.service"].pid
        children = Path(f"/proc/{master}/task/{master}/children").read_text()
        return frozenset(pid for pid in map(int, children.split()) if not is_ending(pid))

    @property
    def _units(self) -> Path:
        return self.root / "etc/systemd/system"

    def _read(self, name: str) -> configparser.ConfigParser:
        parser = configparser.ConfigParser(interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string((self._units / name).read_text())
        return parser

    def _launch(self, name: str, service: configparser.SectionProxy, directory: Path) -> bool:
        if self._run(service["ExecStartPre"], None) != 0:
            return False
        with open(self.root / f"{name}.log", "wb") as log:
            process = subprocess.Popen(shlex.split(service["ExecStart"]), env=self.environment, stdout=log, stderr=log)
        self.running[name] = process
        end = time.monotonic() + 120
        # Then it listens. An empty file, or somebody else's pid, is one that a check has left.
        while (directory / "nginx.pid").read_text().strip() != str(process.pid):
            if process.poll() is not None:
                return True  # of the type exec is what could be started, whatever becomes of it
            assert time.monotonic() < end
            time.sleep(0.01)
        return True

    def _run(self, command: str, environment_file: str | None) -> int:
        environment = dict(self.environment)
        if environment_file is not None:
            lines = Path(environment_file).read_text().splitlines()
            environment.update(line.split("=", 1) for line in lines)  # type: ignore[arg-type]
        done = subprocess.run(
            shlex.split(command), env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        self.said.append(done.stderr)
        return done.returncode


def is_ending(pid: int) -> bool:
    """Tell whether a worker of nginx accepts no more, by the name that it then gives itself."""
    try:
        name = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return True  # it has ended
    return not name.strip(b"\0") or b"shutting down" in name
