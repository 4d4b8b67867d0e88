"""What roles may do, and who may be them: no `*` without a reason that stands here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tegata_infra.assembly import Assembly, Resource

from .rendering import listed, render, statements

WITHOUT_RESOURCE = {
    "ecr:GetAuthorizationToken": "the token is for the account's registry: AWS knows no resource for it",
    "secretsmanager:BatchGetSecretValue": "AWS checks GetSecretValue for each secret of the batch",
    "secretsmanager:GetRandomPassword": "makes up a password and touches nothing",
    "xray:PutTraceSegments": "traces are the account's: AWS knows no resource for them",
    "xray:PutTelemetryRecords": "as PutTraceSegments",
    "xray:GetSamplingRules": "as PutTraceSegments",
    "xray:GetSamplingTargets": "as PutTraceSegments",
    "xray:GetSamplingStatisticSummaries": "as PutTraceSegments",
    "ec2:CreateNetworkInterface": "Lambda, into its subnets: AWS knows no narrower resource that it accepts",
    "ec2:DescribeNetworkInterfaces": "as CreateNetworkInterface",
    "ec2:DescribeSubnets": "as CreateNetworkInterface",
    "ec2:DeleteNetworkInterface": "as CreateNetworkInterface",
    "ec2:AssignPrivateIpAddresses": "as CreateNetworkInterface",
    "ec2:UnassignPrivateIpAddresses": "as CreateNetworkInterface",
    "ecs:DescribeTasks": "tasks have no name before they run",
    "ssmmessages:CreateControlChannel": "a shell in a container, break glass alone: AWS knows no resource",
    "ssmmessages:CreateDataChannel": "as CreateControlChannel",
    "ssmmessages:OpenControlChannel": "as CreateControlChannel",
    "ssmmessages:OpenDataChannel": "as CreateControlChannel",
    "logs:DescribeLogGroups": "a shell in a container, break glass alone: lists names",
}
"""Actions that may have the resource `*`, and why."""

FAMILIES = {
    "kms:GenerateDataKey*": "with and without the plain key: what encrypts needs both",
    "kms:ReEncrypt*": "from one key and to another: two halves of one act",
    "kms:Encrypt*": "written by AWS in the policy for CloudWatch Logs",
    "kms:Decrypt*": "as Encrypt*",
    "kms:Describe*": "as Encrypt*",
}
"""Actions that may end in `*`, and why."""

MANAGED = {
    "AmazonRDSEnhancedMonitoringRole": "RDS writes its figures; AWS keeps the only statement of what it needs",
    "AmazonSSMManagedInstanceCore": "the agent in place of SSH; AWS changes it with the agent",
    "AWSLambdaVPCAccessExecutionRole": "network interfaces of a function; AWS changes it with Lambda",
    "AWSLambdaBasicExecutionRole": "a function's log",
    "AWSBackupServiceRolePolicyForBackup": "AWS Backup changes it with what it can copy",
    "AWSBackupServiceRolePolicyForRestores": "as AWSBackupServiceRolePolicyForBackup",
}
"""Policies of AWS that may be attached, and why."""

POLICIES = ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy")


def check_wildcards(assembly: Assembly) -> list[str]:
    """No action and no resource is `*`, but for those listed above."""
    wrong = []
    for place, statement in _granted(assembly):
        if "NotAction" in statement or "NotResource" in statement:
            wrong.append(f"{place} allows everything but something")
            continue
        actions = [render(action) for action in listed(statement.get("Action"))]
        wrong += [f"{place} allows {action}" for action in actions if "*" in action and action not in FAMILIES]
        if any(_names_nothing(render(resource)) for resource in listed(statement.get("Resource"))):
            wrong += [f"{place} allows {action} on everything" for action in actions if action not in WITHOUT_RESOURCE]
    return wrong


def check_managed_policies(assembly: Assembly) -> list[str]:
    """AWS's own policies are attached only where they are listed above."""
    wrong = []
    for role in assembly.all("AWS::IAM::Role"):
        for policy in role.get("ManagedPolicyArns", []):
            name = render(policy).rpartition("/")[2]
            if ":iam::aws:policy/" in render(policy) and name not in MANAGED:
                wrong.append(f"{role.id} has AWS's policy {name}")
    wrong += [f"{one.id} is a user or a key: roles only" for one in assembly.resources if one.type in _PERSONS]
    return wrong


def check_trust(assembly: Assembly) -> list[str]:
    """Roles are for named services or roles, never for anybody."""
    return [
        f"{role.id} may be assumed by {principal}"
        for role in assembly.all("AWS::IAM::Role")
        for statement in statements(role["AssumeRolePolicyDocument"])
        if statement["Effect"] == "Allow"
        for principal in _principals(statement)
        if principal == "*" or principal.endswith(":root")
    ]


def check_resource_policies(assembly: Assembly) -> list[str]:
    """What a bucket, key, secret, topic or queue allows everybody has a condition that says who that is."""
    wrong = []
    for resource in assembly.resources:
        for key in ("KeyPolicy", "PolicyDocument", "ResourcePolicy", "AccessPolicy", "RepositoryPolicyText"):
            if resource.type in POLICIES or resource.type == "AWS::IAM::Role":
                continue
            for statement in statements(resource.get(key)):
                open_ = statement["Effect"] == "Allow" and "*" in _principals(statement)
                if open_ and not statement.get("Condition"):
                    wrong.append(f"{resource.id} allows everybody {render(statement.get('Action'))}")
    return wrong


def check_functions_callers(assembly: Assembly) -> list[str]:
    """A service that acts for many accounts calls a function for this one alone (confused deputy, CKV_AWS_364)."""
    return [
        f"{permission.id} lets {permission['Principal']} call for any account"
        for permission in assembly.all("AWS::Lambda::Permission")
        if str(permission["Principal"]).endswith(".amazonaws.com")
        and permission.get("SourceAccount") != {"Ref": "AWS::AccountId"}
        and not re.fullmatch(r"[0-9]{12}", str(permission.get("SourceAccount")))
    ]


_PERSONS = ("AWS::IAM::User", "AWS::IAM::AccessKey", "AWS::IAM::Group")


def _granted(assembly: Assembly) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what identities are allowed, with where it stands."""
    for resource in assembly.resources:
        for document in _documents(resource):
            for statement in statements(document):
                if statement["Effect"] == "Allow":
                    yield f"{resource.stack}/{resource.id}", statement


def _documents(resource: Resource) -> list[Any]:
    if resource.type in POLICIES:
        return [resource["PolicyDocument"]]
    return (
        [policy["PolicyDocument"] for policy in resource.get("Policies", [])]
        if resource.type == "AWS::IAM::Role"
        else []
    )


def _names_nothing(resource: str) -> bool:
    """Whether a resource is `*`, or an ARN that says a service and nothing of it: `arn:aws:s3:::*`."""
    resource = re.sub(r"<[^>]*>", "x", resource)
    if not resource.startswith("arn:"):
        return resource.strip("*:/") == ""
    last = resource.split(":", 5)[5] if resource.count(":") >= 5 else ""
    return re.fullmatch(r"[a-z-]*[:/]?\*.*", last) is not None


def _principals(statement: dict[str, Any]) -> list[str]:
    principal = statement.get("Principal")
    if isinstance(principal, dict):
        return [render(one) for value in principal.values() for one in listed(value)]
    return [render(one) for one in listed(principal)]
