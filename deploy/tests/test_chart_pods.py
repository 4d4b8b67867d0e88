"""Each pod of the chart as the kernel runs its container, with the Secrets it names, on a real PostgreSQL."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from containers.compose import Image
from containers.pods import container_of
from containers.sandbox import Container, Running, run, start
from tegata_credentials.testing import free_port
from tegata_credentials.testing.outputs import keep, remember

from .charts import Charts, Manifest, named, pods
from .postgres import SocketPostgres
from .waiting import PATIENCE_SECONDS, until, until_reached

VALUES: dict[str, Any] = {
    "bootstrap": {"enabled": True},
    "secrets": {"logins": {"secret": "tegata-bootstrap", "key": "logins"}},
    "trustedProxies": "10.244.0.0/16",
    "config": {"TEGATA_LOG_LEVEL": "info"},
    "drainSeconds": 3,
}
KEYS = {
    "tegata": {
        "master-key": "master_key",
        "database-url": "database_url",
        "maintenance-url": "maintenance_url",
        "migration-url": "migration_url",
    },
    "tegata-bootstrap": {"bootstrap-url": "bootstrap_url", "logins": "logins"},
}


class Release:
    """An installed release: its objects, the Secrets that somebody has made, and a database."""

    def __init__(self, found: list[Manifest], image: Image, secrets: Path, postgres: SocketPostgres, directory: Path):
        self.manifests, self.image, self.directory = found, image, directory
        self._secrets = {
            name: {key: (secrets / file).read_text() for key, file in keys.items()} for name, keys in KEYS.items()
        }
        self._config_maps = {each["metadata"]["name"]: each["data"] for each in found if each["kind"] == "ConfigMap"}
        self._database = {"/var/run/postgresql": postgres.socket}
        self.postgres = postgres
        self.running: list[Running] = []

    def container(self, component: str, **variables: str) -> Container:
        return container_of(
            pods(self.manifests)[component],
            self.image,
            self.directory / component,
            secrets=self._secrets,
            config_maps=self._config_maps,
            environment=variables,
            mounts=self._database,
        )

    def run(self, component: str) -> Running:
        container, log = self.container(component), self.directory / f"{component}.log"
        return until_reached(lambda: run(container, self.image.root, log))

    def start(self, component: str, **variables: str) -> Running:
        log = self.directory / f"{component}.log"
        self.running.append(start(self.container(component, **variables), self.image.root, log))
        return self.running[-1]


@pytest.fixture(scope="module")
def release(charts: Charts, image: Image, secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """The chart after its hooks, in the order of their weights."""
    for line in (secrets / "logins").read_text().splitlines():
        remember(line.partition("=")[2])
    with SocketPostgres((secrets / "postgres_password").read_text()) as postgres:
        directory = tmp_path_factory.mktemp("release")
        made = Release(charts.manifests(**VALUES), image, secrets, postgres, directory)
        for component in ("bootstrap", "migrate"):
            done = made.run(component)
            assert done.status == 0, done.log
        try:
            yield made
        finally:
            for running in made.running:
                running.kill()
            for log in directory.glob("*.log"):
                keep(log)


def test_the_servers_pod_is_probed_as_kubernetes_does_and_leaves_in_peace(release: Release) -> None:
    port = free_port()
    (told,) = pods(release.manifests)["server"]["containers"]

    def probe(kind: str) -> int | None:
        # The chart's port is that of the image, and every pod has an address of its own; here loopback has to do.
        assert told["ports"] == [{"name": "http", "containerPort": 8080}]
        assert told[kind]["httpGet"]["port"] == "http"
        try:
            # How soon it answers is this machine's affair; what it answers is the server's.
            path = told[kind]["httpGet"]["path"]
            return httpx2.get(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_SECONDS).status_code
        except httpx2.TransportError:
            return None

    assert release.image.environment["TEGATA_PORT"] == "8080"
    assert release.container("server").environment["TEGATA_DRAIN_SECONDS"] == str(VALUES["drainSeconds"])
    # It leaves for as long as it takes to look at that, and then is told a second time.
    place = {"TEGATA_HOST": "127.0.0.1", "TEGATA_PORT": str(port), "TEGATA_DRAIN_SECONDS": "120"}
    server = release.start("server", **place)
    until(lambda: probe("startupProbe") == 200, server)
    until(lambda: probe("readinessProbe") == 200, server)
    release.postgres.stop()
    until(lambda: probe("readinessProbe") == 503, server)
    assert probe("livenessProbe") == 200
    release.postgres.start()
    until(lambda: probe("readinessProbe") == 200, server)
    server.signal(signal.SIGTERM)
    until(lambda: probe("readinessProbe") == 503, server)
    assert probe("livenessProbe") == 200
    assert server.stop() == 0
    assert '"event": "stopped"' in server.log
    assert '"base_url": "https://id.example.com"' in server.log


def test_the_workers_pod_works_and_ends_when_told(release: Release) -> None:
    worker = release.start("worker")
    until(lambda: '"event": "working"' in worker.log, worker)
    assert worker.stop() == 0
    assert not {"startupProbe", "livenessProbe", "readinessProbe"} & set(
        pods(release.manifests)["worker"]["containers"][0]
    )


def test_an_upgrade_runs_the_same_jobs_again(release: Release) -> None:
    assert named(release.manifests, "Job", "id-tegata-migrate")["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    done = release.run("migrate")
    assert done.status == 0, done.log
