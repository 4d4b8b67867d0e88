"""docs/reference/aws-secrets.md says what the templates say."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

from tegata_infra.secrets_manager import SecretsManagerConstruct

from .templates import Assembly

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "aws-secrets.md").read_text()
# What RDS adds when a secret is attached to an instance (CloudFormation, AWS::SecretsManager::SecretTargetAttachment).
ATTACHED = {"engine", "host", "port", "dbname", "dbInstanceIdentifier"}


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading."""
    part = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def words(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def test_each_secret_and_its_members_stand_in_the_table(idp: Assembly) -> None:
    told = {row[0].strip("`"): words(row[1]) for row in rows("The secrets")}
    found = {}
    attached = {
        idp.find(each.stack, each["SecretId"]).id  # type: ignore[union-attr]
        for each in idp.all("AWS::SecretsManager::SecretTargetAttachment")
    }
    for secret in idp.all("AWS::SecretsManager::Secret"):
        generated = secret.get("GenerateSecretString", {})
        members = set(json.loads(secret.get("SecretString") or generated["SecretStringTemplate"]))
        members |= {generated["GenerateStringKey"]} if generated else set()
        found[secret["Name"]] = members | (ATTACHED if secret.id in attached else set())
    # What the first rotation adds.
    found["tegata-production-secret-jwt"] |= {"keys", "madeAt"}
    assert told == found


def test_each_alarm_of_secrets_stands_in_the_table(idp: Assembly) -> None:
    told = {name for row in rows("Alarms") for name in words(row[0])}
    found = {
        re.sub(r"(-secret-age-).*", r"\1NAME", alarm["AlarmName"])
        for alarm in idp.all("AWS::CloudWatch::Alarm")
        if re.match(r"idp-server-(rotation|secret)-", str(alarm.get("AlarmName")))
    }
    assert told == found


def test_each_schedule_stands_in_the_table(idp: Assembly) -> None:
    told = {row[0].strip("`"): row[2] for row in rows("Rotation")}
    for schedule in idp.all("AWS::SecretsManager::RotationSchedule"):
        secret = idp.find(schedule.stack, schedule["SecretId"])
        assert secret is not None
        days = schedule["RotationRules"]["AutomaticallyAfterDays"]
        assert f"every {days} days" in told.pop(secret["Name"])
    assert not told


def test_each_argument_of_the_construct_stands_in_the_table() -> None:
    told = {name for row in rows("The construct alone") for name in words(row[0])}
    arguments = set(inspect.signature(SecretsManagerConstruct.__init__).parameters)
    assert told == arguments - {"self", "scope", "construct_id"}
