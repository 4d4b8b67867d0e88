"""A server that holds no password: its logins and its master key are in a store of secrets, and they change meanwhile.

Secrets Manager is the stand-in, over HTTP as boto3 speaks it; PostgreSQL asks the pairs for their passwords.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tegata.crypto.digests import new_secret
from tegata.crypto.envelope import new_master_key
from tegata.postgres.bootstrap import Plan, bootstrap
from tegata.postgres.bootstrap_pairs import LOGIN_PAIRS
from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import Cluster
from tegata.testing.warm_starts import WarmPopen, run_to_its_end
from tegata_credentials.testing import free_port
from tegata_credentials.testing.leaks import find_leaks
from tegata_credentials.testing.outputs import keep, remember
from tegata_credentials.testing.secrets_manager import ACCESS_DENIED, REGION, StandIn

TEGATA = Path(sys.executable).parent / "tegata"
PATIENCE_SECONDS = 60
ROLES = {"database": "tegata_app", "maintenance": "tegata_maint", "migration": "tegata_migrator"}
DOCUMENTS = """
apiVersion: tegata.dev/v1
kind: Tenant
metadata: {name: acme}
spec: {display_name: Acme, scopes: [{name: read}]}
---
apiVersion: tegata.dev/v1
kind: Client
metadata: {name: service, tenant: acme}
spec:
  grant_types: [client_credentials]
  response_types: []
  scope: read
  secret_refs: ["awssm:tegata-test-clients#service"]
