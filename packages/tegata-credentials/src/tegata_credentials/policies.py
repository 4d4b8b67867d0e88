"""The least that an identity on AWS may do: read its own environment's secrets, or rotate one. As IAM policy documents.

Sources: AWS Secrets Manager User Guide, "Identity-based policies", "Lambda rotation function execution role
permissions", "Permissions for rotation"; Service Authorization Reference, "Actions, resources, and condition keys for
AWS Secrets Manager"; AWS KMS Developer Guide, "kms:ViaService", "kms:EncryptionContext". Evaluated in tests and on a
stand-in that enforces policies, not on a real account.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Policy = dict[str, Any]

_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
_ARN = re.compile(r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[A-Za-z0-9/_+=.@-]+-[A-Za-z0-9]{6}")
# An alias is no resource of a policy: AWS KMS Developer Guide, "Specifying KMS keys in IAM policy statements".
_KEY = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+")
_FUNCTION = re.compile(
    r"arn:aws[a-z-]*:lambda:[a-z0-9-]+:\d{12}:function:[A-Za-z0-9_-]+(:(\$LATEST|[A-Za-z0-9_-]+))?", re.ASCII
)
_PARTITION = re.compile(r"aws(-[a-z]+)*")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_ACCOUNT = re.compile(r"\d{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """Where secrets are: what stands in their ARNs before the name.

    >>> Place(region="eu-west-1", account="123456789012").arn_of("acme-dev-secret-jwt")
    'arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme-dev-secret-jwt-??????'
    """

    region: str
    account: str
    partition: str = "aws"

    def __post_init__(self) -> None:
        for pattern, value in ((_REGION, self.region), (_ACCOUNT, self.account), (_PARTITION, self.partition)):
            if not pattern.fullmatch(value):
                raise ValueError(f"{value!r} is no region, account or partition of AWS")

    def arn_of(self, secret: str) -> str:
        """Return the ARN of a secret, or for a name the pattern of its ARN: AWS adds a hyphen and six characters.

        Six question marks and no asterisk: `...-jwt-*` would be the ARN of `...-jwt-of-somebody-else` as well.
        """
        if _ARN.fullmatch(secret):
            return secret
        if not _NAME.fullmatch(secret):
            raise ValueError(f"{secret!r} is no name of a secret; wildcards are not allowed")
        return f"arn:{self.partition}:secretsmanager:{self.region}:{self.account}:secret:{secret}-??????"

    @property
    def service(self) -> str:
        """Return Secrets Manager's host name, as KMS sees it."""
        return f"secretsmanager.{self.region}.amazonaws.com" + (".cn" if self.partition == "aws-cn" else "")


def reader_policy(
    secrets: Iterable[str], *, place: Place, kms_key: str | None = None, stages: Iterable[str] = ()
) -> Policy:
    """Allow to read these secrets, by name or ARN, and nothing else.

    `kms_key` is the ARN of the key that they are encrypted with, unless it is AWS's own. `stages` restricts the labels
    that may be asked for, e.g. `["AWSCURRENT"]`. Then there is no right to read a batch, which names no label: whether
    the condition holds there is not documented. The kit reads them one by one instead.

    >>> policy = reader_policy(["acme-dev-secret-jwt"], place=Place("eu-west-1", "123456789012"))
    >>> [statement["Action"] for statement in policy["Statement"]]
    [['secretsmanager:GetSecretValue'], ['secretsmanager:BatchGetSecretValue']]
    """
    arns = _arns(secrets, place)
    labels = sorted(stages)
    condition = {"ForAnyValue:StringEquals": {"secretsmanager:VersionStage": labels}} if labels else {}
    statements = [_allow("ReadSecrets", ["secretsmanager:GetSecretValue"], arns, condition)]
    if not labels:
        # AWS knows no resource for this action; each secret in the batch is checked for GetSecretValue.
        statements.append(_allow("ReadManyAtOnce", ["secretsmanager:BatchGetSecretValue"], ["*"], {}))
    if kms_key is not None:
        statements.append(_key("DecryptSecrets", ["kms:Decrypt"], kms_key, arns, place))
    return _policy(statements)


