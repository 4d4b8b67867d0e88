"""The zips of the rotation function: small enough, built for the right machine, and working from inside themselves."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from artefact.local import FunctionProcess
from artefact.target import Target
from tegata.testing.password_server import PasswordServer, password_server
from tegata_credentials.embedded_metrics import EmbeddedMetrics
from tegata_credentials.errors import SecretNotFound
from tegata_credentials.rotation.lambda_function import RotationFunction
from tegata_credentials.rotation.plans import PlanError
from tegata_credentials.rotation.postgres.pair import LoginPair
from tegata_credentials.rotation.postgres.setup import setup_statements
from tegata_credentials.testing.outputs import keep
from tegata_credentials.testing.secrets_manager import RotationService, StandIn
from tegata_credentials.testing.version_store import MemoryVersions

HANDLER = "tegata_credentials.rotation.lambda_function.handler"
MACHINES = {"x86_64": 62, "arm64": 183}  # e_machine of ELF
MOST_BYTES = 20_000_000


@pytest.mark.parametrize("architecture", MACHINES)
def test_the_zip_is_small_and_everything_native_in_it_is_for_that_machine(
    architecture: str, built: Callable[[Target], Path], count: Callable[..., None]
) -> None:
    path = built(Target(architecture, "3.13"))
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
    invoked: Callable[..., FunctionProcess], unpacked: Path, runtime: Path, count: Callable[..., None]
) -> None:
    started = invoked(HANDLER, {}).started
    site = [place for place in started["places"] if "site-packages" in place and "/lib/python3" in place]
    linked = {path.name for path in runtime.iterdir()}
    assert all(Path(place).relative_to(unpacked) for place in started["places"] if "tegata_credentials" in place)
    assert [place for place in site if not linked & set(Path(place).parts)] == []
    count("rotation function", milliseconds_of_CPU_to_import_the_handler=round(started["seconds"] * 1000))


@pytest.fixture(scope="module")
def database() -> Iterator[PasswordServer]:
    with password_server() as server:
        yield server


def test_a_rotation_of_secrets_manager_runs_from_inside_the_zip(
    invoked: Callable[..., FunctionProcess], database: PasswordServer, stand_in: StandIn, tmp_path: Path
) -> None:
    pair = LoginPair.of("shop")
    for statement in setup_statements(pair, "shop_rotator"):
        database.execute(statement)
    client = stand_in.client()
    old = database.give_password(pair.first)
    rotator = database.give_password("shop_rotator")
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
    assert [database.lets_in(login) for login in (old, new)] == ["shop", "shop"]
    keep(function.output)
    told = function.lines()
    assert [line["audit"] for line in told if "audit" in line] == [
        "rotation.created",
        "secret.read",
        "rotation.applied",
        "rotation.tested",
        "rotation.promoted",
    ]
    assert [line["secret"] for line in told if line.get("audit") == "secret.read"] == ["shop-prod-secret-rotator"]
    assert sum(line.get("RotationSucceeded", 0) for line in told) == 1
    refused = function({"SecretId": "another", "ClientRequestToken": token, "Step": "setSecret"})
    assert refused["errorType"] == "RotationRefused"


def test_a_function_without_plans_says_what_is_missing(invoked: Callable[..., FunctionProcess]) -> None:
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
