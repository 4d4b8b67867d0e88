"""A Tegata as it is operated: pairs of logins, a rotator, everything secret in the stand-in of AWS Secrets Manager."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psycopg

from tegata.cli.failures import OK
from tegata.crypto.digests import new_secret
from tegata.crypto.envelope import new_master_key
from tegata.postgres.bootstrap import FIRST_LOGINS, Plan, bootstrap
from tegata.postgres.bootstrap_pairs import ROTATOR
from tegata.postgres.target import ConnectionTarget
from tegata.testing.warm_starts import WarmPopen, run_to_its_end
from tegata_credentials.testing import free_port
from tegata_credentials.testing.outputs import keep, remember
from tegata_credentials.testing.secrets_manager import StandIn

TEGATA = Path(sys.executable).parent / "tegata"
HOST = "127.0.0.1"
PATIENCE_SECONDS = 90
SERVER, OPERATOR, FUNCTION = "AKIASERVER", "AKIAOPERATOR", "AKIAFUNCTION"
NAMES = {"tegata_app": "database", "tegata_maint": "maintenance", "tegata_migrator": "migration", ROTATOR: "rotator"}
DATABASE = "tegata-live-secret-database"
USERNAME = "taro"
CALLBACK = "https://rp.example.net/callback"

# Tokens live for seconds and keys are published for a few: so both end, and are replaced, while somebody looks.
TOKEN_SECONDS = 5
JWKS_SECONDS = 1
# What is left of it beyond the age of a JWKS is the longest that the server may take to hear of a key, or a machine
# may stand still: in production a minute.
PUBLISHED_SECONDS = 4

_CLIENT = """
---
apiVersion: tegata.dev/v1
kind: Client
metadata: {{name: {name}, tenant: live}}
spec:
  token_endpoint_auth_method: client_secret_post
  secret_refs: ["awssm:tegata-live-secret-clients#{name}"]
  access_token_signed_response_alg: {algorithm}
  {spec}
"""
_SERVICE = "grant_types: [client_credentials]\n  response_types: []\n  scope: read"
_WEB = f"grant_types: [authorization_code, refresh_token]\n  consent: implicit\n  redirect_uris: ['{CALLBACK}']"
CLIENTS = {
    "service-es": (_SERVICE, "ES256"),
    "service-rs": (_SERVICE, "RS256"),
    "web-es": (_WEB, "ES256"),
    "web-rs": (_WEB, "RS256"),
}
DOCUMENTS = f"""
apiVersion: tegata.dev/v1
kind: Tenant
metadata: {{name: live}}
spec:
  display_name: Live
  scopes: [{{name: read}}]
  access_token_lifetime_seconds: {TOKEN_SECONDS}
  id_token_lifetime_seconds: {TOKEN_SECONDS}
