"""The whole of it: Secrets Manager's stand-in over HTTP, its rotation service, and a real PostgreSQL."""

from __future__ import annotations

import json

import boto3
import pytest

from tegata_credentials.rotation.aws_store import AwsVersions
from tegata_credentials.rotation.errors import RotationBusy
from tegata_credentials.rotation.postgres import Administrator, AlternatingUsers
from tegata_credentials.rotation.steps import Rotation
from tegata_credentials.testing.secrets_manager import (
    CUT_BEFORE,
    DUPLICATED,
    INTERNAL_ERROR,
    LOST_RESPONSE,
    InvocationFailed,
    RotationService,
)

from .cases import Watcher
from .worlds import HOST, UNHURRIED, make_pair

NAME = "acme-prod-secret-database"


class Account:
    """A secret in the stand-in that opens a database, and the function that rotates it."""

    def __init__(self, stand_in, server):
        self.stand_in, self.server = stand_in, server
        self.client = stand_in.client()
        self.pair, rotator, secret = make_pair(server)
        self.place = {"engine": "postgres", "host": HOST, "port": server.port, "dbname": "postgres"}
        first = {"username": self.pair.first, "password": "begin-0123456789abcdef-0123456789", **self.place}
        server.set_password(self.pair.first, first["password"])
        master = json.dumps({"username": rotator, "password": secret, **self.place})
        self.client.create_secret(Name="acme-prod-secret-rotator", SecretString=master)
        self.client.create_secret(Name=NAME, SecretString=json.dumps(first))
        session = boto3.Session("AKIAROTATION", "not-a-key", region_name=stand_in.region)
        self.store = AwsVersions(session=session, endpoint_url=stand_in.endpoint_url)
        administrator = Administrator(self.store, "acme-prod-secret-rotator")
        self.watcher = Watcher()
        strategies = {NAME: AlternatingUsers(UNHURRIED, self.pair, administrator)}
        rotation = Rotation(self.store, strategies, observer=self.watcher)
        self.service = RotationService(stand_in)
        self.service.register(NAME, rotation.handle)
        stand_in.calls.clear()

    def value(self, stage="AWSCURRENT"):
        found = json.loads(self.client.get_secret_value(SecretId=NAME, VersionStage=stage)["SecretString"])
        self.server.secrets.add(found["password"])
        return found

    def close(self):
        self.store.close()
        self.client.close()


@pytest.fixture
def account(stand_in, server):
    made = Account(stand_in, server)
    yield made
    made.close()


def test_secrets_manager_rotates_and_both_logins_work(account):
    before = account.value()
    token = account.service.rotate(NAME)
    after = account.value()
    assert account.client.get_secret_value(SecretId=NAME)["VersionId"] == token
    assert after["username"] == account.pair.second
    assert account.value("AWSPREVIOUS") == before
    assert account.server.lets_in(after)
    assert account.server.lets_in(before)
    account.service.rotate(NAME)
    assert account.server.lets_in(account.value())


def test_each_request_to_secrets_manager_is_counted_retries_too(account):
    account.stand_in.faults.next("PutSecretValue", INTERNAL_ERROR)
    account.service.rotate(NAME)
    told = {facts["step"]: value for name, value, _, facts in account.watcher.metrics if name == "SecretStoreCalls"}
    assert list(told) == ["createSecret", "setSecret", "testSecret", "finishSecret"]
    assert sum(told.values()) == account.stand_in.calls.count(principal="AKIAROTATION")


def test_a_trial_of_the_configuration_changes_nothing(account):
    """RotateSecret with RotateImmediately=false runs testSecret only."""
    before = account.value()
    account.service.rotate(NAME, is_immediate=False)
    assert [event["Step"] for event in account.service.delivered] == ["testSecret"]
    assert account.value() == before
    assert account.server.verifier_of(account.pair.second) is None
    account.service.rotate(NAME)


READS = [(call, INTERNAL_ERROR) for call in ("DescribeSecret", "GetSecretValue")]
WRITES = [
    (call, fault)
    for call in ("PutSecretValue", "UpdateSecretVersionStage")
    for fault in (INTERNAL_ERROR, LOST_RESPONSE, CUT_BEFORE, DUPLICATED)
]


@pytest.mark.parametrize(("call", "fault"), READS + WRITES, ids=lambda value: getattr(value, "name", value))
def test_one_fault_of_any_call_is_not_noticed(account, call, fault):
    before = account.value()
    account.stand_in.faults.next(call, fault)
    token = account.service.rotate(NAME)
    assert account.client.get_secret_value(SecretId=NAME)["VersionId"] == token
    assert account.server.lets_in(account.value())
    assert account.server.lets_in(before)


@pytest.mark.parametrize("call", ["PutSecretValue", "UpdateSecretVersionStage"])
def test_a_call_that_fails_for_good_fails_the_step_and_the_rotation_is_completed_later(account, call):
    before = account.value()
    account.stand_in.faults.next(call, INTERNAL_ERROR, principal="AKIAROTATION", times=4)
    with pytest.raises(InvocationFailed):
        account.service.rotate(NAME)
    assert account.value() == before
    assert account.server.lets_in(before)
    account.service.run()
    assert account.value()["username"] == account.pair.second
    assert account.server.lets_in(account.value())


@pytest.mark.parametrize("step", ["createSecret", "setSecret", "testSecret", "finishSecret"])
def test_a_step_that_is_delivered_three_times_at_once_is_done_once(account, step):
    before = account.value()
    token = account.service.begin(NAME)
    while account.service.events[0]["Step"] != step:
        account.service.deliver_next()
    outcomes = account.service.deliver_together(*[account.service.events[0]] * 3)
    assert all(outcome is None or isinstance(outcome, RotationBusy) for outcome in outcomes)
    assert None in outcomes
    account.service.run()
    assert account.client.get_secret_value(SecretId=NAME)["VersionId"] == token
    assert account.server.lets_in(account.value())
    assert account.server.lets_in(before)
