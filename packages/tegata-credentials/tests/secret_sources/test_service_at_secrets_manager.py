"""A service over Secrets Manager's stand-in: what really goes over HTTP, and what CloudWatch is told of it."""

from __future__ import annotations

import asyncio
import io
import json
import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tegata_credentials.embedded_metrics import EmbeddedMetrics
from tegata_credentials.errors import SecretAccessDenied, SecretNotFound, SecretThrottled
from tegata_credentials.secret_service import CachePolicy, Login, SecretNames, SecretService
from tegata_credentials.sources.aws_secrets_manager import AwsSecretsManager
from tegata_credentials.sources.environment import Environment
from tegata_credentials.sources.references import ReferencedSecrets
from tegata_credentials.testing.secrets_manager import StandIn
from tegata_credentials.testing.secrets_manager.faults import ACCESS_DENIED, THROTTLED

CROWD = 1_000
UNHURRIED = CachePolicy(fetch_timeout=60.0)  # the SDK alone pauses for up to seven seconds between four calls
DATABASE, JWT = "shop-dev-secret-database", "shop-dev-secret-jwt"


@pytest.fixture
def source(stand_in: StandIn) -> Iterator[AwsSecretsManager]:
    session = boto3.Session("AKIASTANDIN", "not-a-key", region_name=stand_in.region)
    made = AwsSecretsManager(session=session, endpoint_url=stand_in.endpoint_url, connect_timeout=60, read_timeout=60)
    yield made
    made.close()


@pytest.fixture
def password(stand_in: StandIn) -> str:
    made = secrets.token_urlsafe(32)
    client = stand_in.client()
    client.create_secret(Name=DATABASE, SecretString=json.dumps({"username": "app_a", "password": made}))
    client.close()
    stand_in.calls.clear()
    return made


def test_a_thousand_threads_that_read_first_cause_one_call(
    stand_in: StandIn, source: AwsSecretsManager, password: str
) -> None:
    service, found = SecretService(source, policy=UNHURRIED), list[str]()
    barrier = threading.Barrier(CROWD)

    def read() -> None:
        barrier.wait()
        found.append(service.get(DATABASE, Login).username)

    before = threading.stack_size(256 * 1024)
    try:
        threads = [threading.Thread(target=read) for _ in range(CROWD)]
        for thread in threads:
            thread.start()
    finally:
        threading.stack_size(before)
    for thread in threads:
        thread.join()
    service.close()
    assert found == ["app_a"] * CROWD
    assert stand_in.calls.operations() == ["GetSecretValue"]


def test_a_thousand_tasks_that_read_first_cause_one_call(
    stand_in: StandIn, source: AwsSecretsManager, password: str
) -> None:
    service = SecretService(source, policy=UNHURRIED)

    async def crowd() -> list[Login]:
        return await asyncio.gather(*(service.aget(DATABASE, Login) for _ in range(CROWD)))

    found = asyncio.run(crowd())
    service.close()
    assert [login.username for login in found] == ["app_a"] * CROWD
    assert stand_in.calls.operations() == ["GetSecretValue"]


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def total(out: io.StringIO, name: str) -> float:
    values = [line[name] for line in lines(out) if name in line]
    return sum(sum(value) if isinstance(value, list) else value for value in values)


def test_cloudwatch_is_told_of_reads_failures_calls_and_durations(
    stand_in: StandIn, source: AwsSecretsManager, password: str, until: Any
) -> None:
    out = io.StringIO()
    with EmbeddedMetrics(out) as observer:
        service = SecretService(source, names=SecretNames("shop", "dev"), observer=observer, policy=UNHURRIED)
        for _ in range(3):
            service.get("database", Login)
        with pytest.raises(SecretNotFound):
            service.get_version("missing")
        stand_in.faults.always("GetSecretValue", THROTTLED, secret=JWT)
        with pytest.raises(SecretThrottled):
            service.get_version("jwt")
        stand_in.faults.always("GetSecretValue", ACCESS_DENIED, secret="forbidden")
        with pytest.raises(SecretAccessDenied):
            service.get_version("forbidden")
        # The thread that has fetched tells after whoever waited has the answer.
        until(lambda: Counter(line.get("audit") for line in lines(out))["secret.read_failed"] == 3)
        service.close()
    assert total(out, "SecretFetchSucceeded") == 1
    assert Counter(line["reason"] for line in lines(out) if "SecretFetchFailed" in line) == Counter(
        ["not_found", "throttled", "access_denied"]
    )
    assert total(out, "SecretFetchThrottled") == 1
    assert total(out, "SecretCacheHits") == 2
    assert total(out, "SecretStoreCalls") == len(stand_in.calls) == 1 + 1 + 4 + 1
    assert total(out, "SecretFetchDuration") > 0
    audited = [line for line in lines(out) if "audit" in line]
    assert [(line["audit"], line["secret"], line.get("reason", "")) for line in audited] == [
        ("secret.read", DATABASE, ""),
        ("secret.read_failed", "missing", "not_found"),
        ("secret.read_failed", JWT, "throttled"),
        ("secret.read_failed", "forbidden", "access_denied"),
    ]
    assert password not in out.getvalue()


def test_calls_are_counted_through_references_and_none_for_what_is_on_this_machine(
    stand_in: StandIn, source: AwsSecretsManager, password: str, until: Any
) -> None:
    out = io.StringIO()
    with EmbeddedMetrics(out) as observer:
        both = ReferencedSecrets({"awssm": source, "env": Environment({"KEY": "k"})})
        service = SecretService(both, observer=observer, policy=UNHURRIED)
        batch = service.get_many([f"awssm:{DATABASE}", f"awssm:{JWT}", "env:KEY"])
        assert batch["env:KEY"].text == "k"
        service.close()
        until(lambda: Counter(line.get("audit") for line in lines(out)) == {"secret.read": 2, "secret.read_failed": 1})
    assert total(out, "SecretStoreCalls") == len(stand_in.calls) == 1
