"""What AWS tells by an event: kept in a log group and counted there, so that it becomes an alarm like the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs

from tegata_infra.alarms import FIVE_MINUTES

if TYPE_CHECKING:
    from tegata_infra.stack import TegataStack


class Happenings:
    """Rules that write to `/aws/events/idp-server`, and metrics of what they write.

    Example:

        seen = Happenings(self, network.logs_key)
        seen.keep(self, "Deployments", {"source": ["aws.ecs"]})
        failed = seen.count(self, "DeploymentsFailed", '{ $.detail.eventName = "SERVICE_DEPLOYMENT_FAILED" }')
    """

    def __init__(self, stack: TegataStack, key: kms.IKey) -> None:
        self._name = f"/aws/events/{stack.config.prefix}"
        self._group = stack.add_log_group("Happenings", self._name, key)
        written = stack.format_arn(
            service="logs",
            resource="log-group",
            resource_name=f"{self._name}:*",
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        # CDK's own way is a function of its own in the account; this is the policy that it would write.
        self._policy = logs.CfnResourcePolicy(
            stack,
            "HappeningsPolicy",
            policy_name=stack.name("events"),
            policy_document=stack.to_json_string(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": ["events.amazonaws.com", "delivery.logs.amazonaws.com"]},
                            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                            # No condition: AWS names no key that EventBridge sends when it makes a stream, and a
                            # policy that does not fit loses every event in silence. Rules of other accounts cannot
                            # name a log group of this one.
                            "Resource": written,
                        }
                    ],
                }
            ),
        )

    def keep(self, stack: TegataStack, construct_id: str, pattern: Mapping[str, Any]) -> None:
        """Write events of that pattern to the log group, by a rule in that stack."""
        target = stack.format_arn(
            service="logs",
            resource="log-group",
            resource_name=self._name,
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        rule = events.CfnRule(
            stack,
            construct_id,
            description=f"{stack.config.prefix}: {construct_id} are kept in {self._name}",
            event_pattern=dict(pattern),
            targets=[events.CfnRule.TargetProperty(arn=target, id="log")],
        )
        rule.node.add_dependency(self._group, self._policy)

    def count(
        self, stack: TegataStack, name: str, pattern: str, period: cdk.Duration = FIVE_MINUTES
    ) -> cloudwatch.Metric:
        """Return how many lines of the group are like the pattern, counted by a filter in that stack."""
        return count_lines(stack, name, self._group, pattern, period)


def count_lines(
    stack: TegataStack, name: str, group: logs.ILogGroup, pattern: str, period: cdk.Duration = FIVE_MINUTES
) -> cloudwatch.Metric:
    """Return how many lines of a log group are like the pattern."""
    filtered = logs.MetricFilter(
        stack,
        f"{name}Lines",
        log_group=group,
        filter_pattern=logs.FilterPattern.literal(pattern),
        metric_namespace=f"{stack.config.prefix}/Events",
        metric_name=name,
        default_value=0,
    )
    return filtered.metric(statistic="Sum", period=period)
