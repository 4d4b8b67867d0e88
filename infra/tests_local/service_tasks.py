"""The task definitions of the templates, started as processes on this machine.

What stands in: the laboratory of `tegata_credentials.testing` for IAM (PostgreSQL 15 asks it about each login, and it
works the signature out again), the kit's stand-in for Secrets Manager. `Tasks.environment` lists what is changed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from deployed import Deployed

from tegata.postgres.target import ConnectionTarget
from tegata.testing.warm_starts import WarmPopen, run_to_its_end
from tegata_credentials.testing import Laboratory
from tegata_credentials.testing.secrets_manager import StandIn

RDS_NAME = "idp-server-postgresql.c1example.ap-northeast-1.rds.amazonaws.com"
DOMAIN_NAME = "id.example.com"
_SECRET = re.compile(r"(?P<arn>arn:[^:]+:secretsmanager:[^:]+:[^:]+:secret:[^:]+):(?P<member>[^:]*)::")


def containers(deployed: Deployed) -> dict[str, Mapping[str, Any]]:
    """Return the first container of each task definition, by what the family is called at its end."""
    found = {}
    for task in deployed.all("AWS::ECS::TaskDefinition"):
        found[task.properties["Family"].rpartition("-")[2]] = task.properties["ContainerDefinitions"][0]
    return found


def written_environment(container: Mapping[str, Any]) -> dict[str, str]:
    """Return what a task definition says, with the parameters of the template answered."""
    said = {each["Name"]: each["Value"] for each in container["Environment"]}
    return {name: value.replace("<DomainName>", DOMAIN_NAME) for name, value in said.items()}


@dataclass
class Tasks:
    """The tasks of one environment, and what they find."""

    deployed: Deployed
    lab: Laboratory
    store: StandIn
    superuser: ConnectionTarget
    port: int
    files: Path
    said: list[str] = field(default_factory=list)

    def environment(self, family: str, **more: str) -> dict[str, str]:
        """Return what the container finds.

        Changed: the database's address and port, which is told beside it as what it is called at AWS; the path of the
        certificates; and by `more` what a test needs. Added: credentials, which ECS gives out by the task's role, and
        where the stand-in for Secrets Manager is.
        """
        container = containers(self.deployed)[family]
        certificates = quote(str(self.lab.authority.root), safe="/")
        changed = {
            name: re.sub(r"(?<=[/@])[^/@]+:5432/", f"127.0.0.1:{self.port}/", value).replace(
                "/etc/ssl/rds/global-bundle.pem", certificates
            )
            for name, value in written_environment(container).items()
        }
        own = {"TEGATA_DATABASE_AWS_ENDPOINT": RDS_NAME} if changed.get("TEGATA_DATABASE_AUTH") == "aws_iam" else {}
        around = {"PATH": os.environ["PATH"], "HOME": str(self.files)}
        return {
            **around,
            **self.store.environment(),
            **self.lab.aws(),
            **changed,
            **own,
            **self.secrets(family),
            **more,
        }

    def secrets(self, family: str) -> dict[str, str]:
        """Return what ECS reads of secrets when the task starts."""
        found = {}
        client = self.store.client()
        for each in containers(self.deployed)[family].get("Secrets", []):
            place = _SECRET.fullmatch(each["ValueFrom"])
            assert place, each["ValueFrom"]
            held = json.loads(client.get_secret_value(SecretId=place["arn"])["SecretString"])
            found[each["Name"]] = str(held[place["member"]])
        client.close()
        return found

    def command(self, family: str) -> list[str]:
        """Return the container's command line; the program is the one of this environment."""
        container = containers(self.deployed)[family]
        return self.here([*container["EntryPoint"], *container["Command"]])

    def here(self, words: list[str]) -> list[str]:
        return [str(Path(sys.executable).parent / words[0]), *words[1:]]

    def run(self, family: str, command: list[str] | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a task to its end."""
        finished = run_to_its_end(command or self.command(family), env=self.environment(family, **more), timeout=300)
        self.said += [finished.stdout, finished.stderr]
        return finished

    def start(self, family: str, **more: str) -> Running:
        """Start what goes on for good."""
        environment = self.environment(family, **more)
        return Running(self.command(family), environment, self.files / f"{family}.log")

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask as the superuser that nobody on RDS is."""
        with psycopg.connect(self.superuser.psycopg_conninfo(), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


class Running:
    """A task that goes on, and what it writes."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as sink:
            self.process = WarmPopen(command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, word: str, patience: float = 120.0) -> None:
        """Return when the task has written a word."""
        deadline = time.monotonic() + patience
        while word not in self.log:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def stop(self) -> int:
        """Stop it as ECS does, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(120)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()


def ask(port: int, path: str, **headers: str) -> int:
    """Return the status of an answer on loopback."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()
