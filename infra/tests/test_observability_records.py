"""What is kept: the trail of reads of secrets, events, and the daily copy of the database."""

from __future__ import annotations

import json

import pytest

from .guards.rendering import render
from .syntheses import SAID
from .templates import Assembly


def test_the_trail_sees_every_region_and_shows_whether_it_was_altered(idp: Assembly) -> None:
    trail = idp.one("AWS::CloudTrail::Trail")
    bucket = idp.find(trail.stack, trail["S3BucketName"])
    assert trail["TrailName"] == "idp-server-trail"
    assert (trail["IsLogging"], trail["IsMultiRegionTrail"], trail["EnableLogFileValidation"]) == (True, True, True)
    assert trail["IncludeGlobalServiceEvents"] is True
    assert idp.find(trail.stack, trail["KMSKeyId"]).type == "AWS::KMS::Key"
    assert bucket["LifecycleConfiguration"]["Rules"][0]["ExpirationInDays"] == 365
    assert bucket.body["DeletionPolicy"] == "Retain"


def test_reads_of_secrets_are_in_the_trail_and_data_events_are_not_paid_for(idp: Assembly) -> None:
    """GetSecretValue is a management event."""
    selectors = idp.one("AWS::CloudTrail::Trail").get("EventSelectors", [])
    assert [(one["IncludeManagementEvents"], one["ReadWriteType"]) for one in selectors] == [(True, "All")]
    assert not any(one.get("DataResources") for one in selectors)


def test_the_trails_key_is_for_this_trail_alone(idp: Assembly) -> None:
    trail = idp.one("AWS::CloudTrail::Trail")
    key = idp.find(trail.stack, trail["KMSKeyId"])
    own = [one for one in key["KeyPolicy"]["Statement"] if one.get("Sid") == "TrailEncrypts"]
    assert [one["Principal"] for one in own] == [{"Service": "cloudtrail.amazonaws.com"}]
    assert render(own[0]["Condition"]["StringEquals"]["aws:SourceArn"]).endswith(":trail/idp-server-trail")


def test_alarms_of_secrets_count_in_the_trails_log(idp: Assembly) -> None:
    trail = idp.one("AWS::CloudTrail::Trail")
    group = idp.find(trail.stack, trail["CloudWatchLogsLogGroupArn"])
    assert (group["LogGroupName"], group["RetentionInDays"]) == ("/aws/cloudtrail/idp-server", 30)
    counted = [one for one in idp.all("AWS::Logs::MetricFilter") if idp.find(one.stack, one["LogGroupName"]) == group]
    assert all("secretsmanager.amazonaws.com" in one["FilterPattern"] for one in counted)
    assert len(counted) == 4


def test_the_database_is_copied_each_night_and_the_copy_kept_for_35_days(idp: Assembly) -> None:
    rule = idp.one("AWS::Backup::BackupPlan")["BackupPlan"]["BackupPlanRule"]
    assert [one["RuleName"] for one in rule] == ["daily"]
    assert rule[0]["ScheduleExpression"] == "cron(0 18 * * ? *)"
    assert rule[0]["Lifecycle"] == {"DeleteAfterDays": 35}
    assert "CopyActions" not in rule[0]


def test_the_copy_is_of_the_primary(idp: Assembly) -> None:
    selection = idp.one("AWS::Backup::BackupSelection")["BackupSelection"]
    assert len(selection["Resources"]) == 1
    assert "ExportsOutputRefDatabase" in render(selection["Resources"][0])


def test_a_copy_cannot_be_taken_out_of_the_vault_early(idp: Assembly, read_assembly) -> None:
    vault = idp.one("AWS::Backup::BackupVault", BackupVaultName="idp-server-vault")
    staging = read_assembly("idp", "staging").one("AWS::Backup::BackupVault")
    assert vault["LockConfiguration"] == {"MinRetentionDays": 7, "MaxRetentionDays": 366}
    assert "ChangeableForDays" not in vault["LockConfiguration"], "governance: whoever may, can lift the lock"
    assert "LockConfiguration" not in staging.properties
    assert idp.find(vault.stack, vault["EncryptionKeyArn"]).type == "AWS::KMS::Key"


def test_events_that_alarms_count_are_written_to_one_group(idp: Assembly) -> None:
    group = idp.one("AWS::Logs::LogGroup", LogGroupName="/aws/events/idp-server")
    rules = [one for one in idp.all("AWS::Events::Rule") if "EventPattern" in one.properties]
    targets = {render(target["Arn"]).rpartition("log-group:")[2] for one in rules for target in one["Targets"]}
    assert {one["EventPattern"]["source"][0] for one in rules} == {"aws.ecs", "aws.rds", "aws.backup"}
    assert all("resources" in (one := rule["EventPattern"]) or one["detail"]["resourceArn"] for rule in rules)
    assert targets == {group["LogGroupName"]}
    policy = json.loads(render(idp.one("AWS::Logs::ResourcePolicy")["PolicyDocument"]))["Statement"]
    writers = {"events.amazonaws.com", "delivery.logs.amazonaws.com"}
    assert [set(one["Principal"]["Service"]) for one in policy] == [writers]
    assert [one["Resource"].rpartition("log-group:")[2] for one in policy] == ["/aws/events/idp-server:*"]


def test_events_of_backups_are_found_by_what_was_backed_up(idp: Assembly) -> None:
    """In AWS's examples `resources` is empty when a job has failed, and names the recovery point when it has not."""
    rule = next(
        one["EventPattern"]
        for one in idp.all("AWS::Events::Rule")
        if one.get("EventPattern", {}).get("source") == ["aws.backup"]
    )
    assert "resources" not in rule
    assert [render(arn).rpartition(":db:")[1] for arn in rule["detail"]["resourceArn"]] == [":db:"]


@pytest.mark.parametrize(
    ("name", "named"),
    [("said", SAID["BACKUP_COPY_VAULT_ARN"]), ("idp-production", None)],
    ids=["a vault elsewhere", "none"],
)
def test_copies_go_to_another_region_where_a_vault_is_named(read_synthesis, name: str, named: str | None) -> None:
    rule = read_synthesis(name).one("AWS::Backup::BackupPlan")["BackupPlan"]["BackupPlanRule"][0]
    wanted = [{"DestinationBackupVaultArn": named, "Lifecycle": {"DeleteAfterDays": 35}}]
    assert rule.get("CopyActions") == (None if named is None else wanted)
