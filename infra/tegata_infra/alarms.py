"""What pages somebody: each alarm says what it means and what to do first, and decides what silence means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns

if TYPE_CHECKING:
    from tegata_infra.stack import TegataStack

MINUTE = cdk.Duration.minutes(1)
FIVE_MINUTES = cdk.Duration.minutes(5)
DAY = cdk.Duration.days(1)

SILENCE_IS_GOOD = cloudwatch.TreatMissingData.NOT_BREACHING
"""The metric comes only with what it counts: no data is no error."""

SILENCE_IS_BAD = cloudwatch.TreatMissingData.BREACHING
"""The metric comes always: if it does not, what it measures is not there."""

SILENCE_CHANGES_NOTHING = cloudwatch.TreatMissingData.IGNORE
"""The metric comes seldom: the state stays as it was."""

ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
AT_LEAST = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
BELOW = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One reason to wake somebody.

    Example:

        Page(
            name="replica-lag",
            metric=lag,
            compare=ABOVE,
            threshold=30,
            periods=3,
            silence=SILENCE_IS_BAD,
            means="The replica is behind by more than 30 seconds.",
            do="Look for a long transaction on the primary.",
        )
    """

    name: str
    metric: cloudwatch.IMetric
    threshold: float
    silence: cloudwatch.TreatMissingData
    means: str
    """What is the case, for whom it is a problem."""
    do: str
    """What to look at first, and what helps."""
    compare: cloudwatch.ComparisonOperator = AT_LEAST
    periods: int = 1
    breaching: int | None = None
    """How many of the periods have to be beyond the threshold; None: all."""


def add_alarms(stack: TegataStack, pages: Iterable[Page], topic: sns.ITopic) -> list[cloudwatch.Alarm]:
    """Add an alarm for each page, which tells the topic when it begins and when it is over."""
    return [_add(stack, page, topic) for page in pages]


def tell(alarm: cloudwatch.Alarm, topic: sns.ITopic) -> None:
    """Let an alarm tell the topic when it begins and when it is over."""
    action = actions.SnsAction(topic)
    alarm.add_alarm_action(action)
    alarm.add_ok_action(action)


def name_alarms(alarms: Iterable[cloudwatch.Alarm]) -> list[str]:
    """Return the names of alarms as they will be: not references, of which each would be an export."""
    resources = [alarm.node.default_child for alarm in alarms]
    return [resource.alarm_name for resource in resources if isinstance(resource, cloudwatch.CfnAlarm)]


def _add(stack: TegataStack, page: Page, topic: sns.ITopic) -> cloudwatch.Alarm:
    alarm = cloudwatch.Alarm(
        stack,
        f"Alarm-{page.name}",
        alarm_name=stack.name(page.name),
        alarm_description=f"{page.means} What to do: {page.do}",
        metric=page.metric,
        threshold=page.threshold,
        comparison_operator=page.compare,
        evaluation_periods=page.periods,
        datapoints_to_alarm=page.breaching,
        treat_missing_data=page.silence,
    )
    tell(alarm, topic)
    return alarm