---
apiVersion: tegata.dev/v1
kind: User
metadata: {{name: {USERNAME}, tenant: live}}
spec: {{password_ref: "awssm:tegata-live-secret-clients#user"}}
""" + "".join(_CLIENT.format(name=name, spec=spec, algorithm=algorithm) for name, (spec, algorithm) in CLIENTS.items())


@dataclass(slots=True)
class Installation:
    """One database, its secrets, and the environments of those who work with it."""

    stand_in: StandIn
    store: str  # where the store of secrets is reached
    admin: ConnectionTarget
    home: Path
    port: int = field(default_factory=free_port)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)  # of clients, and the user's password
    arn: str = ""

    @property
    def address(self) -> str:
        """Where the server is reached."""
        return f"http://{HOST}:{self.port}"

    def prepare(self) -> None:
        """Make the pairs, put everything secret into the store, and apply the documents."""
        passwords = {login: _value() for login in FIRST_LOGINS}
        bootstrap(self.admin, Plan(alternating=True, passwords=passwords))
        for login, password in passwords.items():
            name = NAMES[login if login == ROTATOR else login.removesuffix("_a")]
            place = {"engine": "postgres", "host": HOST, "port": self.admin.port, "dbname": self.admin.database}
            made = self._keep(f"tegata-live-secret-{name}", {"username": login, "password": password, **place})
            self.arn = made if name == "database" else self.arn
        self.secrets = {name: _value() for name in ("user", *CLIENTS)}
        self._keep("tegata-live-secret-clients", self.secrets)
        master_key = new_master_key()
        remember(master_key)
        self._keep("tegata-live-secret-keys", {"master": master_key})
        documents = self.home / "live.yaml"
        documents.write_text(DOCUMENTS)
        self.command("apply", "-f", str(documents))

    def environment(self, principal: str, **changed: str) -> dict[str, str]:
        """Return the variables of a process that asks the store of secrets as `principal`."""
        url = f"postgresql://{HOST}:{self.admin.port}/{self.admin.database}"
        logins = {
            f"TEGATA_{prefix}DATABASE_{what}": value
            for prefix, name in (("", "database"), ("MAINTENANCE_", "maintenance"))
            for what, value in (("URL", url), ("SECRET", f"awssm:tegata-live-secret-{name}"))
        }
        return {
            "PATH": os.environ["PATH"],
            **self.stand_in.environment(principal=principal),
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.store,
            **logins,
            "TEGATA_DATABASE_AUTH": "secret",
            "TEGATA_MASTER_KEY": "awssm:tegata-live-secret-keys#master",
            "TEGATA_ROTATION_ADMINISTRATOR": "awssm:tegata-live-secret-rotator",
            "TEGATA_HOME": str(self.home),
            "TEGATA_BASE_URL": self.address,
            "TEGATA_ALLOW_INSECURE_BASE_URL": "true",
            "TEGATA_PORT": str(self.port),
            "TEGATA_WORKERS": "2",
            "TEGATA_DATABASE_POOL_SIZE": "4",
            "TEGATA_DATABASE_POOL_RECYCLE_SECONDS": "1",
            # Whoever waits for a busy machine is not refused for it.
            "TEGATA_DATABASE_POOL_WAIT_SECONDS": "30",
            "TEGATA_SECRET_WAIT_SECONDS": "20",
            "TEGATA_DATABASE_STATEMENT_TIMEOUT_SECONDS": "60",
            "TEGATA_METRICS_NETWORKS": HOST,
            "TEGATA_JWKS_MAX_AGE_SECONDS": str(JWKS_SECONDS),
            "TEGATA_SIGNING_KEY_PUBLISHED_SECONDS": str(PUBLISHED_SECONDS),
            "TEGATA_SIGNING_KEY_DAYS": "0.000001",
            **changed,
        }

    def command(self, *words: str, fine: Collection[int] = (OK,)) -> str:
        """Run a command as the operator; return what it printed. `fine`: how it may end."""
        done = run_to_its_end(
            [str(TEGATA), *words],
            env=self.environment(OPERATOR),
            timeout=PATIENCE_SECONDS,
        )
        self._keep_said(done.stdout + done.stderr)
        assert done.returncode in fine, done.stderr
        return done.stdout

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement as the superuser."""
        with psycopg.connect(self.admin.psycopg_conninfo(), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    @asynccontextmanager
    async def served(self, **changed: str) -> AsyncIterator[Served]:
        """Run `tegata serve` until the end of the block, and make sure that it ends."""
        served = Served(self, self.home / "serve.log", changed)
        try:
            await asyncio.to_thread(served.start)
            yield served
        finally:
            await asyncio.to_thread(served.stop)
            keep(served.log)

    def _keep(self, name: str, document: Mapping[str, object]) -> str:
        client = self.stand_in.client()
        try:
            return str(client.create_secret(Name=name, SecretString=json.dumps(document))["ARN"])
        finally:
            client.close()

    def _keep_said(self, said: str) -> None:
        path = self.home / "said"
        path.write_text(said)
        keep(path)


@dataclass(slots=True)
class Served:
    """A running `tegata serve`; its log goes on through restarts."""

    installation: Installation
    log: Path
    changed: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; return when it serves."""
        with self.log.open("ab") as sink:
            self.process = WarmPopen(
                [str(TEGATA), "serve"],
                env=self.installation.environment(SERVER, **self.changed),
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._is_ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """End it and its workers without a word, as when a machine is lost."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it in an orderly way."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def told(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of its log about `event`."""
        ended, _, _ = self.log.read_text().rpartition("\n")  # the last line may be being written
        lines = (json.loads(line) for line in ended.splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("event") == event]

    def _is_ready(self) -> bool:
        try:
            return httpx2.get(f"{self.installation.address}/readyz", timeout=20, verify=False).status_code == 200
        except httpx2.TransportError:
            return False


def _value() -> str:
    made = new_secret()
    remember(made)
    return made
