"""The function that rotates secrets: the kit's, from its zip, in the network, for the secrets that are named to it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct, IDependable

from tegata_infra.acknowledgement import acknowledge
from tegata_infra.policies import Held, network_statements, rotation_statements
from tegata_infra.stack import PARAMETERS

HANDLER = "tegata_credentials.rotation.lambda_function.handler"
PLANS = "TEGATA_ROTATION"
CERTIFICATES = "database-ca.pem"
"""Where the function looks for RDS's certificates, at the top of its zip."""
ZIP = Path(__file__).resolve().parents[2] / "dist" / "lambda" / "tegata-rotation-arm64-python3.13.zip"
TIMEOUT = cdk.Duration.minutes(2)

NO_QUEUE = (
    "Secrets Manager itself delivers a step again until the rotation has ended, and an alarm tells; an event that is "
    "kept would be one of a rotation that is over"
)


class MissingArtefact(RuntimeError):
    """The function's zip is not there, or cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where in a network the function is: it needs ways to the database and to Secrets Manager (errata E15)."""

    vpc: ec2.IVpc
    subnets: ec2.SubnetSelection
    group: ec2.ISecurityGroup


@dataclass(frozen=True, slots=True)
class Rotated:
    """One secret that is rotated: which, how (`docs/reference/rotation-plans.md`), how often.

    `immediately`: with the deployment, not a period later. `administrator` is read by the rotation and not changed.
    """

    name: str
    held: Held
    plan: Mapping[str, Any]
    days: int
    immediately: bool = True
    administrator: Held | None = None


def find_code(scope: Construct, zip_file: Path | None) -> lambda_.Code:
    """Return the function's code: that zip, or for None the one that the template's parameters name.

    Raises `MissingArtefact` if the zip is not there, or has no certificates to recognize the database by.
    """
    if zip_file is None:
        bucket = s3.Bucket.from_bucket_name(scope, "Code", _ask(scope, "CodeBucket"))
        acknowledge(
            bucket,
            "another zip has another key: the parameter says so",
            "Annotation::@aws-cdk/aws-lambda:codeFromBucketObjectVersionNotSpecified",
        )
        return lambda_.Code.from_bucket(bucket, _ask(scope, "CodeKey"))
    build = 'make lambda ARGS="--architecture arm64 --ca global-bundle.pem"'
    if not zip_file.exists():
        raise MissingArtefact(f"the rotation function's zip {zip_file.name} is not there: {build} makes it")
    with zipfile.ZipFile(zip_file) as opened:
        if CERTIFICATES not in opened.namelist():
            raise MissingArtefact(
                f"{zip_file.name} has no certificates of RDS in it, so it would speak with no database: {build}"
            )
    return lambda_.Code.from_asset(str(zip_file))


def _ask(scope: Construct, parameter: str) -> str:
    stack = cdk.Stack.of(scope)
    found = stack.node.try_find_child(parameter) or cdk.CfnParameter(
        stack, parameter, type="String", **PARAMETERS[parameter]
    )
    assert isinstance(found, cdk.CfnParameter)
    return found.value_as_string


