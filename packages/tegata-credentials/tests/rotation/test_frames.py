"""Error reports show the local variables of frames: none of those that a failure leaves behind holds a value."""

from __future__ import annotations

import json
import traceback
from types import SimpleNamespace
from typing import Any

import pytest

from tegata_credentials.errors import CredentialError, SecretMalformed
from tegata_credentials.rotation.aws_store import AwsVersions
from tegata_credentials.rotation.driver import RotationDriver
from tegata_credentials.rotation.postgres import Administrator, AlternatingUsers, LoginPair
from tegata_credentials.rotation.postgres.psycopg_sessions import PsycopgSessions
from tegata_credentials.rotation.steps import Rotation
from tegata_credentials.testing.version_store import MemoryVersions
from tegata_credentials.token_state import HiddenText

VALUE = "framed-0123456789abcdef"


def shown(error: BaseException) -> str:
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


class Answers:
    """A client of Secrets Manager whose secret is no text."""

    meta = SimpleNamespace(region_name="eu-west-1", events=SimpleNamespace(register=lambda *_, **__: None))

    def get_secret_value(self, **_which: Any) -> dict[str, Any]:
        return {"SecretString": VALUE + "\0", "VersionId": "v1", "ARN": "arn", "VersionStages": ["AWSCURRENT"]}


class Loses(Answers):
    """One that loses the answer to a change as well."""

    def put_secret_value(self, **_what: Any) -> None:
        raise TimeoutError


@pytest.mark.parametrize(
    "act",
    [
        lambda: AwsVersions(Answers()).read("shop"),
        lambda: AwsVersions(Loses()).put_pending("shop", "0b51", HiddenText(VALUE)),
    ],
    ids=["a read", "a look at what a lost answer has done"],
)
def test_a_version_that_cannot_be_read_shows_nothing_of_itself(act):
    with pytest.raises(CredentialError) as failed:
        act()
    assert VALUE not in shown(failed.value)


def test_a_way_back_that_is_no_login_shows_nothing_of_itself():
    store = MemoryVersions()
    place = {"host": "127.0.0.1", "port": 1}
    arn = store.add("shop", {"username": "app_a", "password": VALUE, "host": "127.0.0.1", "port": "none"})
    first = store.labels(arn).holder("AWSCURRENT")
    store.put_pending(arn, "0b51", HiddenText(json.dumps({"username": "app_b", "password": VALUE, **place})))
    store.promote(arn, "0b51", replacing=first)
    strategy = AlternatingUsers(PsycopgSessions(), LoginPair.of("app"), Administrator(store, "nobody"))
    driver = RotationDriver(store, Rotation(store, {arn: strategy}), pause=lambda _: None)
    with pytest.raises(SecretMalformed) as failed:
        driver.rollback(arn)
    assert VALUE not in shown(failed.value)
