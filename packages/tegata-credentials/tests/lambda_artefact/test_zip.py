"""The zips of the rotation function: small enough, built for the right machine, and working from inside themselves."""

from __future__ import annotations

import io
import json
import socket
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.pq import PGconn

from tegata.testing.clusters import Cluster
from tegata_credentials.embedded_metrics import EmbeddedMetrics
from tegata_credentials.errors import SecretNotFound
from tegata_credentials.rotation.lambda_function import RotationFunction
from tegata_credentials.rotation.plans import PlanError
from tegata_credentials.rotation.postgres.pair import LoginPair
from tegata_credentials.rotation.postgres.setup import setup_statements
from tegata_credentials.testing.outputs import keep, remember
from tegata_credentials.testing.secrets_manager import RotationService, StandIn
from tegata_credentials.testing.version_store import MemoryVersions

from .conftest import Invoked

HANDLER = "tegata_credentials.rotation.lambda_function.handler"
MACHINES = {"x86_64": 62, "arm64": 183}  # e_machine of ELF
MOST_BYTES = 20_000_000


@pytest.mark.parametrize("architecture", MACHINES)
def test_the_zip_is_small_and_everything_native_in_it_is_for_that_machine(
    architecture: str, built: Callable[[str, str], Path], count: Callable[..., None]
) -> None:
    path = built(architecture, "3.13")
    assert path.stat().st_size < MOST_BYTES
    count(f"rotation function, {architecture}", megabytes=round(path.stat().st_size / 1e6, 1))
    with zipfile.ZipFile(path) as opened:
        native = [name for name in opened.namelist() if ".so" in Path(name).name]
        for name in native:
            start = opened.read(name)[:20]
            assert start[:4] == b"\x7fELF"
            assert struct.unpack("<H", start[18:20])[0] == MACHINES[architecture], name
        assert any("psycopg_binary" in name for name in native)
        assert any("pydantic_core" in name for name in native)
        assert not [name for name in opened.namelist() if name.startswith(("tegata_credentials/testing", "boto"))]


