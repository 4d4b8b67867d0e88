"""CloudTrail: who read which secret, and who changed what, in a log that shows if somebody has altered it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_cloudtrail as cloudtrail
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs

from tegata_infra.acknowledgement import acknowledge
from tegata_infra.kept_logs import add_log_bucket

if TYPE_CHECKING:
    from tegata_infra.stack import TegataStack

SERVICE = "cloudtrail.amazonaws.com"
KEPT_DAYS = 365


def add_trail(stack: TegataStack, logs_key: kms.IKey) -> logs.LogGroup:
    """Add the trail; return the log group in which its events can be counted.

    Reads of secrets are management events: data events, which cost more, are not asked for.
    """
    name = stack.name("trail")
    arn = stack.format_arn(service="cloudtrail", resource="trail", resource_name=name)
    key = _add_key(stack, arn)
    bucket = add_log_bucket(
        stack,
        "TrailBucket",
        days=KEPT_DAYS,
        holds="holds the trail itself, which says who read it; one more of accesses would need a bucket, and so on",
        key=key,
    )
    group = stack.add_log_group("TrailLog", f"/aws/cloudtrail/{stack.config.prefix}", logs_key)
    trail = cloudtrail.Trail(
        stack,
        "Trail",
        trail_name=name,
        bucket=bucket,
        encryption_key=key,
        cloud_watch_log_group=group,
        send_to_cloud_watch_logs=True,
        enable_file_validation=True,
        is_multi_region_trail=True,
        include_global_service_events=True,
        management_events=cloudtrail.ReadWriteType.ALL,
    )
    acknowledge(trail, "CDK itself says that the trail comes after its role", "W3005")
    return group


def _add_key(stack: TegataStack, trail_arn: str) -> kms.Key:
    key = stack.add_key("trail", "CloudTrail's log files")
    key.add_to_resource_policy(
        iam.PolicyStatement(
            sid="TrailEncrypts",
            principals=[iam.ServicePrincipal(SERVICE)],
            actions=["kms:GenerateDataKey*", "kms:DescribeKey"],
            resources=["*"],
            conditions={"StringEquals": {"aws:SourceArn": trail_arn}},
        )
    )
    return key
