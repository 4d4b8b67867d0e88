"""What `doctor --secret` finds at a store that keeps AWS's contract, in files, and on the way there."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config

from tegata_credentials.doctor import REASONS, Report, examine_secrets
from tegata_credentials.doctor.secret_store import judge_file, judge_labels
from tegata_credentials.sources.aws_secrets_manager import AwsSecretsManager
from tegata_credentials.testing.secrets_manager import ACCESS_DENIED, THROTTLED, UNAVAILABLE

VALUE = "value-that-no-doctor-shows-1f6b"
DATABASE = {"username": "app_a", "password": VALUE, "host": "db.example.com", "dbname": "shop"}
NAME = "shop-prod-secret-database"


@pytest.fixture
def store(stand_in: Any, clean_environment: pytest.MonkeyPatch) -> AwsSecretsManager:
    """A store at the stand-in, for an identity that the environment describes."""
    clean_environment.setenv("AWS_ACCESS_KEY_ID", "AKIASTANDIN")
    clean_environment.setenv("AWS_SECRET_ACCESS_KEY", "x")
    clean_environment.setenv("AWS_REGION", stand_in.region)
    return AwsSecretsManager(endpoint_url=stand_in.endpoint_url)


@pytest.fixture
def client(stand_in: Any) -> Any:
    made = stand_in.client()
    yield made
    made.close()


def examined(store: AwsSecretsManager, *names: str, **more: Any) -> Report:
    report = examine_secrets(names, store=store, **more)
    assert VALUE not in report.text() + report.json()
    return report


def results(report: Report) -> dict[str, str]:
    return {check.id: check.result for check in report.checks}


def test_all_is_well(store, client):
    client.create_secret(Name=NAME, SecretString=json.dumps(DATABASE))
    report = examined(store, NAME)
    assert report.is_healthy, report.text()
    ids = ["region", "identity", "endpoint", "read", "shape", "labels", "rotation", "batch"]
    assert results(report) == dict.fromkeys(ids, "ok")
    assert f"awssm:{NAME} holds what a database secret must hold" in report.text()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (json.dumps({"username": "app_a", "password": VALUE}), "secret_malformed"),
        (VALUE, "secret_malformed"),
        (json.dumps({**DATABASE, "port": VALUE}), "secret_malformed"),
    ],
    ids=["without host", "no JSON", "a port that is none"],
)
def test_a_secret_of_another_shape_is_found_and_its_fields_named(store, client, text, reason):
    client.create_secret(Name=NAME, SecretString=text)
    assert examined(store, NAME).reasons == (reason,)


def test_the_shape_may_be_given_for_names_that_do_not_tell(store, client):
    client.create_secret(Name="other", SecretString=VALUE)
    assert examined(store, "other").is_healthy
    assert examined(store, "other", shape="json").reasons == ("secret_malformed",)


def test_each_secret_has_its_own_finding(store, client):
    client.create_secret(Name="present", SecretString=VALUE)
    report = examined(store, "present", "absent", "env:ABSENT", f"value:{VALUE}")
    assert report.reasons == ("secret_name_wrong", "secret_missing", "secret_missing")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(ACCESS_DENIED, "secret_denied"), (THROTTLED, "secret_throttled"), (UNAVAILABLE, "secret_unavailable")],
    ids=["denied", "throttled", "failing"],
)
def test_what_the_store_says_has_a_finding_of_its_own(stand_in, fault, reason):
    client = stand_in.client(config=Config(retries={"total_max_attempts": 1}))
    client.create_secret(Name=NAME, SecretString=json.dumps(DATABASE))
    stand_in.faults.always("GetSecretValue", fault)
    report = examined(AwsSecretsManager(client), NAME)
    client.close()
    assert report.reasons == (reason,)
    assert results(report)["endpoint"] == "ok"


def test_rights_that_are_only_useful_are_told_and_no_fault(store, stand_in, client):
    client.create_secret(Name=NAME, SecretString=json.dumps(DATABASE))
    for call in ("DescribeSecret", "BatchGetSecretValue"):
        stand_in.faults.always(call, ACCESS_DENIED)
    report = examined(store, NAME)
    assert report.is_healthy
    assert {name for name, result in results(report).items() if result == "skipped"} == {"labels", "batch"}


def test_a_rotation_that_has_not_ended_is_under_way_and_then_stuck(store, client):
    version = client.create_secret(Name=NAME, SecretString=json.dumps(DATABASE))["VersionId"]
    token = "0" * 36
    client.put_secret_value(
        SecretId=NAME, ClientRequestToken=token, SecretString=json.dumps(DATABASE), VersionStages=["AWSPENDING"]
    )
    assert "a rotation is under way" in examined(store, NAME).text()
    later = datetime.datetime.now().timestamp() + 5 * 3600
    report = examined(store, NAME, clock=lambda: later)
    assert report.reasons == ("rotation_stuck",)
    assert token in report.text()
    assert version not in next(check.says for check in report.checks if check.reason)


def test_labels_and_dates_are_judged():
    now = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)
    day = datetime.timedelta(days=1)

    def reasons(labels: dict[str, list[str]], **dates: Any) -> list[str | None]:
        said = {"VersionIdsToStages": labels, **dates}
        return [check.reason for check in judge_labels("s", said, now=now.timestamp()) if check.reason]

    good = {"a": ["AWSCURRENT"], "b": ["AWSPREVIOUS"]}
    assert reasons(good) == []
    assert reasons({"a": ["AWSCURRENT", "AWSPENDING"]}, LastChangedDate=now - 9 * day) == []
    assert reasons({"b": ["AWSPREVIOUS"]}) == ["secret_without_current"]
    assert reasons({**good, "c": ["AWSPENDING"]}, LastChangedDate=now - day) == ["rotation_stuck"]
    assert reasons(good, RotationEnabled=True, NextRotationDate=now + day) == []
    assert reasons(good, RotationEnabled=True, NextRotationDate=now - 3 * day) == ["rotation_overdue"]
    assert reasons(good, RotationEnabled=False, NextRotationDate=now - 3 * day) == []


def test_without_a_region_or_credentials_nothing_is_asked(store, stand_in, clean_environment):
    clean_environment.delenv("AWS_REGION")
    assert examine_secrets([NAME]).reasons == ("secrets_region_missing",)
    clean_environment.delenv("AWS_ACCESS_KEY_ID")
    report = examine_secrets([NAME], store=AwsSecretsManager(endpoint_url=stand_in.endpoint_url, region="eu-west-1"))
    assert report.reasons == ("aws_credentials_missing",)
    assert len(stand_in.calls) == 0


def test_an_address_where_nobody_answers_is_named(store):
    report = examine_secrets([NAME], store=AwsSecretsManager(endpoint_url="http://127.0.0.1:1", region="eu-west-1"))
    assert report.reasons == ("secrets_endpoint_silent",)
    assert "127.0.0.1:1, the address of Secrets Manager, refuses connections" in report.text()
    unknown = AwsSecretsManager(endpoint_url="http://nowhere.invalid", region="eu-west-1")
    assert "cannot be resolved" in examine_secrets([NAME], store=unknown).text()


def test_a_proxy_is_left_to_the_reads(store, client, clean_environment, stand_in):
    client.create_secret(Name=NAME, SecretString=json.dumps(DATABASE))
    clean_environment.setenv("http_proxy", "http://127.0.0.1:1")
    clean_environment.setenv("no_proxy", "")
    report = examine_secrets([NAME], store=AwsSecretsManager(endpoint_url=stand_in.endpoint_url, connect_timeout=0.2))
    assert results(report)["endpoint"] == "skipped"
    assert report.reasons == ("secret_unavailable",)


READABLE, WRITABLE = ["secret_file_readable"], ["secret_file_writable"]


@pytest.mark.parametrize(
    ("mode", "found"), [(0o600, []), (0o640, []), (0o644, READABLE), (0o666, WRITABLE), (0o620, WRITABLE)]
)
def test_a_file_that_others_may_read_or_change_is_found(mode, found):
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as directory:  # on a disk, not in memory
        path = Path(directory, "s")
        path.write_text(VALUE)
        path.chmod(mode)
        assert [check.reason for check in judge_file(str(path)) if check.reason] == found
        report = examine_secrets([f"file:{path}"])
        assert list(report.reasons) == found
        assert VALUE not in report.text()


def test_a_readable_file_in_memory_is_how_containers_give_secrets():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        path = Path(directory, "s")
        path.write_text(VALUE)
        path.chmod(0o444)
        assert [check.reason for check in judge_file(str(path)) if check.reason] == []


def test_the_command_says_it_with_its_exit_status(store, stand_in, client):
    client.create_secret(Name=NAME, SecretString=json.dumps(DATABASE))
    environ = {**os.environ, "AWS_ENDPOINT_URL_SECRETS_MANAGER": stand_in.endpoint_url}
    command = [sys.executable, "-W", "error", "-m", "tegata_credentials.cli", "doctor", "--secret", NAME, "--json"]
    for more, status in ((), 0), (("--secret", "absent"), 1):
        finished = subprocess.run(
            [*command, *more], env=environ, capture_output=True, text=True, timeout=300, check=False
        )
        assert (finished.returncode, finished.stderr) == (status, "")
        assert json.loads(finished.stdout)["healthy"] is (status == 0)
        assert VALUE not in finished.stdout


def test_every_finding_about_secrets_can_be_said():
    assert all(REASONS[name].fix.endswith(".") for name in REASONS if name.startswith(("secret", "rotation")))