def test_the_entry_point_is_loaded_from_inside_the_zip_and_the_runtime_alone(
    invoked: Callable[..., Invoked], unpacked: Path, runtime: Path, count: Callable[..., None]
) -> None:
    started = invoked(HANDLER, {}).started
    site = [place for place in started["places"] if "site-packages" in place and "/lib/python3" in place]
    linked = {path.name for path in runtime.iterdir()}
    assert all(Path(place).relative_to(unpacked) for place in started["places"] if "tegata_credentials" in place)
    assert [place for place in site if not linked & set(Path(place).parts)] == []
    count("rotation function", milliseconds_of_CPU_to_import_the_handler=round(started["seconds"] * 1000))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Any], Any]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    rules = tmp_path_factory.mktemp("rules") / "pg_hba.conf"
    rules.write_text("local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    for path in (rules, *rules.parents[:3]):
        path.chmod(path.stat().st_mode | 0o555)
    settings = {"listen_addresses": "127.0.0.1", "port": str(port), "hba_file": str(rules), "log_statement": "all"}
    cluster = Cluster(settings=settings)
    admin = replace(cluster.admin, port=port)

    def execute(statement: Any) -> Any:
        with psycopg.connect(admin.psycopg_conninfo(), autocommit=True) as connection:
            return connection.execute(statement)

    execute.port = port  # type: ignore[attr-defined]
    yield execute
    cluster.stop()


def role(execute: Callable[[Any], Any], name: str, password: str) -> dict[str, Any]:
    """Give a role a password; return the value of its secret."""
    execute(sql.SQL("set log_statement = none"))
    remember(password)
    verifier = _verifier(name, password)
    execute(sql.SQL("alter role {} login password {}").format(sql.Identifier(name), sql.Literal(verifier)))
    port = execute.port  # type: ignore[attr-defined]
    place = {"engine": "postgres", "host": "127.0.0.1", "port": port, "dbname": "postgres"}
    return {"username": name, "password": password, **place}


def _verifier(name: str, password: str) -> str:
    return (
        PGconn.connect_start(b"host=/nowhere")
        .encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
        .decode()
    )


def test_a_rotation_of_secrets_manager_runs_from_inside_the_zip(
    invoked: Callable[..., Invoked], database: Callable[[Any], Any], stand_in: StandIn, tmp_path: Path
) -> None:
    pair = LoginPair.of("shop")
    for statement in setup_statements(pair, "shop_rotator"):
        database(statement)
    client = stand_in.client()
    old = role(database, pair.first, "old-password-of-the-application")
    rotator = role(database, "shop_rotator", "password-of-the-rotator")
    client.create_secret(Name="shop-prod-secret-rotator", SecretString=json.dumps(rotator))
    arn = client.create_secret(Name="shop-prod-secret-database", SecretString=json.dumps(old))["ARN"]
    plan = {
        "secret": arn,
        "strategy": "alternating-users",
        "group": "shop",
        "administrator": "shop-prod-secret-rotator",
    }
    environment = {**stand_in.environment(), "TEGATA_ROTATION": json.dumps(plan)}
    function = invoked(HANDLER, environment)

    def invoke(event: Any) -> None:
        answer = function(event)
        assert answer == {}, answer

    service = RotationService(stand_in)
    service.register(arn, invoke)
    token = client.rotate_secret(SecretId=arn, ClientRequestToken="0b51c9f4-1b1e-4a53-9a3b-1f0e6d2c7a55")["VersionId"]
    service.run()
    new = json.loads(client.get_secret_value(SecretId=arn)["SecretString"])
    labels = client.describe_secret(SecretId=arn)["VersionIdsToStages"]
    client.close()

    assert new["username"] == pair.second
    assert "AWSCURRENT" in labels[token]
    for login in (old, new):
        with psycopg.connect(
            host="127.0.0.1", port=login["port"], user=login["username"], password=login["password"], dbname="postgres"
        ) as connection:
            assert connection.execute("select current_user").fetchone() == ("shop",)
    keep(function.output)
    told = function.lines()
    assert [line["audit"] for line in told if "audit" in line] == [
        "rotation.created",
        "rotation.applied",
        "rotation.tested",
        "rotation.promoted",
    ]
    assert sum(line.get("RotationSucceeded", 0) for line in told) == 1
    refused = function({"SecretId": "another", "ClientRequestToken": token, "Step": "setSecret"})
    assert refused["errorType"] == "RotationRefused"


def test_a_function_without_plans_says_what_is_missing(invoked: Callable[..., Invoked]) -> None:
    event = {"SecretId": "s", "ClientRequestToken": "t" * 32, "Step": "createSecret"}
    answer = invoked(HANDLER, {"AWS_REGION": "eu-west-1"})(event)
    assert answer == {
        "errorType": "PlanError",
        "errorMessage": "TEGATA_ROTATION is not set: it names the secrets to rotate and how, as JSON",
    }


def test_figures_are_written_although_the_step_failed() -> None:
    out = io.StringIO()
    plan = '{"secret": "s", "strategy": "single-user", "administrator": "a"}'
    function = RotationFunction({"TEGATA_ROTATION": plan}, MemoryVersions(), observer=EmbeddedMetrics(out))
    with pytest.raises(SecretNotFound):
        function({"SecretId": "s", "ClientRequestToken": "t" * 32, "Step": "createSecret"})
    assert any("RotationFailed" in json.loads(line) for line in out.getvalue().splitlines())


def test_a_plan_that_is_wrong_repeats_no_value() -> None:
    for text in ('{"secret": "s", "strategy": "single-user", "password": "hunter2hunter2"}', "{"):
        with pytest.raises(PlanError) as caught:
            RotationFunction({"TEGATA_ROTATION": text}, MemoryVersions())
        assert "hunter2" not in str(caught.value)
