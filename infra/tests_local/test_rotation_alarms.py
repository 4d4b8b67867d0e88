"""What the alarms of secrets are counted from: the patterns with events, and the function that tells ages."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from deployed import ACCOUNT, REGION, Deployed
from metric_patterns import Pattern

from tegata_credentials.embedded_metrics import EmbeddedMetrics
from tegata_credentials.errors import SecretNotFound
from tegata_credentials.rotation.lambda_function import RotationFunction
from tegata_credentials.testing.secrets_manager import StandIn
from tegata_credentials.testing.version_store import MemoryVersions

ROTATED = ("tegata-production-secret-jwt", "idp-server/db-credentials")


@pytest.fixture(scope="module")
def production() -> Deployed:
    return Deployed.read("production")


@pytest.fixture(scope="module")
def counts(production: Deployed) -> Callable[[str, Any], bool]:
    """Say whether the filter behind a metric counts an event."""
    patterns = {
        each.properties["MetricTransformations"][0]["MetricName"]: Pattern(each.properties["FilterPattern"])
        for each in production.all("AWS::Logs::MetricFilter")
        if each.properties["MetricTransformations"][0]["MetricNamespace"] == "idp-server/Secrets"
    }
    return lambda metric, event: patterns[metric].counts(event)


def call(
    name: str = "GetSecretValue",
    secret: str | None = "tegata-production-secret-jwt",
    role: str | None = "Tegata-production-Service-ServerRole1A2B",
    **more: Any,
) -> dict[str, Any]:
    """An event of CloudTrail, with what the patterns look at (CloudTrail User Guide, "Record contents")."""
    session = {} if role is None else {"sessionContext": {"sessionIssuer": {"type": "Role", "userName": role}}}
    return {
        "eventSource": "secretsmanager.amazonaws.com",
        "eventName": name,
        "userIdentity": {"type": "IAMUser" if role is None else "AssumedRole", "accountId": ACCOUNT, **session},
        "requestParameters": None if secret is None else {"secretId": secret},
        **more,
    }


def test_a_failed_step_is_counted_from_the_line_that_the_kit_writes(counts: Callable[[str, Any], bool]) -> None:
    out = io.StringIO()
    plan = '{"secret": "s", "strategy": "single-user", "administrator": "a"}'
    function = RotationFunction({"TEGATA_ROTATION": plan}, MemoryVersions(), observer=EmbeddedMetrics(out))
    with pytest.raises(SecretNotFound):
        function({"SecretId": "s", "ClientRequestToken": "t" * 32, "Step": "createSecret"})
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [counts("RotationFailed", line) for line in lines].count(True) == 1
    assert not counts("RotationFailed", {"RotationSucceeded": 1})


@pytest.mark.parametrize("name", ["RotationFailed", "RotationAbandoned"])
def test_what_secrets_manager_itself_says_of_a_rotation_is_counted(
    counts: Callable[[str, Any], bool], name: str
) -> None:
    assert counts("RotationGivenUp", call(name, secret=None))
    assert not counts("RotationGivenUp", call("RotationSucceeded", secret=None))


def test_a_refusal_is_counted_though_it_does_not_say_of_which_secret(counts: Callable[[str, Any], bool]) -> None:
    for name in ("GetSecretValue", "BatchGetSecretValue"):
        for error in ("AccessDenied", "AccessDeniedException"):
            assert counts("SecretAccessDenied", call(name, secret=None, errorCode=error))
    assert not counts("SecretAccessDenied", call())
    assert not counts("SecretAccessDenied", call(errorCode="ResourceNotFoundException"))
    assert not counts("SecretAccessDenied", call("DescribeSecret", errorCode="AccessDenied"))


@pytest.mark.parametrize(
    "secret",
    [
        "tegata-production-secret-database",
        f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:idp-server/api-credentials-AbCdEf",
    ],
)
def test_reads_are_counted_by_name_and_by_arn(counts: Callable[[str, Any], bool], secret: str) -> None:
    assert counts("SecretReads", call(secret=secret))
    assert not counts("SecretReads", call(secret=secret, errorCode="AccessDenied"))


@pytest.mark.parametrize("secret", ["tegata-staging-secret-jwt", "idp-server-staging/api-credentials", "another"])
def test_other_environments_reads_are_not_counted(counts: Callable[[str, Any], bool], secret: str) -> None:
    assert not counts("SecretReads", call(secret=secret))
    assert not counts("SecretReadsByOthers", call(secret=secret, role="Administrator"))


@pytest.mark.parametrize(
    ("role", "is_stranger"),
    [
        ("Tegata-production-Service-ServerRole1A2B", False),
        ("Tegata-production-Secrets-RotationRole3C4D", False),
        ("Tegata-staging-Service-ServerRole1A2B", True),
        ("Administrator", True),
        (None, True),
    ],
)
def test_a_read_by_whoever_is_no_role_of_this_environment_is_counted(
    counts: Callable[[str, Any], bool], role: str | None, is_stranger: bool
) -> None:
    assert counts("SecretReadsByOthers", call(role=role)) == is_stranger


def test_every_role_of_this_environment_is_known_to_the_pattern(
    production: Deployed, counts: Callable[[str, Any], bool]
) -> None:
    for role in production.all("AWS::IAM::Role"):
        # CloudFormation gives a role its stack's name as a beginning.
        assert "RoleName" not in role.properties
        assert not counts("SecretReadsByOthers", call(role=f"{role.stack}-{role.id}-1A2B3C"))


@pytest.fixture(scope="module")
def store() -> Iterator[StandIn]:
    with StandIn(region=REGION) as started:
        yield started


@pytest.fixture
def tell_ages(production: Deployed, store: StandIn, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Any]]:
    """Run the function of the template, and return the lines that it writes."""
    function = production.one("AWS::Lambda::Function", FunctionName="tegata-production-rotation-ages").properties
    store.reset()
    for name, value in {**function["Environment"]["Variables"], **store.environment()}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    names: dict[str, Any] = {}
    exec(compile(function["Code"]["ZipFile"], "index.py", "exec"), names)

    def run() -> list[Any]:
        out = io.StringIO()
        with redirect_stdout(out):
            names["handler"]({}, None)
        return [json.loads(line) for line in out.getvalue().splitlines()]

    return run


def test_the_ages_of_all_rotated_secrets_are_told_as_the_alarms_ask_for_them(
    production: Deployed, store: StandIn, tell_ages: Callable[[], list[Any]]
) -> None:
    client = store.client()
    for name in ROTATED:
        client.create_secret(Name=name, SecretString="{}")
    client.close()
    lines = tell_ages()
    assert {line["Secret"] for line in lines} == set(ROTATED)
    assert all(0 <= line["SecretAgeDays"] < 1 for line in lines)
    assert {line["SecretCopiesFailed"] for line in lines} == {0}
    told = {(line["_aws"]["CloudWatchMetrics"][0]["Namespace"], "SecretAgeDays", line["Secret"]) for line in lines}
    asked = {
        (alarm["Namespace"], alarm["MetricName"], alarm["Dimensions"][0]["Value"]): alarm
        for alarm in (each.properties for each in production.all("AWS::CloudWatch::Alarm"))
        if alarm.get("MetricName") == "SecretAgeDays"
    }
    assert set(asked) == told
    assert {key[2]: alarm["Threshold"] for key, alarm in asked.items()} == dict(zip(ROTATED, (92, 32), strict=True))
    assert {alarm["TreatMissingData"] for alarm in asked.values()} == {"breaching"}


class SecretsManagerWithCopies:
    """A Secrets Manager whose secrets have a copy that is up to date, and one that could not be made so."""

    class exceptions:
        ClientError = KeyError

    def client(self, service: str) -> SecretsManagerWithCopies:
        assert service == "secretsmanager"
        return self

    def describe_secret(self, **_: str) -> dict[str, Any]:
        copies = [{"Region": "ap-northeast-3", "Status": "Failed"}, {"Region": "eu-west-1", "Status": "InSync"}]
        return {"CreatedDate": datetime.now(UTC), "ReplicationStatus": copies}


def test_a_copy_that_is_not_up_to_date_is_told_where_the_alarm_looks(
    production: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = production.one("AWS::Lambda::Function", FunctionName="tegata-production-rotation-ages").properties
    for name, value in function["Environment"]["Variables"].items():
        monkeypatch.setenv(name, value)
    names: dict[str, Any] = {}
    exec(compile(function["Code"]["ZipFile"], "index.py", "exec"), names)
    out = io.StringIO()
    with redirect_stdout(out):
        names["handler"].__globals__["boto3"] = SecretsManagerWithCopies()
        names["handler"]({}, None)
    line = json.loads(out.getvalue().splitlines()[0])
    (told,) = [
        each for each in line["_aws"]["CloudWatchMetrics"] if each["Metrics"] == [{"Name": "SecretCopiesFailed"}]
    ]
    (alarm,) = [
        each.properties
        for each in production.all("AWS::CloudWatch::Alarm")
        if each.properties.get("MetricName") == "SecretCopiesFailed"
    ]
    assert (alarm["Namespace"], alarm.get("Dimensions", [])) == (told["Namespace"], told["Dimensions"][0])
    assert line["SecretCopiesFailed"] >= alarm["Threshold"]


def test_a_secret_that_is_gone_fails_the_run_after_the_others_were_told(
    store: StandIn, tell_ages: Callable[[], list[Any]]
) -> None:
    client = store.client()
    client.create_secret(Name=ROTATED[1], SecretString="{}")
    client.close()
    with pytest.raises(RuntimeError, match="tegata-production-secret-jwt: ResourceNotFoundException"):
        tell_ages()


class TestThePatterns:
    def test_what_is_not_there_equals_nothing_and_differs_from_nothing(self) -> None:
        assert not Pattern('{ $.a = "x" }').counts({})
        assert not Pattern('{ $.a != "x" }').counts({})
        assert Pattern("{ $.a NOT EXISTS }").counts({})

    @pytest.mark.parametrize("text", ["word", '{ $.a IS "x" }', '{ ($.a = "x" }'])
    def test_what_is_not_known_is_refused(self, text: str) -> None:
        with pytest.raises((ValueError, IndexError)):
            Pattern(text).counts({"a": "x"})
