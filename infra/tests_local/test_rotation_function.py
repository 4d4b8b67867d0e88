"""The rotation function from its zip, with the variables that the templates give it, at a real PostgreSQL.

Secrets Manager is the kit's stand-in, which carries the four steps out; the secrets in it are those of the templates,
made as CloudFormation makes them. What is replaced: addresses, and the machine and Python for which the zip is built.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from deployed import REGION, Deployed
from function_process import FunctionProcess, link_runtime, unpack_zip
from psycopg import sql

from tegata.postgres.bootstrap import LOGINS, Plan, bootstrap
from tegata.testing.password_server import HOST, PasswordServer, password_server
from tegata_credentials.rotation.postgres.scram import scram_verifier
from tegata_credentials.rotation.signing_ring import published_keys
from tegata_credentials.secret_service.models import JwtSecret
from tegata_credentials.testing.secrets_manager import RotationService, StandIn

STEPS = ["rotation.created", "rotation.applied", "rotation.tested", "rotation.promoted"]
DATABASE = "idpserver"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack_zip(tmp_path_factory.mktemp("zip"))


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return link_runtime(tmp_path_factory.mktemp("lambda") / "runtime")


@pytest.fixture(scope="module")
def store() -> Iterator[StandIn]:
    with StandIn(region=REGION) as started:
        yield started


@pytest.fixture(scope="module")
def server() -> Iterator[PasswordServer]:
    """A PostgreSQL with the master user of RDS's kind: no superuser, and whatever passwords secrets are given."""
    with password_server() as started:
        started.execute("create role idpserver login createdb createrole")
        started.execute("create database idpserver owner idpserver")
        bootstrap(started.admin.in_database(DATABASE), Plan(alternating=True))
        with psycopg.connect(started.admin.in_database(DATABASE).psycopg_conninfo(), autocommit=True) as connection:
            # What the canary asks of a migrated database, and nothing more.
            connection.execute("create table tegata.client ()")
            connection.execute("grant select on tegata.client to tegata_app, tegata_maint")
        yield started


@dataclass
class Environment:
    """One environment as its templates say, and its rotation function."""

    deployed: Deployed
    service: RotationService
    function: FunctionProcess
    client: Any
    server: PasswordServer

    def value(self, secret: str, stage: str = "AWSCURRENT") -> dict[str, Any]:
        return dict(json.loads(self.client.get_secret_value(SecretId=secret, VersionStage=stage)["SecretString"]))

    def give_login(self, secret: str) -> None:
        """Set a role's password to what CloudFormation has generated, as RDS and the bootstrap do."""
        held = self.value(secret)
        verifier = sql.Literal(str(scram_verifier(held["password"])))
        statement = sql.SQL("alter role {} password {}").format(sql.Identifier(held["username"]), verifier)
        self.server.execute(statement)

    def rotate(self, secret: str, *, is_immediate: bool = True) -> list[str]:
        """Have Secrets Manager rotate; return what the function says that it did."""
        before = len(self.function.lines())
        self.service.rotate(secret, is_immediate=is_immediate)
        return [line["audit"] for line in self.function.lines()[before:] if "audit" in line]

    def schedules(self) -> dict[str, bool]:
        """The names of the secrets that are rotated, and whether that begins with the deployment."""
        names = {arn: name for name, arn in self.deployed.arns.items()}
        return {
            names[each.properties["SecretId"]]: each.properties["RotateImmediatelyOnUpdate"]
            for each in self.deployed.all("AWS::SecretsManager::RotationSchedule")
        }


