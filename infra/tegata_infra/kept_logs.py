"""A bucket for logs that AWS writes: known when the stack is gone, and after a while forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from tegata_infra.acknowledgement import acknowledge

if TYPE_CHECKING:
    from tegata_infra.stack import TegataStack


def add_log_bucket(stack: TegataStack, name: str, *, days: int, holds: str, key: kms.IKey | None = None) -> s3.Bucket:
    """Add a bucket that stays when its stack is deleted.

    Args:
        stack: in which it stands.
        name: of the construct.
        days: after which a log is deleted.
        holds: why nobody keeps a log of who reads it.
        key: with which it is encrypted; without one, with S3's own.
    """
    bucket = s3.Bucket(
        stack,
        name,
        encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
        encryption_key=key,
        bucket_key_enabled=True if key else None,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        versioned=True,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        removal_policy=cdk.RemovalPolicy.RETAIN,
        lifecycle_rules=[
            s3.LifecycleRule(
                id="forget",
                expiration=cdk.Duration.days(days),
                noncurrent_version_expiration=cdk.Duration.days(7),
                abort_incomplete_multipart_upload_after=cdk.Duration.days(1),
            )
        ],
    )
    acknowledge(bucket, holds, "AwsSolutions-S1", "CKV_AWS_18")
    return bucket
