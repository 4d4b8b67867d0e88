"""The task definitions of production as processes, in the order of a deployment: bootstrap, migrate, serve and worker.

PostgreSQL 15 stands in for RDS: the master user is no superuser, logins of Tegata's need tokens of IAM and TLS. The
reader is the same server, for this is no test of replicas.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from deployed import REGION, SNAPSHOTS, Deployed
from psycopg import sql
from service_tasks import RDS_NAME, Running, Tasks, ask, containers, written_environment

from tegata.postgres.embedded import EmbeddedPostgres
from tegata.settings import Settings, check_for_production, unknown_names
from tegata_credentials.rotation.postgres.scram import scram_verifier
from tegata_credentials.testing import Endpoint, Laboratory, free_port, server_settings
from tegata_credentials.testing.secrets_manager import StandIn

POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")
FAMILIES = ("task", "worker", "migrate", "bootstrap")
MASTER_KEY = "A" * 43
PASSWORDS = SNAPSHOTS / "variants" / "service-passwords"


@pytest.mark.parametrize("environment", ["production", "staging", "dev"])
@pytest.mark.parametrize("family", FAMILIES)
def test_everything_that_a_task_is_told_is_a_setting(environment: str, family: str) -> None:
    written = written_environment(containers(Deployed.read(environment))[family])
    assert unknown_names(written) == []
    if "TEGATA_MASTER_KEY" in written:
        assert written["TEGATA_MASTER_KEY"].startswith("awssm:arn:")
        written["TEGATA_MASTER_KEY"] = MASTER_KEY
    settings = Settings.from_environment(written)
    if family == "task":
        check_for_production(settings)
        assert settings.port == 8080
        assert [str(network) for network in settings.trusted_proxies] == ["10.0.1.0/24", "10.0.2.0/24"]


PASSWORD_LOGIN = "hostssl all {role} 127.0.0.1/32 scram-sha-256\n"


@contextmanager
def instance(deployed: Deployed, rule: str) -> Iterator[Tasks]:
    """A database as RDS gives it, secrets as CloudFormation makes them. `rule` says who logs in with a password."""
    if not POSTGRES_15.exists():
        pytest.skip("PostgreSQL 15 is not installed: the embedded one has neither LDAP nor TLS")
    directory = tempfile.mkdtemp(prefix="tegata-ecs-")
    with Laboratory() as lab, StandIn(region=REGION) as store:
        settings, endpoint = server_settings(lab, "writer")
        lab.serve_database("writer", Endpoint(RDS_NAME, endpoint.port, REGION))
        rules = Path(settings["hba_file"])
        rules.write_text(rule + rules.read_text())
        server = EmbeddedPostgres(Path(directory, "pg"), bindir=POSTGRES_15, durable=False, settings=settings)
        try:
            superuser = replace(server.start(), port=endpoint.port)
            client = store.client()
            deployed.make_secrets(client, {"host": RDS_NAME, "port": endpoint.port})
            held = client.get_secret_value(SecretId="idp-server/db-credentials")["SecretString"]
            client.close()
            made = Tasks(deployed, lab, store, superuser, endpoint.port, Path(directory))
            give_master_user(made, json.loads(held)["password"])
            yield made
            assert lab.leaks_in(server.log_file.read_text(errors="replace")) == []
        finally:
            server.stop()
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def tasks() -> Iterator[Tasks]:
    with instance(Deployed.read("production"), PASSWORD_LOGIN.format(role="idpserver")) as made:
        yield made


def give_master_user(tasks: Tasks, password: str) -> None:
    """Make the roles that RDS has, and the instance's database."""
    verifier = sql.Literal(str(scram_verifier(password))).as_string(None)
    tasks.rows("create role rds_iam")
    tasks.rows("create role rds_superuser")
    tasks.rows(f"create role idpserver login createdb createrole in role rds_superuser password {verifier}")
    tasks.rows("create database idpserver owner idpserver template template0 strategy file_copy")


@pytest.fixture(scope="module")
def bootstrapped(tasks: Tasks) -> CompletedProcess[str]:
    return tasks.run("bootstrap")


@pytest.fixture(scope="module")
def migrated(tasks: Tasks, bootstrapped: object) -> CompletedProcess[str]:
    return tasks.run("migrate")


@dataclass
class Served:
    """A server and a worker that have been at work and were stopped."""

    port: int
    server: Running
    worker: Running
    health: CompletedProcess[str]
    answers: dict[str, int]
    ended: list[int]


@pytest.fixture(scope="module")
def served(tasks: Tasks, migrated: object) -> Served:
    """Loopback alone, a free port, and no wait for a load balancer that is not there; everything else as written."""
    container = containers(tasks.deployed)["task"]
    port = free_port()
    place = {"TEGATA_HOST": "127.0.0.1", "TEGATA_PORT": str(port), "TEGATA_DRAIN_SECONDS": "0"}
    server, worker = tasks.start("task", **place), tasks.start("worker")
    try:
        server.wait_for('"serving"')
        worker.wait_for('"working"')
        group = tasks.deployed.one("AWS::ElasticLoadBalancingV2::TargetGroup").properties
        answers = {path: ask(port, path) for path in (group["HealthCheckPath"], "/readyz", "/metrics")}
        kind, *check = container["HealthCheck"]["Command"]
        assert kind == "CMD"
        for _ in range(container["HealthCheck"]["Retries"]):  # ECS, too, asks so often before it believes a failure
            health = tasks.run("task", tasks.here(check), **place)
            if health.returncode == 0:
                break
    finally:
        ended = [server.stop(), worker.stop()]
        tasks.said += [server.log, worker.log]
    return Served(port, server, worker, health, answers, ended)