@pytest.fixture
def deploy(
    unpacked: Path, runtime: Path, store: StandIn, server: PasswordServer, tmp_path: Path
) -> Iterator[Callable[..., Environment]]:
    """Make the secrets of some templates, and start their function."""
    running: list[Environment] = []
    store.reset()

    def start(deployed: Deployed) -> Environment:
        client = store.client()
        place = {"engine": "postgres", "host": HOST, "port": server.port, "dbname": DATABASE}
        deployed.make_secrets(client, place)
        template = deployed.one("AWS::Lambda::Function", FunctionName="tegata-production-rotation").properties
        variables = template["Environment"]["Variables"]
        assert all(isinstance(value, str) for value in variables.values())
        function = FunctionProcess(
            unpacked, runtime, template["Handler"], {**variables, **store.environment()}, tmp_path / "log"
        )
        service = RotationService(store)
        made = Environment(deployed, service, function, client, server)
        running.append(made)

        def invoke(event: Any) -> None:
            answer = function(event)
            assert answer == {}, answer

        for schedule in deployed.all("AWS::SecretsManager::RotationSchedule"):
            service.register(schedule.properties["SecretId"], invoke)
        return made

    yield start
    for each in running:
        each.function.stop()
        each.client.close()


def test_the_administrator_s_own_login_is_tried_with_the_deployment_and_rotated_after_it(
    deploy: Callable[..., Environment],
) -> None:
    environment = deploy(Deployed.read("production"))
    secret = "idp-server/db-credentials"
    environment.give_login(secret)
    before = environment.value(secret)
    assert environment.schedules()[secret] is False
    assert environment.rotate(secret, is_immediate=False) == ["rotation.tested"]
    assert environment.value(secret) == before

    assert [word for word in environment.rotate(secret) if word != "secret.read"] == STEPS
    after = environment.value(secret)
    assert {name: after[name] for name in before if name != "password"} == {
        name: before[name] for name in before if name != "password"
    }
    assert environment.server.lets_in(after) == "idpserver"
    assert environment.server.lets_in(before) is None
    said = json.dumps(environment.function.lines())
    assert "RotationSucceeded" in said
    assert not [value for value in (before, after) if value["password"] in said]


def test_the_first_rotation_of_the_keys_makes_a_ring_of_key_pairs(deploy: Callable[..., Environment]) -> None:
    environment = deploy(Deployed.read("production"))
    secret = "tegata-production-secret-jwt"
    assert environment.schedules()[secret] is True
    assert environment.rotate(secret) == STEPS
    value = environment.value(secret)
    found = JwtSecret.model_validate(value)
    assert (found.algorithm, found.issuer, found.expires_in) == ("ES256", "tegata-production", "1h")
    assert found.active.kid in [key["kid"] for key in published_keys(value)["keys"]]
    assert {key["alg"] for key in found.jwks()["keys"]} == {"ES256"}


def test_nothing_but_what_is_scheduled_is_rotated(deploy: Callable[..., Environment]) -> None:
    environment = deploy(Deployed.read("production"))
    assert set(environment.schedules()) == {"idp-server/db-credentials", "tegata-production-secret-jwt"}
    plans = json.loads(
        environment.deployed.one("AWS::Lambda::Function", FunctionName="tegata-production-rotation").properties[
            "Environment"
        ]["Variables"]["TEGATA_ROTATION"]
    )
    assert {plan["secret"] for plan in plans} == set(environment.schedules())
    for name, arn in environment.deployed.arns.items():
        if name not in environment.schedules():
            event = {"SecretId": arn, "ClientRequestToken": "5f1c0c5e-0000-4000-8000-000000000000", "Step": "setSecret"}
            assert environment.function(event)["errorType"] == "RotationRefused", name


def test_tegata_s_logins_take_turns_where_they_have_passwords(deploy: Callable[..., Environment]) -> None:
    environment = deploy(Deployed.read_with_passwords())
    environment.give_login("tegata-production-secret-rotator")
    roles = {
        "tegata-production-secret-database": "tegata_app",
        "tegata-production-secret-maintenance-database": "tegata_maint",
        "tegata-production-secret-migration-database": "tegata_migrator",
    }
    assert set(roles.values()) == set(LOGINS)
    assert set(roles) < set(environment.schedules())
    for secret, role in roles.items():
        assert [word for word in environment.rotate(secret) if word != "secret.read"] == STEPS
        first = environment.value(secret)
        environment.rotate(secret)
        second = environment.value(secret)
        assert [first["username"], second["username"]] == [f"{role}_a", f"{role}_b"]
        # The one before stays good for a whole period.
        assert [environment.server.lets_in(value) for value in (first, second)] == [role, role]
