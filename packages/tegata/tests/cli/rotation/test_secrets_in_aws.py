"""`tegata secrets` where the secrets are in AWS Secrets Manager: its stand-in, and a real database."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tegata.testing.password_server import HOST
from tegata_credentials.testing.outputs import remember
from tegata_credentials.testing.secrets_manager import LOST_RESPONSE, THROTTLED, StandIn

from .conftest import Place

NAME = "tegata-test-secret-database"


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    with StandIn() as made:
        yield made


@pytest.fixture
def in_aws(place: Place, stand_in: StandIn) -> Iterator[Place]:
    """The application's secret in AWS: its first value is nobody's, and the rotation makes one that works."""
    stand_in.reset()
    client = stand_in.client()
    value = {"username": "tegata_app_b", "password": "nobodys", "engine": "postgres", "host": HOST}
    value |= {"port": place.admin.port, "dbname": place.admin.database}
    client.create_secret(Name=NAME, SecretString=json.dumps(value))
    rotator = place.store.read("rotator").text
    client.create_secret(Name="tegata-test-secret-rotator", SecretString=str(rotator))
    place.settings |= stand_in.environment() | {
        "TEGATA_DATABASE_SECRET": f"awssm:{NAME}",
        "TEGATA_MAINTENANCE_DATABASE_SECRET": "",
        "TEGATA_ROTATION_ADMINISTRATOR": "awssm:tegata-test-secret-rotator",
    }
    yield place
    for version in client.list_secret_version_ids(SecretId=NAME)["Versions"]:
        text = client.get_secret_value(SecretId=NAME, VersionId=version["VersionId"])["SecretString"]
        remember(json.loads(text)["password"])
    client.close()


def current(stand_in: StandIn) -> dict[str, object]:
    client = stand_in.client()
    text = client.get_secret_value(SecretId=NAME)["SecretString"]
    client.close()
    found: dict[str, object] = json.loads(text)
    return found


def test_a_secret_in_aws_is_rotated_and_its_age_is_known(in_aws: Place, stand_in: StandIn) -> None:
    done = in_aws.run("secrets", "rotate", "database")
    assert done.exit_code == 0, done.output
    value = current(stand_in)
    assert value["username"] == "tegata_app_a"
    assert in_aws.logs_in(value)
    (told,) = json.loads(in_aws.run("secrets", "status", "--json").stdout)["secrets"]
    assert (told["secret"], told["due_at"] is not None) == (f"awssm:{NAME}", True)
    newest = next(label for label in told["labels"] if label["label"] == "AWSCURRENT")
    assert (newest["works"], newest["age_seconds"] < 3600) == (True, True)
    assert in_aws.run("secrets", "rotate", "--due").output == "database: not due\n"


def test_lost_answers_and_throttling_rotate_once(in_aws: Place, stand_in: StandIn) -> None:
    stand_in.faults.next("PutSecretValue", LOST_RESPONSE)
    stand_in.faults.next("UpdateSecretVersionStage", THROTTLED)
    stand_in.faults.next("DescribeSecret", THROTTLED)
    done = in_aws.run("secrets", "rotate", "--due", TEGATA_ROTATION_DAYS="0.0000001")
    assert done.exit_code == 0, done.output
    assert in_aws.logs_in(current(stand_in))


def test_a_secret_that_nobody_may_read_needs_a_person(in_aws: Place) -> None:
    refused = in_aws.run("secrets", "rotate", "database", TEGATA_DATABASE_SECRET="awssm:another")
    assert refused.exit_code == 1
    assert "not_found" in refused.output
