"""`python -m tegata_infra.findings`: writes down which findings of rule packs are accepted, where, and why.

The page is `docs/reference/aws-findings.md`. A test keeps it equal to what the templates say, and refuses an
acknowledgement that suppresses nothing.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tegata_infra.config import DEPLOYMENTS, ENVIRONMENTS
from tegata_infra.synthesis import synthesize

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "aws-findings.md"

PACKS: Mapping[str, tuple[str, str]] = {
    "AwsSolutions": ("cdk-nag, AwsSolutions", "runs in each synthesis, which a finding stops"),
    "CloudFormation-Validate": ("CloudFormation's own validation", "the same, for what CloudFormation would refuse"),
    "Annotation": ("CDK's warnings", "the same"),
    "cfn-lint": ("cfn-lint", "runs over the templates in the tests"),
    "CKV": ("checkov", "runs over the templates in the tests, without its vendor's service"),
}
"""Who finds: the beginning of the rule's name, what the pack is called, and when it runs."""

_STACK = re.compile(r"^(Tegata|PlanB|PlanC)-(dev|staging|production)-")

_HEAD = """# Accepted findings of rule packs

Every template is read by four packs of rules, and a finding that is not in these tables fails the build. What is here
has been looked at and stays, for the reason beside it. *Where* is the stack and the construct in it; *in* says which
deployments have it. This page is written by `python -m tegata_infra.findings` (in `infra/`), and compared by a test; so
is that each of these acknowledgements still suppresses something.
"""


class Finding(NamedTuple):
    """An accepted finding: what the rule is called, where it is found, in which deployments, and why it stays."""

    pack: str
    rule: str
    where: str
    reason: str
    deployments: str


def list_findings(assemblies: Mapping[str, Path]) -> list[Finding]:
    """Return what the assemblies accept, once for each place, sorted.

    Args:
        assemblies: the directory of each, by its deployment; one of several environments has the same name.
    """
    found: dict[tuple[str, str, str, str], set[str]] = {}
    for name, directory in assemblies.items():
        deployment = name.partition("/")[0]
        for entry in json.loads((directory / "acknowledged.json").read_text()):
            rule = entry["rule"].partition("[")[0]
            key = find_pack(rule), rule.rpartition("::")[2], _STACK.sub("", entry["path"]), entry["reason"]
            found.setdefault(key, set()).add(deployment)
    return sorted(Finding(*key, ", ".join(sorted(names))) for key, names in found.items())


def find_pack(rule: str) -> str:
    """Return the pack of a rule by its name.

    >>> find_pack("CKV_AWS_16"), find_pack("W3010"), find_pack("AwsSolutions-IAM5")
    ('CKV', 'cfn-lint', 'AwsSolutions')
    """
    return next((pack for pack in PACKS if rule.startswith(pack)), "cfn-lint")


def write_page(findings: Iterable[Finding]) -> str:
    """Return the page as text."""
    lines = [_HEAD]
    listed = list(findings)
    for pack, (title, when) in PACKS.items():
        own = [finding for finding in listed if finding.pack == pack]
        if not own:
            continue
        lines += [f"## {title}", "", f"{when[0].upper()}{when[1:]}.", ""]
        lines += ["| Rule | Where | In | Why it stays |", "|---|---|---|---|"]
        lines += [f"| `{one.rule}` | `{one.where}` | {one.deployments} | {one.reason} |" for one in own]
        lines.append("")
    return "\n".join(lines)


def read_report(directory: Path) -> list[dict[str, Any]]:
    """Return what the packs that run in a synthesis have found and let pass, by the report that it leaves."""
    reports: Any = json.loads((directory / "validation-report.json").read_text())["pluginReports"]
    return [entry for report in reports for entry in report.get("suppressedViolations", [])]


def main() -> int:
    """Synthesize everything and write the page."""
    with tempfile.TemporaryDirectory() as place:
        assemblies = {
            f"{deployment}/{environment}": synthesize(deployment, environment, Path(place, deployment, environment))
            for deployment in DEPLOYMENTS
            for environment in ENVIRONMENTS
        }
        PAGE.write_text(write_page(list_findings(assemblies)))
    print(PAGE.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
