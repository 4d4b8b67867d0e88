"""An account on loopback in which the pages' commands are run as they stand: AWS's own CLI, psql, this repository."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest

from tegata.testing.password_server import password_server
from tegata_credentials.embedded_metrics import EmbeddedMetrics
from tegata_credentials.rotation.aws_store import AwsVersions
from tegata_credentials.rotation.lambda_function import PLANS, RotationFunction
from tegata_credentials.testing.authority import Authority
from tegata_credentials.testing.secrets_manager import RotationRequest, StandIn

from .warm_commands import warm_command

ROOT = Path(__file__).resolve().parents[4]
TOOLS = Path(sys.prefix, "bin")
PSQL = Path("/usr/lib/postgresql/15/bin")
STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


def blocks(page: str, language: str) -> list[str]:
    """Return the page's blocks of code in this language."""
    text = (ROOT / "docs" / "how-to" / page).read_text()
    return [
        code for word, code in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE) if word == language
    ]


@dataclass
class Account:
    """Secrets Manager with faults at hand, moto for everything else, a database, and functions that are really run."""

    stand_in: StandIn
    environment: dict[str, str] = field(repr=False)  # with the URL of an administrator, password included
    port: int
    output: Path
    failures: list[str]
    plans_are_lost: bool = False

    def run(self, script: str, **more: str) -> str:
        """Run a script of bash and return what it printed; stops at the first command that fails."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=ROOT,
            env=self.environment | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, f"{done.stderr[-3000:]}\n{done.stdout[-1000:]}"
        return done.stdout

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name=self.stand_in.region,
            endpoint_url=self.stand_in.moto_url,
            aws_access_key_id="a",
            aws_secret_access_key="b",
        )

    def value(self, secret: str, stage: str = "AWSCURRENT") -> dict[str, Any]:
        client = self.stand_in.client()
        found = json.loads(client.get_secret_value(SecretId=secret, VersionStage=stage)["SecretString"])
        client.close()
        return dict(found)

    def current(self, secret: str) -> str | None:
        client = self.stand_in.client()
        labels = client.describe_secret(SecretId=secret)["VersionIdsToStages"]
        client.close()
        return next((version for version, stages in labels.items() if "AWSCURRENT" in stages), None)

    def logs_in(self, value: dict[str, Any]) -> bool:
        place = {"host": "127.0.0.1", "port": self.port, "dbname": "shop"}
        try:
            psycopg.connect(**place, user=value["username"], password=value["password"]).close()
        except psycopg.OperationalError:
            return False
        return True

    def rotate(self, request: RotationRequest) -> None:
        """Do what Secrets Manager does after RotateSecret: call the function that was created, step by step."""
        if request.how == "done":
            return
        functions = self.client("lambda")
        plans = functions.get_function_configuration(FunctionName="shop-prod-rotation")["Environment"]["Variables"][
            PLANS
        ]
        functions.close()
        store = AwsVersions(self.stand_in.client())
        try:
            with self.output.open("a") as out:
                function = RotationFunction(
                    {} if self.plans_are_lost else {PLANS: plans}, store, observer=EmbeddedMetrics(out)
                )
                for step in STEPS:
                    function({"SecretId": request.arn, "ClientRequestToken": request.token, "Step": step})
        except Exception as error:  # noqa: BLE001 - Lambda would write it into a log
            self.failures.append(f"{type(error).__name__}: {error}")


@pytest.fixture(scope="module")
def database() -> Iterator[tuple[int, str]]:
    """A PostgreSQL that asks for passwords, with an administrator; its port and the administrator's URL."""
    with password_server() as server:
        server.execute("create role administrator superuser")
        server.execute("create database shop")
        password = server.give_password("administrator")["password"]
        yield server.port, f"postgresql://administrator:{password}@127.0.0.1:{server.port}/shop"


@pytest.fixture(scope="module")
def secrets_manager() -> Iterator[StandIn]:
    """One of its own: the page attaches a policy that AWS itself has made."""
    with StandIn(managed_policies=True) as started:
        yield started


@pytest.fixture(scope="module")
def commands(ministack_programs: Path) -> Iterator[Path]:
    """A directory with AWS's own CLI and ours."""
    ours = ("tegata_credentials.cli", "tegata_credentials.cli_rotation", "tegata_credentials.cli_secrets", "psycopg")
    with (
        tempfile.TemporaryDirectory(prefix="commands-") as name,
        warm_command("aws", ministack_programs / "python", ["awscli.clidriver"], directory := Path(name)),
        warm_command("tegata-credentials", Path(sys.executable), [*ours, "boto3"], directory),
    ):
        yield directory


@pytest.fixture(scope="module")
def account(
    secrets_manager: StandIn,
    database: tuple[int, str],
    tmp_path_factory: pytest.TempPathFactory,
    commands: Path,
) -> Iterator[Account]:
    secrets_manager.reset()
    directory = tmp_path_factory.mktemp("account")
    port, url = database
    bundle = directory / "global-bundle.pem"
    bundle.write_bytes(Authority(directory).root.read_bytes())
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PG", "TEGATA_ROT"))}
    environment = {
        **kept,
        **secrets_manager.environment(),
        "AWS_ENDPOINT_URL": secrets_manager.moto_url,
        "AWS_PAGER": "",
        "PATH": os.pathsep.join([str(commands), str(TOOLS), str(PSQL), os.environ["PATH"]]),
        "TMPDIR": str(directory),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "ADMINISTRATOR_URL": url,
        "SUBNETS": "subnet-1,subnet-2",
        "SECURITY_GROUPS": "sg-1",
        "BUNDLE": str(bundle),
    }
    made = Account(secrets_manager, environment, port, directory / "function.log", [])
    secrets_manager.on_rotation(lambda request: threading.Thread(target=made.rotate, args=(request,)).start())
    yield made
    secrets_manager.reset()
