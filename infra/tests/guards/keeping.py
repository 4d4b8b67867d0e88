"""What is kept, for how long, under which key, and who is told when it goes wrong."""

from __future__ import annotations

import json
from typing import Any

from tegata_infra.assembly import Assembly, Resource, walk

DATA = (
    "AWS::RDS::DBInstance",
    "AWS::ElastiCache::ReplicationGroup",
    "AWS::SecretsManager::Secret",
    "AWS::KMS::Key",
    "AWS::S3::Bucket",
    "AWS::Cognito::UserPool",
    "AWS::Backup::BackupVault",
    "AWS::ECR::Repository",
    "AWS::Logs::LogGroup",
)
"""What cannot be made again from the code."""

WITHOUT_KEY: dict[str, str] = {}
"""Log groups without a key of ours, by name, and why."""


def check_retention(assembly: Assembly) -> list[str]:
    """Every log group forgets, after the days that are configured or a reasoned longer time."""
    allowed = {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400}
    return [
        f"{group.id} keeps for {group.get('RetentionInDays', 'ever')}"
        for group in assembly.all("AWS::Logs::LogGroup")
        if group.get("RetentionInDays") not in allowed
    ]


def check_log_keys(assembly: Assembly) -> list[str]:
    """Every log group is encrypted with a key of the deployment."""
    return [
        f"{group.id} has no key"
        for group in assembly.all("AWS::Logs::LogGroup")
        if assembly.find(group.stack, group.get("KmsKeyId")) is None and group.get("LogGroupName") not in WITHOUT_KEY
    ]


def check_functions_log(assembly: Assembly) -> list[str]:
    """Every function writes to a group of the template: the one that Lambda makes itself forgets nothing."""
    names = [str(group.get("LogGroupName")) for group in assembly.all("AWS::Logs::LogGroup")]
    wrong = []
    for function in assembly.all("AWS::Lambda::Function"):
        group = function.get("LoggingConfig", {}).get("LogGroup")
        if assembly.find(function.stack, group) is None and f"/aws/lambda/{function.get('FunctionName')}" not in names:
            wrong.append(f"{function.id} writes to a group that is not in the template")
    return wrong


def check_deletion(assembly: Assembly) -> list[str]:
    """Outside dev, what cannot be made again stays when its stack goes, or leaves a last copy."""
    if assembly.directory.name.endswith("-dev"):
        return []
    return [
        f"{resource.id} ({resource.type}) would be gone"
        for resource in assembly.resources
        if resource.type in DATA
        and "SourceDBInstanceIdentifier" not in resource.properties
        and not {resource.body.get("DeletionPolicy"), resource.body.get("UpdateReplacePolicy")}
        <= {"Retain", "Snapshot", "RetainExceptOnCreate"}
    ]


def check_keys(assembly: Assembly) -> list[str]:
    """Keys are replaced each year by themselves, unless they are of a kind that cannot be."""
    return [
        f"{key.id} is not rotated"
        for key in assembly.all("AWS::KMS::Key")
        if key.get("KeySpec", "SYMMETRIC_DEFAULT") == "SYMMETRIC_DEFAULT" and key.get("EnableKeyRotation") is not True
    ]


def check_rotations(assembly: Assembly) -> list[str]:
    """The function of every rotation has an alarm that tells somebody when it fails, where there are alarms."""
    if assembly.directory.name.endswith("-dev"):
        return []
    watched = {
        place
        for alarm in assembly.all("AWS::CloudWatch::Alarm")
        if alarm.get("AlarmActions")
        for place in _functions_of(assembly, alarm)
    }
    return [
        f"nobody is told when the rotation {schedule.id} fails"
        for schedule in assembly.all("AWS::SecretsManager::RotationSchedule")
        if assembly.follow(schedule.stack, schedule["RotationLambdaARN"]) not in watched
    ]


def check_protection(assembly: Assembly) -> list[str]:
    """Stacks of production cannot be deleted before somebody has switched that off."""
    manifest: Any = json.loads((assembly.directory / "manifest.json").read_text())
    if not assembly.directory.name.endswith("-production"):
        return []
    return [
        f"{name} can be deleted at once"
        for name, artifact in manifest["artifacts"].items()
        if artifact["type"] == "aws:cloudformation:stack"
        and artifact["properties"].get("terminationProtection") is not True
    ]


def _functions_of(assembly: Assembly, alarm: Resource) -> list[tuple[str, str] | None]:
    return [
        assembly.follow(alarm.stack, value["Value"])
        for _, value in walk(alarm.properties)
        if isinstance(value, dict) and value.get("Name") == "FunctionName" and "Value" in value
    ]
