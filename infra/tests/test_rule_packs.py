"""cdk-nag, CloudFormation's validation, cfn-lint, checkov: no finding without a reason, no reason without a finding."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tegata_infra import findings
from tegata_infra.config import DEPLOYMENTS, ENVIRONMENTS

from .templates import Assembly

CHECKOV = Path(sys.prefix).parent / "checkov" / "bin" / "checkov"
READ = [(deployment, environment) for deployment in DEPLOYMENTS for environment in ("dev", "production")]
"""What cfn-lint and checkov read; staging is production in smaller sizes."""

Found = set[tuple[str, str, str]]
SPOILT = "spoilt"


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


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a tool is told, what it finds, and what it finds in a template that was spoilt; it starts slowly."""

    told: Found
    found: Found
    found_in_spoilt: set[str]
    wanted: str


TOOLS = {"cfn-lint": (run_cfn_lint, "E3012"), "checkov": (run_checkov, "CKV_AWS_17")}


@pytest.fixture(scope="module", params=TOOLS)
def judgement(request: pytest.FixtureRequest, read_assembly, tmp_path_factory: pytest.TempPathFactory) -> Judgement:
    run, wanted = TOOLS[request.param]
    directory = tmp_path_factory.mktemp(request.param)
    told: Found = set()
    for combination in READ:
        told |= strip(read_assembly(*combination), directory, request.param)
    strip(spoil(read_assembly("idp", "production")), directory, request.param)
    found = run(directory)
    spoilt = {each for each in found if each[0].startswith(f"{SPOILT}.")}
    return Judgement(told, found - spoilt, {rule for *_, rule in spoilt}, wanted)


def spoil(assembly: Assembly) -> Assembly:
    """Return a stack with a database that anybody reaches, and whose copies are kept for a word."""
    stack = next(name for name in assembly.templates if name.endswith("Data"))
    template = copy.deepcopy(dict(assembly.templates[stack]))
    database = next(body for body in template["Resources"].values() if body["Type"] == "AWS::RDS::DBInstance")
    database["Properties"] |= {"PubliclyAccessible": True, "BackupRetentionPeriod": "seven"}
    return Assembly(assembly.directory.with_name(SPOILT), {stack: template})


def test_what_a_tool_finds_is_exactly_what_is_acknowledged(judgement: Judgement) -> None:
    """Both ways at once: the templates are read as if nothing had been acknowledged."""
    assert judgement.found - judgement.told == set(), "found and not acknowledged"
    assert judgement.told - judgement.found == set(), "acknowledged, and nothing is found any more"


def test_a_tool_finds_what_is_wrong(judgement: Judgement) -> None:
    assert judgement.wanted in judgement.found_in_spoilt


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
