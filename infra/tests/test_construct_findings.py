"""cdk-nag and CloudFormation's validation stop a synthesis, unless a finding is acknowledged where it is."""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk import Validations
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_s3 as s3
from cdk_nag import AwsSolutionsChecks
from tegata_infra import findings
from tegata_infra.acknowledgement import acknowledge, list_acknowledgements


def build_bucket(directory: Path) -> tuple[cdk.App, s3.Bucket]:
    app = cdk.App(outdir=str(directory), analytics_reporting=False)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return app, s3.Bucket(cdk.Stack(app, "Open"), "Bucket", enforce_ssl=True)


def test_a_finding_of_cdk_nag_stops_the_synthesis(tmp_path: Path) -> None:
    app, _ = build_bucket(tmp_path)
    with pytest.raises(RuntimeError, match="AwsSolutions-S1"):
        app.synth()


def test_an_acknowledged_finding_does_not(tmp_path: Path) -> None:
    app, bucket = build_bucket(tmp_path)
    acknowledge(bucket, "a test", "AwsSolutions-S1")
    app.synth()
    assert [entry.rule for entry in list_acknowledgements(app)] == ["AwsSolutions-S1"]
    assert [entry["ruleName"] for entry in findings.read_report(tmp_path)] == ["AwsSolutions-S1"]


def test_an_acknowledgement_of_one_construct_says_nothing_of_another(tmp_path: Path) -> None:
    app, bucket = build_bucket(tmp_path)
    s3.Bucket(bucket.stack, "Other", enforce_ssl=True)
    acknowledge(bucket, "a test", "AwsSolutions-S1")
    with pytest.raises(RuntimeError, match="Open/Other"):
        app.synth()


def test_cloudformations_validation_stops_the_synthesis(tmp_path: Path) -> None:
    app = cdk.App(
        outdir=str(tmp_path),
        analytics_reporting=False,
        context={"@aws-cdk/core:validateAgainstDefaultRules": True},
    )
    ec2.CfnSubnet(cdk.Stack(app, "Wrong"), "Subnet", vpc_id="vpc-1", availability_zone="ap-northeast-1a")
    with pytest.raises(RuntimeError, match="W3010"):
        app.synth()
