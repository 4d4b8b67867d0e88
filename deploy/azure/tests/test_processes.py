"""The commands of the templates as processes, with the environment of the templates, in the order of a deployment.

The laboratory of `tegata_credentials.testing` stands in for Entra: PostgreSQL 15 asks it about each login. The labels
that Azure's extension `pgaadauth` would write are written into the catalogue by hand, because a provider of security
labels is a library of the server's that only Azure has. What is changed of an environment: host and port, the authority
of certificates, the master key, and the time that a server waits for load balancers before it ends.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tegata.crypto.envelope import new_master_key
from tegata.postgres.embedded import EmbeddedPostgres
from tegata.postgres.target import ConnectionTarget
from tegata.testing.warm_starts import WarmPopen, run_to_its_end
from tegata_credentials.testing import Laboratory, free_port, server_settings

from .templates import client_id, deployed, object_id

POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")
PREFIX = "tegata-production"
LABEL = re.compile(r"aadauth,oid=([0-9a-f-]{36}),type=service")


@dataclass
class Cloud:
    """A database as Azure gives it, the identities, and what the templates would start on it."""

    lab: Laboratory
    superuser: ConnectionTarget
    port: int
    files: Path
    containers: dict[str, Mapping[str, Any]]
    key: str = field(default_factory=new_master_key)
    said: list[str] = field(default_factory=list)
    ended: list[int | None] = field(default_factory=list)

    def run(self, name: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a job to its end."""
        environment = self.environment(name, **more)
        finished = run_to_its_end(self.command(name), env=environment, timeout=120)
        self.said += [finished.stdout, finished.stderr]
        return finished

    def start(self, name: str, **more: str) -> subprocess.Popen[str]:
        """Start what goes on for good."""
        return WarmPopen[str](
            self.command(name),
            env=self.environment(name, **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def command(self, name: str) -> list[str]:
        """Return the container's command line; the program is the one of this environment."""
        container = self.containers[name]
        program, *rest = container["command"]
        return [str(Path(sys.executable).parent / program), *rest, *container["args"]]

    def environment(self, name: str, **more: str) -> dict[str, str]:
        """Return what the container finds, and what Container Apps add to it."""
        written = {one["name"]: one.get("value", "") for one in self.containers[name]["env"]}
        changed = {
            key: re.sub(r"@[^/]+\.postgres\.database\.azure\.com/", f"@127.0.0.1:{self.port}/", value)
            for key, value in written.items()
        }
        if "TEGATA_MASTER_KEY" in changed:
            changed["TEGATA_MASTER_KEY"] = self.key
        around = {"PATH": os.environ["PATH"], "HOME": str(self.files), "PGSSLROOTCERT": str(self.lab.authority.root)}
        return {**around, **changed, **self.lab.app_service(), **more}

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask as the superuser that nobody on Azure is."""
        with psycopg.connect(self.superuser.psycopg_conninfo(), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def label(self, arguments: list[str]) -> None:
        """Do what pgaadauth does with the labels that the bootstrap asks for, and let the identities in by them."""
        given = dict(zip(arguments[::2], arguments[1::2], strict=True))
        roles = {"--app-object-id": "app", "--maintenance-object-id": "maint", "--migrator-object-id": "migrator"}
        for option, role in roles.items():
            self.rows(
                "set allow_system_table_mods = on; insert into pg_shseclabel (objoid, classoid, provider, label)"
                f" values ('tegata_{role}'::regrole, 'pg_authid'::regclass, 'pgaadauth',"
                f" 'aadauth,oid={given[option]},type=service')"
            )
        labels = "select objoid::regrole::text, label from pg_shseclabel where provider = 'pgaadauth'"
        for name, label in self.rows(labels):
            found = LABEL.fullmatch(label)
            assert found
            self.lab.map_role(name, found[1])


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    if not POSTGRES_15.exists():
        pytest.skip("PostgreSQL 15 is not installed: the embedded one has neither LDAP nor TLS")
    resources = deployed("application", "production").resources
    containers = [one for made in resources for one in made.properties.get("template", {}).get("containers", [])]
    directory = tempfile.mkdtemp(prefix="tegata-azure-")
    with Laboratory() as lab:
        names = ("app", "worker", "migrator", "bootstrap", "vault", "pull")
        lab.identity.identities = {client_id(f"{PREFIX}-{name}"): object_id(f"{PREFIX}-{name}") for name in names}
        lab.map_role(f"{PREFIX}-bootstrap", object_id(f"{PREFIX}-bootstrap"))
        settings, endpoint = server_settings(lab, "writer")
        server = EmbeddedPostgres(Path(directory, "pg"), bindir=POSTGRES_15, durable=False, settings=settings)
        try:
            superuser = replace(server.start(), port=endpoint.port)
            made = Cloud(lab, superuser, endpoint.port, Path(directory), {one["name"]: one for one in containers})
            made.rows("create role azure_pg_admin")
            made.rows(f'create role "{PREFIX}-bootstrap" login createrole createdb in role azure_pg_admin')
            made.rows("create database tegata owner azure_pg_admin template template0 strategy file_copy")
            yield made
        finally:
            server.stop()
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def bootstrapped(cloud: Cloud) -> subprocess.CompletedProcess[str]:
    """The first run of the bootstrap, up to the statement that only Azure knows; then with the labels in place."""
    finished = cloud.run("bootstrap")
    cloud.label(cloud.command("bootstrap")[5:])
    return finished


@pytest.fixture(scope="module")
def migrated(cloud: Cloud, bootstrapped: object) -> subprocess.CompletedProcess[str]:
    return cloud.run("migrate")


@pytest.fixture(scope="module")
def served(cloud: Cloud, migrated: object) -> dict[str, int]:
    """Server and worker, until both say that they are at work: what the paths of the probes were answered."""
    port = free_port()
    place = {"TEGATA_HOST": "127.0.0.1", "TEGATA_PORT": str(port), "TEGATA_DRAIN_SECONDS": "0"}
    running = [cloud.start("server", **place), cloud.start("worker")]
    try:
        cloud.said += [_wait_for(one, word) for one, word in zip(running, ('"serving"', '"working"'), strict=True)]
        return {path: _status_at_last(port, path) for path in _probed(cloud)}
    finally:
        cloud.said += [_end(one) for one in running]
        cloud.ended += [one.returncode for one in running]


def test_the_bootstrap_makes_everything_and_then_maps_identities(
    cloud: Cloud, bootstrapped: subprocess.CompletedProcess[str]
) -> None:
    assert "roles and schema are made" in bootstrapped.stderr
    assert 'security label provider "pgaadauth" is not loaded' in bootstrapped.stderr
    assert bootstrapped.returncode == 3
    assert cloud.lab.logins(f"{PREFIX}-bootstrap")
    again = cloud.run("bootstrap")
    assert (again.returncode, again.stdout) == (0, "roles and schema are as they should be\n")


def test_the_migrator_migrates_and_the_doctor_finds_nothing(
    cloud: Cloud, migrated: subprocess.CompletedProcess[str]
) -> None:
    assert migrated.returncode == 0, migrated.stderr
    again = cloud.run("migrate")
    assert (again.returncode, again.stdout) == (0, "the schema is up to date\n")
    examined = cloud.run("doctor")
    assert examined.returncode == 0, examined.stdout + examined.stderr


def test_server_and_worker_run_and_the_probes_are_answered(cloud: Cloud, served: dict[str, int]) -> None:
    assert served == {"/livez": 200, "/readyz": 200, "/actuator/health": 200}
    assert cloud.ended == [0, 0]
    assert cloud.lab.logins("tegata_app")
    assert cloud.lab.logins("tegata_maint")


def test_another_ones_identity_does_not_get_in(cloud: Cloud, migrated: object) -> None:
    refused = cloud.run("migrate", TEGATA_DATABASE_AZURE_CLIENT_ID=client_id(f"{PREFIX}-app"))
    assert refused.returncode == 3
    assert [bind.reason for bind in cloud.lab.refusals("tegata_migrator")]


def test_the_alert_on_errors_looks_for_what_logs_say(served: dict[str, int], cloud: Cloud) -> None:
    """The query is text in a template: with a log of another form it would never match, and nobody would be told."""
    rule = deployed("application", "production").one("Microsoft.Insights/scheduledQueryRules")
    query = rule.properties["criteria"]["allOf"][0]["query"]
    searched = re.findall(r"Log has '([^']+)'", query)
    assert [word.partition(": ")[2] for word in searched] == ['"error"', '"critical"']
    said = "".join(cloud.said)
    assert all(word.partition(": ")[0] + ': "info"' in said for word in searched)


def test_no_process_has_told_a_token_or_the_master_key(cloud: Cloud, served: object) -> None:
    told = "".join(cloud.said)
    assert "applied: revision" in told
    assert cloud.lab.leaks_in(told) == []
    assert cloud.key not in told


def _probed(cloud: Cloud) -> set[str]:
    paths = {one["httpGet"]["path"] for one in cloud.containers["server"]["probes"]}
    site = deployed("application", "production", compute="appService").one("Microsoft.Web/sites")
    return {*paths, site.properties["siteConfig"]["healthCheckPath"]}


def _status_at_last(port: int, path: str) -> int:
    """Ask as Azure does, which asks again: a database that is slow for once is told as one that is away."""
    deadline = time.monotonic() + 60
    while (status := _status(port, path)) != 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    return status


def _status(port: int, path: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def _wait_for(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    deadline, said = time.monotonic() + 60, ""
    while word not in said:
        line = process.stdout.readline()
        assert line, said
        assert time.monotonic() < deadline, said
        said += line
    return said


def _end(process: subprocess.Popen[str]) -> str:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.communicate(timeout=60)[0]
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