def rotation_policy(
    secret: str,
    *,
    place: Place,
    function_arn: str | None = None,
    administrator: str | None = None,
    kms_key: str | None = None,
) -> Policy:
    """Allow to carry out the rotation of one secret, and to read the administrator's that it needs for that.

    With `function_arn` only as long as Secrets Manager has that function down as the secret's own. For the connection
    to the database the function's role needs AWS's managed policy `AWSLambdaVPCAccessExecutionRole` besides.

    >>> policy = rotation_policy(
    ...     "acme-dev-secret-database", place=Place("eu-west-1", "123456789012"), administrator="acme-dev-administrator"
    ... )
    >>> [len(statement["Action"]) for statement in policy["Statement"]]
    [4, 1]
    """
    arn = place.arn_of(secret)
    actions = ["DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"]
    condition = {}
    if function_arn is not None:
        _check_function(function_arn)
        condition = {"StringEquals": {"secretsmanager:resource/AllowRotationLambdaArn": function_arn}}
    statements = [_allow("RotateSecret", [f"secretsmanager:{action}" for action in actions], [arn], condition)]
    readable = [arn]
    if administrator is not None:
        readable.append(place.arn_of(administrator))
        statements.append(_allow("ReadAdministrator", ["secretsmanager:GetSecretValue"], readable[1:], {}))
    if kms_key is not None:
        statements.append(_key("DecryptSecrets", ["kms:Decrypt"], kms_key, readable, place))
        statements.append(_key("EncryptSecret", ["kms:GenerateDataKey"], kms_key, [arn], place))
    return _policy(statements)


def invocation_policy(function_arn: str, *, place: Place) -> Policy:
    """Allow Secrets Manager to call the rotation function: for secrets of this account, not on anybody's behalf.

    This is the function's own policy; `aws lambda add-permission --source-account` writes the same.

    >>> policy = invocation_policy(
    ...     "arn:aws:lambda:eu-west-1:123456789012:function:rotation", place=Place("eu-west-1", "123456789012")
    ... )
    >>> policy["Statement"][0]["Condition"]
    {'StringEquals': {'aws:SourceAccount': '123456789012'}}
    """
    _check_function(function_arn)
    condition = {"StringEquals": {"aws:SourceAccount": place.account}}
    statement = _allow("CallRotation", ["lambda:InvokeFunction"], [function_arn], condition)
    return _policy([statement | {"Principal": {"Service": "secretsmanager.amazonaws.com"}}])


def _arns(secrets: Iterable[str], place: Place) -> list[str]:
    arns = [place.arn_of(secret) for secret in ([secrets] if isinstance(secrets, str) else secrets)]
    if not arns:
        raise ValueError("a policy for no secret")
    return arns


def _check_function(arn: str) -> None:
    if not _FUNCTION.fullmatch(arn):
        raise ValueError(
            f"{arn!r} is no ARN of a Lambda function (arn:aws:lambda:...:function:...); wildcards are not allowed"
        )


def _allow(sid: str, actions: list[str], resources: list[str], condition: dict[str, Any]) -> dict[str, Any]:
    statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
    return statement | {"Condition": condition} if condition else statement


def _key(sid: str, actions: list[str], kms_key: str, arns: list[str], place: Place) -> dict[str, Any]:
    """Allow the key's use for these secrets only, and only by Secrets Manager."""
    if not _KEY.fullmatch(kms_key):
        raise ValueError(f"{kms_key!r} is no ARN of a KMS key (arn:aws:kms:...:key/...); wildcards are not allowed")
    condition = {
        "StringEquals": {"kms:ViaService": place.service},
        "StringLike": {"kms:EncryptionContext:SecretARN": arns},
    }
    return _allow(sid, actions, [kms_key], condition)


def _policy(statements: list[dict[str, Any]]) -> Policy:
    return {"Version": "2012-10-17", "Statement": statements}
