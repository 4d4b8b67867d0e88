"""Who may do what with secrets, as statements of IAM: what `tegata-credentials policy` prints, for templates.

In a template an ARN is a reference that nobody can check; so the kit's own functions, which refuse what is no ARN, are
not used here, and a test compares the two after everything has been resolved. Sources: AWS Secrets Manager User Guide,
"Permissions for rotation", "Attribute-based access control"; AWS KMS Developer Guide, "kms:ViaService"; IAM User Guide,
"Policy evaluation logic".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import IConstruct

ENVIRONMENT_TAG = "Environment"
"""The tag by which a principal says where it belongs; every role that these stacks make has it."""


@dataclass(frozen=True, slots=True)
class Held:
    """A secret by its ARN, and the ARN of the key that it is encrypted with."""

    arn: str
    key_arn: str


def reader_statements(scope: IConstruct, secrets: Sequence[Held]) -> list[iam.PolicyStatement]:
    """Allow to read these secrets and nothing else."""
    return [
        _allow("ReadSecrets", ["secretsmanager:GetSecretValue"], [held.arn for held in secrets]),
        # AWS knows no resource for this action; each secret in the batch is checked for GetSecretValue.
        _allow("ReadManyAtOnce", ["secretsmanager:BatchGetSecretValue"], ["*"]),
        *_keys(scope, "DecryptSecrets", ["kms:Decrypt"], secrets),
    ]


def rotation_statements(
    scope: IConstruct, secret: Held, *, function_arn: str, administrator: Held | None
) -> list[iam.PolicyStatement]:
    """Allow to rotate one secret, as long as that function is down as its own, and to read the administrator's."""
    actions = ["DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"]
    own = {"StringEquals": {"secretsmanager:resource/AllowRotationLambdaArn": function_arn}}
    statements = [_allow("RotateSecret", [f"secretsmanager:{action}" for action in actions], [secret.arn], own)]
    readable = [secret]
    if administrator is not None:
        statements.append(_allow("ReadAdministrator", ["secretsmanager:GetSecretValue"], [administrator.arn]))
        readable.append(administrator)
    statements += _keys(scope, "DecryptSecrets", ["kms:Decrypt"], readable)
    statements += _keys(scope, "EncryptSecret", ["kms:GenerateDataKey"], [secret])
    return statements


def network_statements(function_arn: str) -> list[iam.PolicyStatement]:
    """Allow Lambda to connect a function to a VPC, and the function's own code to do nothing of the kind.

    AWS Lambda Developer Guide, "Giving Lambda functions access to resources in an Amazon VPC", names these actions, for
    which the interfaces have no names yet, and the second statement.
    """
    actions = [
        f"ec2:{action}"
        for action in (
            *("CreateNetworkInterface", "DescribeNetworkInterfaces", "DescribeSubnets", "DeleteNetworkInterface"),
            *("AssignPrivateIpAddresses", "UnassignPrivateIpAddresses"),
        )
    ]
    code = {"ArnEquals": {"lambda:SourceFunctionArn": [function_arn]}}
    return [
        _allow("ConnectToNetwork", actions, ["*"]),
        iam.PolicyStatement(
            sid="NotByItsCode", effect=iam.Effect.DENY, actions=actions, resources=["*"], conditions=code
        ),
    ]


def outsiders_policy(environment: str, account: str, *, outlives: bool) -> iam.PolicyDocument:
    """Return a secret's own policy: other environments, other accounts and plain HTTP are kept out, whatever they may.

    A secret that `outlives` its stack is deleted at once by nobody. The policy allows nothing. A principal is of
    another environment if it carries the tag `Environment` with another value: administrators, CloudFormation's role
    and the account's root have no such tag, so nobody who has to mend something is locked out. AWS's services that act
    by themselves have no account; those that act for somebody act as him.
    """
    strangers = {
        "StringNotEquals": {"aws:PrincipalAccount": account},
        "Bool": {"aws:PrincipalIsAWSService": "false"},
    }
    statements = [
        _deny("KeepOtherEnvironmentsOut", _of_another(environment)),
        _deny("KeepOtherAccountsOut", strangers),
        _deny("EncryptedConnectionsOnly", {"Bool": {"aws:SecureTransport": "false"}}),
    ]
    if outlives:
        at_once = {"Bool": {"secretsmanager:ForceDeleteWithoutRecovery": "true"}}
        statements.append(_deny("NoDeletionWithoutRecovery", at_once, "secretsmanager:DeleteSecret"))
    return iam.PolicyDocument(minimize=False, statements=statements)


def outsiders_key_statement(environment: str) -> iam.PolicyStatement:
    """Deny the use of a key to principals of other environments; to be added to the key's own policy."""
    return iam.PolicyStatement(
        sid="KeepOtherEnvironmentsOut",
        effect=iam.Effect.DENY,
        principals=[iam.AnyPrincipal()],
        actions=["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*", "kms:CreateGrant"],
        resources=["*"],
        conditions=_of_another(environment),
    )


def _of_another(environment: str) -> dict[str, dict[str, str]]:
    """Return what holds for a principal that carries the tag of another environment, and not for one without it."""
    tag = f"aws:PrincipalTag/{ENVIRONMENT_TAG}"
    return {"Null": {tag: "false"}, "StringNotEquals": {tag: environment}}


@dataclass(frozen=True, slots=True)
class _PerKey:
    """The secrets of one key."""

    key_arn: str
    arns: list[str] = field(default_factory=list)


def _keys(scope: IConstruct, sid: str, actions: list[str], secrets: Sequence[Held]) -> list[iam.PolicyStatement]:
    """Allow each key's use for its secrets only, and only by Secrets Manager."""
    found: dict[str, _PerKey] = {}
    for held in secrets:
        found.setdefault(held.key_arn, _PerKey(held.key_arn)).arns.append(held.arn)
    stack = cdk.Stack.of(scope)
    service = f"secretsmanager.{stack.region}.{stack.url_suffix}"
    return [
        _allow(
            sid if number == 0 else f"{sid}{number + 1}",
            actions,
            [key.key_arn],
            {
                "StringEquals": {"kms:ViaService": service},
                "StringLike": {"kms:EncryptionContext:SecretARN": key.arns},
            },
        )
        for number, key in enumerate(found.values())
    ]


def _allow(
    sid: str, actions: list[str], resources: list[str], conditions: Mapping[str, Any] | None = None
) -> iam.PolicyStatement:
    return iam.PolicyStatement(sid=sid, actions=actions, resources=resources, conditions=conditions)


def _deny(sid: str, conditions: Mapping[str, Any], action: str = "secretsmanager:*") -> iam.PolicyStatement:
    return iam.PolicyStatement(
        sid=sid,
        effect=iam.Effect.DENY,
        principals=[iam.AnyPrincipal()],
        actions=[action],
        resources=["*"],
        conditions=conditions,
    )
