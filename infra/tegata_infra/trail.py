"""CloudTrail: who read which secret, and who changed what, in a log that shows if somebody has altered it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_cloudtrail as cloudtrail
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3

from tegata_infra.acknowledgement import acknowledge

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
    bucket = _add_bucket(stack, key)
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


def _add_bucket(stack: TegataStack, key: kms.IKey) -> s3.Bucket:
    bucket = s3.Bucket(
        stack,
        "TrailBucket",
        encryption=s3.BucketEncryption.KMS,
        encryption_key=key,
        bucket_key_enabled=True,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        versioned=True,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        removal_policy=cdk.RemovalPolicy.RETAIN,
        lifecycle_rules=[
            s3.LifecycleRule(
                id="forget",
                expiration=cdk.Duration.days(KEPT_DAYS),
                noncurrent_version_expiration=cdk.Duration.days(7),
                abort_incomplete_multipart_upload_after=cdk.Duration.days(1),
            )
        ],
    )
    itself = "holds the trail itself, which says who read it; one more of accesses would need a bucket, and so on"
    acknowledge(bucket, itself, "AwsSolutions-S1", "CKV_AWS_18")
    return bucket
