"""cdk-nag, CloudFormation's validation, cfn-lint, checkov: no finding without a reason, no reason without a finding."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import Validations
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_s3 as s3
from cdk_nag import AwsSolutionsChecks
from tegata_infra import findings
from tegata_infra.acknowledgement import acknowledge, list_acknowledgements
from tegata_infra.config import DEPLOYMENTS, ENVIRONMENTS

from .templates import Assembly

CHECKOV = Path(sys.prefix).parent / "checkov" / "bin" / "checkov"
READ = [(deployment, environment) for deployment in DEPLOYMENTS for environment in ("dev", "production")]
"""What cfn-lint and checkov read; staging is production in smaller sizes."""

Found = set[tuple[str, str, str]]


def strip(assembly: Assembly, directory: Path, tool: str) -> Found:
    """Write the templates without what a tool is told in them; return what it is told: file, resource, rule."""
    told: Found = set()
    for stack, template in assembly.templates.items():
        name = f"{assembly.directory.name}.{stack}.json"
        bare: dict[str, Any] = copy.deepcopy(dict(template))
        for resource, body in bare["Resources"].items():
            held = body.get("Metadata", {}).pop(tool, {})
            rules = [entry["id"] for entry in held.get("skip", [])] + held.get("config", {}).get("ignore_checks", [])
            told |= {(name, resource, rule) for rule in rules}
        (directory / name).write_text(json.dumps(bare, indent=1))
    return told


def run_cfn_lint(directory: Path) -> Found:
    """Return what cfn-lint finds in all templates of a directory, in one process."""
    files = sorted(map(str, directory.glob("*.json")))
    ran = subprocess.run(
        [Path(sys.prefix) / "bin" / "cfn-lint", "--format", "json", *files], check=False, capture_output=True, text=True
    )
    assert ran.stdout, ran.stderr
    return {
        (Path(one["Filename"]).name, str((one["Location"]["Path"] or ["", ""])[1]), one["Rule"]["Id"])
        for one in json.loads(ran.stdout)
    }


def run_checkov(directory: Path) -> Found:
    """Return what checkov finds, in one process and without its vendor's service, which it would ask for policies."""
    options = ["--framework", "cloudformation", "--skip-download", "--quiet", "--compact", "--output", "json"]
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("BC_", "PRISMA_", "CKV_"))}
    ran = subprocess.run(
        [CHECKOV, *options, "--directory", directory],
        check=False,
        capture_output=True,
        text=True,
        env={**quiet, "LOG_LEVEL": "ERROR"},
    )
    assert ran.stdout, ran.stderr
    report = json.loads(ran.stdout)
    assert "results" in report, report
    failed = report["results"]["failed_checks"]
    return {(one["file_path"].strip("/"), one["resource"].rpartition(".")[2], one["check_id"]) for one in failed}


@pytest.mark.parametrize(
    ("tool", "run"), [("cfn-lint", run_cfn_lint), ("checkov", run_checkov)], ids=["cfn-lint", "checkov"]
)
def test_what_a_tool_finds_is_exactly_what_is_acknowledged(read_assembly, tmp_path: Path, tool: str, run) -> None:
    """Both ways at once: the templates are read as if nothing had been acknowledged."""
    told: Found = set()
    for combination in READ:
        told |= strip(read_assembly(*combination), tmp_path, tool)
    found = run(tmp_path)
    assert found - told == set(), "found and not acknowledged"
    assert told - found == set(), "acknowledged, and nothing is found any more"


@pytest.mark.parametrize(
    ("tool", "run", "rule"),
    [("cfn-lint", run_cfn_lint, "E3012"), ("checkov", run_checkov, "CKV_AWS_17")],
    ids=["cfn-lint", "checkov"],
)
def test_a_tool_finds_what_is_wrong(idp: Assembly, tmp_path: Path, tool: str, run, rule: str) -> None:
    stack = next(name for name in idp.templates if name.endswith("Data"))
    template = copy.deepcopy(dict(idp.templates[stack]))
    database = next(body for body in template["Resources"].values() if body["Type"] == "AWS::RDS::DBInstance")
    database["Properties"] |= {"PubliclyAccessible": True, "BackupRetentionPeriod": "seven"}
    strip(Assembly(tmp_path / "idp-production", {stack: template}), tmp_path, tool)
    assert rule in {found[2] for found in run(tmp_path)}


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


def test_every_acknowledgement_of_the_synthesis_lets_something_pass(each: Assembly) -> None:
    needed = {(entry["acknowledgedId"], entry["acknowledgedAt"]) for entry in findings.read_report(each.directory)}
    for entry in json.loads((each.directory / "acknowledged.json").read_text()):
        rule = entry["rule"]
        if findings.find_pack(rule) in {"CKV", "cfn-lint"} or rule.startswith("Annotation"):
            continue
        named = f"AwsSolutions::{rule}" if rule.startswith("AwsSolutions") else rule
        assert (named, entry["path"]) in needed, f"{rule} at {entry['path']} suppresses nothing"


def test_every_acknowledgement_has_a_reason_that_a_reader_can_weigh(each: Assembly) -> None:
    reasons = [entry["reason"] for entry in json.loads((each.directory / "acknowledged.json").read_text())]
    assert all(len(reason) >= 20 and " " in reason and not re.search(r"TODO|FIXME", reason) for reason in reasons)


def test_the_page_of_findings_is_what_the_templates_say(read_assembly) -> None:
    places: Mapping[str, Path] = {
        f"{deployment}/{environment}": read_assembly(deployment, environment).directory
        for deployment in DEPLOYMENTS
        for environment in ENVIRONMENTS
    }
    written = findings.write_page(findings.list_findings(places))
    assert findings.PAGE.read_text() == written, "python -m tegata_infra.findings writes it anew"