def test_the_bootstrap_makes_roles_that_log_in_by_iam(tasks: Tasks, bootstrapped: CompletedProcess[str]) -> None:
    assert bootstrapped.returncode == 0, bootstrapped.stderr
    members = (
        "select r.rolname from pg_auth_members m join pg_roles r on r.oid = m.member"
        " where m.roleid = 'rds_iam'::regrole order by 1"
    )
    assert tasks.rows(members) == [("tegata_app",), ("tegata_maint",), ("tegata_migrator",)]
    again = tasks.run("bootstrap")
    assert (again.returncode, again.stdout) == (0, "roles and schema are as they should be\n")


def test_the_bootstrap_without_the_password_of_the_secret_does_nothing(tasks: Tasks) -> None:
    refused = tasks.run("bootstrap", PGPASSWORD="another")
    assert refused.returncode == 3
    assert "password authentication failed" in refused.stderr


def test_the_migration_logs_in_with_a_token_and_is_done_once(tasks: Tasks, migrated: CompletedProcess[str]) -> None:
    assert migrated.returncode == 0, migrated.stderr
    assert "applied: revision" in migrated.stdout
    again = tasks.run("migrate")
    assert (again.returncode, again.stdout) == (0, "the schema is up to date\n")
    assert tasks.lab.logins("tegata_migrator")


def test_the_health_check_of_the_container_and_of_the_target_group_are_answered(served: Served) -> None:
    assert served.health.returncode == 0, served.health.stderr
    assert served.answers["/actuator/health"] == 200
    assert served.answers["/readyz"] == 200


def test_the_figures_are_for_nobody_outside(served: Served) -> None:
    assert served.answers["/metrics"] == 404


def test_the_health_check_finds_a_server_that_is_gone(tasks: Tasks, served: Served) -> None:
    words = containers(tasks.deployed)["task"]["HealthCheck"]["Command"][1:]
    gone = tasks.run("task", tasks.here(words), TEGATA_HOST="127.0.0.1", TEGATA_PORT=str(served.port))
    assert gone.returncode == 1


def test_server_and_worker_log_in_as_themselves_and_end_when_they_are_told(tasks: Tasks, served: Served) -> None:
    assert served.ended == [0, 0], served.server.log + served.worker.log
    assert tasks.lab.logins("tegata_app")
    assert tasks.lab.logins("tegata_maint")
    assert tasks.lab.refusals() == []


def test_the_worker_replaces_signing_keys_too(served: Served) -> None:
    """Without the master key it would leave them: that it has one is its task definition's doing."""
    assert '"signing_keys"' in served.worker.log


def test_what_the_database_gives_is_enough_for_all_processes_of_a_task(served: Served) -> None:
    lines = (json.loads(line) for line in served.server.log.splitlines() if '"connection_budget' in line)
    assert {(line["event"], line["processes"], line["of_each"]) for line in lines} == {("connection_budget", 2, 4)}


def test_nobody_has_told_a_password_a_token_or_the_master_key(tasks: Tasks, served: Served) -> None:
    told = "".join(tasks.said)
    client = tasks.store.client()
    key = json.loads(client.get_secret_value(SecretId="idp-server/api-credentials")["SecretString"])["encryption_key"]
    client.close()
    assert "applied: revision" in told
    assert key not in told
    assert tasks.secrets("bootstrap")["PGPASSWORD"] not in told
    assert tasks.lab.leaks_in(told) == []


def test_logins_with_passwords_are_made_and_used_as_their_secrets_say() -> None:
    """The other way of logging in: the bootstrap through the image's shell, then each task with its own secret."""
    usual = Deployed.read("production").templates
    kept = {file.stem: json.loads(file.read_text()) for file in PASSWORDS.glob("*.json")}
    with instance(Deployed({**usual, **kept}), PASSWORD_LOGIN.format(role="all")) as tasks:
        path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        for _ in range(2):
            bootstrap = tasks.run("bootstrap", words(tasks, "bootstrap"), **path)
            assert bootstrap.returncode == 0, bootstrap.stderr
        assert tasks.run("migrate").returncode == 0, tasks.said
        worker = tasks.run("worker", [*tasks.command("worker"), "--once"])
        assert worker.returncode == 0, worker.stderr
        logins = tasks.rows("select rolname from pg_authid where rolpassword is not null order by 1")
        assert logins == [
            ("idpserver",),
            ("tegata_app_b",),
            ("tegata_maint_b",),
            ("tegata_migrator_b",),
            ("tegata_rotator",),
        ]
        told = "".join(tasks.said)
        assert not [name for name, value in tasks.secrets("bootstrap").items() if "LOGIN" not in name and value in told]


def words(tasks: Tasks, family: str) -> list[str]:
    """Return a command line whose program is the machine's own."""
    container = containers(tasks.deployed)[family]
    return [*container["EntryPoint"], *container["Command"]]