"""


@dataclass
class Site:
    """A database whose pairs need passwords, a store that has these, and `tegata` told where."""

    store: Any  # a client of boto3
    admin: ConnectionTarget
    environment: dict[str, str]
    secrets: list[str] = field(default_factory=list, repr=False)  # every value there ever was

    def value(self) -> str:
        made = new_secret()
        remember(made)
        self.secrets.append(made)
        return made

    def keep(self, name: str, document: dict[str, str] | str) -> None:
        text = document if isinstance(document, str) else json.dumps(document)
        known = {each["Name"] for each in self.store.list_secrets()["SecretList"]}
        if name in known:
            self.store.put_secret_value(SecretId=name, SecretString=text)
        else:
            self.store.create_secret(Name=name, SecretString=text)

    def turn(self, name: str, login: str) -> None:
        """Give `login` a new password, and put both into the secret."""
        password = self.value()
        bootstrap(self.admin, Plan(passwords={login: password}))
        self.keep(f"tegata-test-secret-{name}", {"username": login, "password": password, "engine": "postgres"})

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.admin.psycopg_conninfo(), autocommit=True) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def tegata(self, *words: str, **changed: str) -> subprocess.CompletedProcess[str]:
        done = run_to_its_end(
            [str(TEGATA), *words],
            env=self.environment | changed,
            timeout=120,
        )
        self.leaves_nothing_in(done.stdout + done.stderr)
        return done

    def leaves_nothing_in(self, said: str) -> None:
        assert find_leaks(said, self.secrets) == []


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    with StandIn() as running:
        yield running


@pytest.fixture(scope="module")
def site(stand_in: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    cluster = Cluster()
    client = stand_in.client()
    try:
        with cluster.empty_database() as admin:
            yield prepared(client, admin, stand_in, tmp_path_factory.mktemp("home"))
    finally:
        client.close()
        cluster.stop()


def prepared(client: Any, admin: ConnectionTarget, stand_in: StandIn, home: Path) -> Site:
    url = make_conninfo("", host=admin.host, port=admin.port, dbname=admin.database)
    environment = {"PATH": os.environ["PATH"], "TEGATA_HOME": str(home), "TEGATA_DATABASE_AUTH": "secret"}
    for name in ROLES:
        prefix = "" if name == "database" else f"{name.upper()}_"
        environment[f"TEGATA_{prefix}DATABASE_URL"] = url
        environment[f"TEGATA_{prefix}DATABASE_SECRET"] = f"awssm:tegata-test-secret-{name}"
    environment |= {
        "TEGATA_MASTER_KEY": "awssm:tegata-test-keys#master",
        "TEGATA_BASE_URL": "https://id.example.com",
        "TEGATA_METRICS_NETWORKS": "127.0.0.1",
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": stand_in.endpoint_url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "AKIASTANDIN",
        "AWS_SECRET_ACCESS_KEY": "stand-in",
        "AWS_EC2_METADATA_DISABLED": "true",
        # Whoever waits for a busy machine is not refused for it.
        "TEGATA_DATABASE_POOL_WAIT_SECONDS": "30",
        "TEGATA_SECRET_WAIT_SECONDS": "20",
    }
    site = Site(client, admin, environment)
    bootstrap(admin, Plan(alternating=True))
    ask_for_passwords(site)
    for name, role in ROLES.items():
        site.turn(name, LOGIN_PAIRS[role][0])
    master = f"{new_master_key()},{new_master_key()}"
    site.secrets += master.split(",")
    site.keep("tegata-test-keys", {"master": master})
    site.keep("tegata-test-clients", {"service": site.value()})
    return site


def ask_for_passwords(site: Site) -> None:
    ((file,),) = site.sql("show hba_file")
    hba = Path(str(file))
    logins = [login for pair in LOGIN_PAIRS.values() for login in pair]
    hba.write_text("".join(f"local all {login} scram-sha-256\n" for login in logins) + hba.read_text())
    site.sql("select pg_reload_conf()")
    stranger = make_conninfo(
        "", host=site.admin.host, port=site.admin.port, dbname=site.admin.database, user=logins[0], password="wrong"
    )
    deadline = time.monotonic() + PATIENCE_SECONDS
    while lets_in(stranger):  # the server reads its rules when it comes to it
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lets_in(conninfo: str) -> bool:
    try:
        psycopg.connect(conninfo).close()
    except psycopg.OperationalError:
        return False
    return True


@dataclass
class Served:
    """`tegata serve`, and what it has said."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path
    secret: str = field(repr=False)

    def token(self) -> httpx2.Response:
        return httpx2.post(
            f"{self.address}/acme/token",
            data={"grant_type": "client_credentials", "scope": "read"},
            auth=("service", self.secret),
            timeout=PATIENCE_SECONDS,
            verify=False,
        )

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(self.address + path, timeout=PATIENCE_SECONDS, verify=False)

    def told(self, event: str) -> list[dict[str, Any]]:
        ended, _, _ = self.log.read_text().rpartition("\n")  # the last line may be being written
        return [line for line in map(json.loads, ended.splitlines()) if line["event"] == event]

    def is_ready(self) -> bool:
        try:
            return self.get("/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    def until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            if is_so():
                return
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())


