"""Findings of rule packs that are meant to be so: each named where it is, with its reason.

One function for all packs: what cdk-nag and CloudFormation's own validation find is acknowledged in the app, what
cfn-lint and checkov find in the metadata of the resource, where they read it. `list_acknowledgements` is what the
documentation prints.
"""

from __future__ import annotations

from typing import NamedTuple

import aws_cdk as cdk
from aws_cdk import Acknowledgment, Validations
from constructs import Construct, IConstruct


class Accepted(NamedTuple):
    """One finding: which resource, which rule, why it stays."""

    path: str
    rule: str
    reason: str


_KEY = "tegata:acknowledged"


def acknowledge(construct: Construct, reason: str, *rules: str) -> None:
    """Accept what the rules find on a construct.

    Args:
        construct: the one that the rule names; an L2 construct means its resource.
        reason: why it is right as it is, for a reader who would have objected.
        rules: `AwsSolutions-...` (cdk-nag), `CloudFormation-Validate::W3010` (CDK's own validation), `W3010`
            (cfn-lint), `CKV_AWS_...` (checkov).
    """
    for rule in rules:
        if rule.startswith("CKV"):
            _add_metadata(construct, "checkov", "skip", {"id": rule, "comment": reason})
        elif rule.startswith(("E", "W", "I")):
            _add_metadata(construct, "cfn-lint", "config", rule)
        else:
            named = f"AwsSolutions::{rule}" if rule.startswith("AwsSolutions") else rule
            Validations.of(construct).acknowledge(Acknowledgment(id=named, reason=reason))
        construct.node.add_metadata(_KEY, {"rule": rule, "reason": reason})


def list_acknowledgements(root: IConstruct) -> list[Accepted]:
    """Return all that has been accepted below `root`, sorted."""
    return sorted(
        Accepted(node.node.path, entry.data["rule"], entry.data["reason"])
        for node in root.node.find_all()
        for entry in node.node.metadata
        if entry.type == _KEY
    )


def _add_metadata(construct: Construct, tool: str, key: str, entry: object) -> None:
    resource = construct if isinstance(construct, cdk.CfnResource) else construct.node.default_child
    assert isinstance(resource, cdk.CfnResource)
    held = resource.get_metadata(tool) or {}
    if tool == "cfn-lint":
        checks = [*held.get("config", {}).get("ignore_checks", []), entry]
        resource.add_metadata(tool, {"config": {"ignore_checks": checks}})
    else:
        resource.add_metadata(tool, {key: [*held.get(key, []), entry]})
