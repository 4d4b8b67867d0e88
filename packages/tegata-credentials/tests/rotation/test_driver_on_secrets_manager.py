"""The driver against Secrets Manager's stand-in: what is not Lambda's does not get into the way of what is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from tegata_credentials.rotation.aws_store import AwsVersions
from tegata_credentials.rotation.driver import RotationDriver
from tegata_credentials.rotation.generic_token import GenericToken
from tegata_credentials.rotation.steps import Rotation
from tegata_credentials.testing.secrets_manager import LOST_RESPONSE, THROTTLED
from tegata_credentials.versions import CURRENT, PENDING, PREVIOUS

NAME = "shop-test-secret-mail"
LAMBDA = "arn:aws:lambda:eu-west-1:123456789012:function:rotation"


@dataclass
class Scene:
    stand_in: Any
    store: AwsVersions
    driver: RotationDriver
    arn: str

    def holder(self, label: str) -> str | None:
        return self.store.labels(NAME).holder(label)

    def is_at_rest(self) -> bool:
        """Secrets Manager may leave AWSPENDING on the version that is current: there it says nothing."""
        labels = self.store.labels(NAME)
        return labels.holder(PENDING) in (None, labels.holder(CURRENT)) and labels.holder(PREVIOUS) is not None


@pytest.fixture
def scene(stand_in: Any) -> Iterator[Scene]:
    client = stand_in.client()
    arn = client.create_secret(Name=NAME, SecretString='{"apiKey": "key-0"}')["ARN"]
    client.close()
    session = boto3.Session("AKIASTANDIN", "not-a-key", region_name=stand_in.region)
    store = AwsVersions(session=session, endpoint_url=stand_in.endpoint_url)
    strategy = GenericToken(lambda request: f"key-{request}", lambda key: True, member="apiKey")
    driver = RotationDriver(store, Rotation(store, {NAME: strategy}), pause=lambda seconds: None)
    yield Scene(stand_in, store, driver, arn)
    store.close()


def test_rotation_rollback_and_rotation_follow_each_other(scene):
    first = scene.holder(CURRENT)
    token = scene.driver.rotate(NAME).token
    assert (scene.holder(CURRENT), scene.holder(PREVIOUS)) == (token, first)
    scene.driver.rollback(NAME)
    assert (scene.holder(CURRENT), scene.holder(PREVIOUS)) == (first, token)
    last = scene.driver.rotate(NAME)
    assert (last.state, last.resumed, scene.holder(CURRENT)) == ("rotated", False, last.token)


@pytest.mark.parametrize("act", ["rotate", "rollback"])
def test_secrets_manager_itself_may_rotate_after_us(scene, act):
    scene.driver.rotate(NAME)
    if act == "rollback":
        scene.driver.rollback(NAME)
    assert scene.is_at_rest()
    scene.stand_in.set_rotation_lambda(NAME, LAMBDA)
    client = scene.stand_in.client()
    announced = client.rotate_secret(SecretId=NAME)["VersionId"]
    client.close()
    # What Secrets Manager has announced, and Lambda has not done, the driver can finish.
    outcome = scene.driver.rotate(NAME)
    assert (outcome.state, outcome.resumed, outcome.token) == ("rotated", True, announced)


@pytest.mark.parametrize(
    ("call", "fault"),
    [("PutSecretValue", LOST_RESPONSE), ("UpdateSecretVersionStage", LOST_RESPONSE), ("GetSecretValue", THROTTLED)],
    ids=["a lost reply to a new version", "a lost reply to a moved label", "a throttled read"],
)
def test_a_fault_of_the_store_does_not_reach_whoever_rotates(scene, call, fault):
    scene.stand_in.faults.next(call, fault)
    outcome = scene.driver.rotate(NAME)
    assert outcome.state == "rotated"
    assert scene.is_at_rest()
    scene.stand_in.faults.next(call, fault)
    assert scene.driver.rollback(NAME).state == "returned"
    assert scene.is_at_rest()