@pytest.fixture(scope="module")
def served(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    tmp_path = tmp_path_factory.mktemp("served")
    (tmp_path / "acme.yaml").write_text(DOCUMENTS)
    for words in (("migrate",), ("apply", "-f", str(tmp_path / "acme.yaml"))):
        done = site.tegata(*words)
        assert done.returncode == 0, done.stderr
    port, log = free_port(), tmp_path / "log"
    with log.open("wb") as sink:
        process = WarmPopen(
            [str(TEGATA), "serve"],
            env=site.environment | {"TEGATA_PORT": str(port)},
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    client_secret = json.loads(site.store.get_secret_value(SecretId="tegata-test-clients")["SecretString"])["service"]
    running = Served(process, f"http://127.0.0.1:{port}", log, client_secret)
    try:
        running.until(running.is_ready)
        yield running
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)
        keep(log)


SESSIONS = "select distinct usename::text from pg_stat_activity where usename like 'tegata_app%' order by 1"
LISTENING = "select usename::text from pg_stat_activity where query ilike 'listen%' and usename like 'tegata_app%'"


def test_the_server_serves_on_when_its_login_takes_turns(site: Site, served: Served) -> None:
    assert served.token().status_code == 200
    assert served.get("/health/db").json() == {
        "status": "healthy",
        "database": "connected",
        "auth_method": "secret",
    }
    for login in ("tegata_app_b", "tegata_app_a"):
        before = site.sql(SESSIONS)
        site.turn("database", login)
        assert [(login,)] != before
        # Nobody logs in as the other any more, and every session of it ends: pool and listener begin anew.
        bootstrap(site.admin, Plan(passwords={before[0][0]: site.value()}))
        site.sql(f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = '{before[0][0]}'")
        assert served.token().status_code == 200
        assert served.get("/nobody/authorize").status_code == 404  # which only the database knows
        served.until(lambda login=login: site.sql(SESSIONS) == [(login,)] and site.sql(LISTENING) == [(login,)])
    # They are told by the thread that fetches, after whoever waited has the value.
    served.until(lambda: 'tegata_secret_changes_total{worker="0"} 2.0' in served.get("/metrics").text)
    served.until(lambda: len(served.told("secret.changed")) == 2)
    assert "tegata_secret_fetch_failures_total{" not in served.get("/metrics").text
    (first,) = served.told("database_connection")
    assert (first["auth_method"], first["reference"]) == ("secret", "awssm:tegata-test-secret-database")
    changes = served.told("secret.changed")
    assert [line["reference"] for line in changes] == ["awssm:tegata-test-secret-database"] * 2
    read = {(line.get("setting"), line["reference"]) for line in served.told("secret.read")}
    # A minute after its start the server looks whether its settings have changed.
    assert read - {(None, "awssm:tegata-test-keys#master")} == {
        ("TEGATA_MASTER_KEY", "awssm:tegata-test-keys#master"),
        (None, "awssm:tegata-test-secret-database"),
    }
    site.leaves_nothing_in(served.log.read_text())


def test_the_commands_log_in_by_secrets_too_and_the_wall_is_proven_through_a_pair(site: Site, served: Served) -> None:
    for words in (("doctor", "--strict"), ("export", "-t", "acme"), ("worker", "--once")):
        done = site.tegata(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)


WRONG = {
    "a store that is away": (
        {"AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1"},
        3,
        "TEGATA_MASTER_KEY=awssm:tegata-test-keys#master: unavailable",
    ),
    "a login whose secret is gone": (
        {"TEGATA_DATABASE_SECRET": "awssm:tegata-test-nowhere"},
        2,
        "TEGATA_DATABASE_SECRET=awssm:tegata-test-nowhere: not found",
    ),
    "a login whose secret is another": (
        {"TEGATA_DATABASE_SECRET": "awssm:tegata-test-clients"},
        2,
        "malformed (username: missing, password: missing); correct what is kept there",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_ends_the_start_with_setting_reference_and_cure(site: Site, wrong: str) -> None:
    changed, status, told = WRONG[wrong]
    done = site.tegata("serve", TEGATA_PORT="0", **changed)
    said = done.stdout + done.stderr
    assert (done.returncode, told in said) == (status, True), said


def test_a_commands_login_whose_secret_is_gone_is_told_by_its_setting(site: Site) -> None:
    done = site.tegata("export", "-t", "acme", TEGATA_MAINTENANCE_DATABASE_SECRET="awssm:tegata-test-nowhere")
    assert done.returncode == 2
    assert "TEGATA_MAINTENANCE_DATABASE_SECRET=awssm:tegata-test-nowhere: not found" in done.stderr


def test_an_identity_that_may_not_read_a_secret_is_told_what_it_lacks(site: Site, stand_in: StandIn) -> None:
    stand_in.faults.next("GetSecretValue", ACCESS_DENIED, principal="AKIASTRANGER")
    done = site.tegata("serve", TEGATA_PORT="0", AWS_ACCESS_KEY_ID="AKIASTRANGER")
    assert done.returncode == 2
    assert "TEGATA_MASTER_KEY=awssm:tegata-test-keys#master: access denied" in done.stderr
    assert "secretsmanager:GetSecretValue" in done.stderr
