"""How old the values of rotated secrets are, as a metric: AWS has none, and no alarm looks back further than 7 days.

The function's code stands in the template: it asks for no value, writes CloudWatch's embedded metric format, and needs
nothing but boto3, which Lambda has.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from tegata_infra.acknowledgement import acknowledge
from tegata_infra.rotation import Rotated

CODE = Path(__file__).with_name("rotation_age_function.py")
METRIC = "SecretAgeDays"
COPIES = "SecretCopiesFailed"
EVERY = cdk.Duration.hours(6)


class SecretAges(Construct):
    """A function that tells the ages every six hours; `metric` is that of one secret."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        namespace: str,
        rotated: Sequence[Rotated],
        log_group: logs.ILogGroup,
    ) -> None:
        super().__init__(scope, construct_id)
        self._namespace = namespace
        role = iam.Role(
            self,
            "Role",
            description=f"{name}: asks how old secrets are, and for no value",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        )
        document = iam.PolicyDocument(
            minimize=False,
            statements=[
                iam.PolicyStatement(
                    sid="DescribeSecrets",
                    actions=["secretsmanager:DescribeSecret"],
                    resources=[each.held.arn for each in rotated],
                ),
                iam.PolicyStatement(
                    sid="WriteLog",
                    actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                    resources=[log_group.log_group_arn],
                ),
            ],
        )
        policy = iam.Policy(self, "Policy", policy_name="describe-secrets", document=document, roles=[role])
        function = lambda_.Function(
            self,
            "Function",
            function_name=name,
            description="Tells how old the values of rotated secrets are",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            handler="index.handler",
            code=lambda_.Code.from_inline(CODE.read_text()),
            role=role.without_policy_updates(),
            timeout=cdk.Duration.minutes(1),
            reserved_concurrent_executions=1,
            environment={"NAMESPACE": namespace, "SECRETS": json.dumps([each.name for each in rotated])},
            log_group=log_group,
        )
        function.node.add_dependency(policy)
        acknowledge(function, "asks AWS's own service alone, and no value of it", "CKV_AWS_117")
        acknowledge(function, "the next run is in six hours, and an alarm tells if there was none", "CKV_AWS_116")
        acknowledge(function, "CDK itself says that a function comes after its role", "W3005")
        acknowledge(function, "its variables name secrets and hold none", "CKV_AWS_173")
        acknowledge(function, "the runtime in which the rotation runs too", "AwsSolutions-L1")
        self._add_schedule(function)

    def metric(self, rotated: Rotated) -> cloudwatch.Metric:
        """Return the age of a secret's value in days."""
        return cloudwatch.Metric(
            namespace=self._namespace,
            metric_name=METRIC,
            dimensions_map={"Secret": rotated.name},
            statistic="Maximum",
            period=cdk.Duration.days(1),
        )

    def failed_copies(self) -> cloudwatch.Metric:
        """Return how many copies of one secret in other regions could not be brought up to date."""
        return cloudwatch.Metric(
            namespace=self._namespace, metric_name=COPIES, statistic="Maximum", period=cdk.Duration.days(1)
        )

    def _add_schedule(self, function: lambda_.Function) -> None:
        rule = events.CfnRule(
            self,
            "Schedule",
            description="How old are the secrets?",
            schedule_expression=f"rate({EVERY.to_hours()} hours)",
            targets=[events.CfnRule.TargetProperty(arn=function.function_arn, id="function")],
        )
        lambda_.CfnPermission(
            self,
            "Call",
            action="lambda:InvokeFunction",
            function_name=function.function_name,
            principal="events.amazonaws.com",
            source_arn=rule.attr_arn,
            source_account=cdk.Stack.of(self).account,
        )