class RotationFunction(Construct):
    """One function for all secrets of an environment: `rotate` adds a secret with its plan, rights and schedule."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        code: lambda_.Code,
        log_group: logs.ILogGroup,
        placement: Placement | None = None,
        tracing: bool = False,
    ) -> None:
        super().__init__(scope, construct_id)
        self.name = name
        self.log_group = log_group
        self.rotated: list[Rotated] = []
        # Said, not asked for: rights that name the function do not wait for it, nor it for them in a circle.
        self.arn = cdk.Stack.of(self).format_arn(
            service="lambda", resource="function", resource_name=name, arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME
        )
        self.role = iam.Role(
            self,
            "Role",
            description=f"{name}: rotates the secrets that are named to it",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        )
        self._surroundings = self._allow_surroundings(placement, tracing)
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=name,
            description="Rotates secrets: tegata-credentials, packed by make lambda",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            handler=HANDLER,
            code=code,
            # What CDK would add to the role is said here in full.
            role=self.role.without_policy_updates(),
            timeout=TIMEOUT,
            memory_size=256,
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE if tracing else lambda_.Tracing.DISABLED,
            **_network(placement),
        )
        self.function.node.add_dependency(self._surroundings)
        acknowledge(self.function, NO_QUEUE, "CKV_AWS_116")
        acknowledge(self.function, "CDK itself says that a function comes after its role", "W3005")
        acknowledge(self.function, "its variables name secrets and hold none", "CKV_AWS_173")
        acknowledge(self.function, "the zip is built for 3.13, and tested from inside itself", "AwsSolutions-L1")

    def rotate(self, rotated: Rotated, scope: Construct | None = None, after: Sequence[IDependable] = ()) -> None:
        """Rotate one more secret.

        Args:
            rotated: the secret and its plan.
            scope: where the schedule is made, if not here: a later stack, in which what is `after` is.
            after: what has to be there before the first rotation.
        """
        self.rotated.append(rotated)
        plans = [{"secret": each.name, **each.plan} for each in self.rotated]
        self.function.add_environment(PLANS, json.dumps(plans, separators=(",", ":")))
        self._reserve(len(self.rotated))
        word = rotated.name.rpartition("/")[2]
        rights = self._add_policy(
            f"rotate-{word}",
            rotation_statements(self, rotated.held, function_arn=self.arn, administrator=rotated.administrator),
        )
        # CDK's own would name no account: anybody's Secrets Manager could call the function (a confused deputy).
        call = lambda_.CfnPermission(
            self,
            f"Call-{word}",
            action="lambda:InvokeFunction",
            function_name=self.function.function_name,
            principal="secretsmanager.amazonaws.com",
            source_account=cdk.Stack.of(self).account,
            source_arn=rotated.held.arn,
        )
        schedule = secretsmanager.CfnRotationSchedule(
            scope or self,
            f"Schedule-{word}",
            secret_id=rotated.held.arn,
            rotation_lambda_arn=self.function.function_arn,
            rotation_rules=secretsmanager.CfnRotationSchedule.RotationRulesProperty(
                automatically_after_days=rotated.days
            ),
            rotate_immediately_on_update=rotated.immediately,
        )
        schedule.node.add_dependency(rights, call, *after)

    def _reserve(self, secrets: int) -> None:
        """Let as many invocations run as there are secrets, and no more.

        Secrets Manager waits for the function's answer: with fewer, two secrets whose turns fall together would be in
        each other's way and the rotation of one fail. Two for one secret do no harm: a step may be delivered twice.
        """
        function = self.function.node.default_child
        assert isinstance(function, lambda_.CfnFunction)
        function.reserved_concurrent_executions = secrets

    def _allow_surroundings(self, placement: Placement | None, tracing: bool) -> iam.Policy:
        statements = [
            iam.PolicyStatement(
                sid="WriteLog",
                actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                resources=[self.log_group.log_group_arn],
            )
        ]
        if placement is not None:
            statements += network_statements(self.arn)
        if tracing:
            actions = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
            statements.append(iam.PolicyStatement(sid="Trace", actions=actions, resources=["*"]))
        policy = self._add_policy("surroundings", statements)
        if placement is not None or tracing:
            acknowledge(
                policy,
                "Lambda makes network interfaces that have no names yet, and the function's code is denied all of it; "
                "X-Ray knows no resources",
                "AwsSolutions-IAM5[Resource::*]",
                "CKV_AWS_111",
            )
        return policy

    def _add_policy(self, name: str, statements: Sequence[iam.PolicyStatement]) -> iam.Policy:
        document = iam.PolicyDocument(statements=statements, minimize=False)
        return iam.Policy(self, name.title(), policy_name=name, document=document, roles=[self.role])


def _network(placement: Placement | None) -> dict[str, Any]:
    if placement is None:
        return {}
    return {"vpc": placement.vpc, "vpc_subnets": placement.subnets, "security_groups": [placement.group]}
