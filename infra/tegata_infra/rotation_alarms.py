"""The alarms of secrets: a rotation that fails or does not happen, and reads that nobody expects (seed 004)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_logs as logs
from constructs import Construct

from tegata_infra.rotation import RotationFunction
from tegata_infra.rotation_age import SecretAges

FIVE_MINUTES = cdk.Duration.minutes(5)
GRACE_DAYS = 2
MOST_READS = 200
"""Reads in five minutes: a process reads each secret once in that time, and ten servers have four secrets each."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What is watched: secrets whose names begin so, and the roles that may read them, by the beginnings of theirs."""

    prefix: str
    secrets: Sequence[str]
    readers: Sequence[str]


class Drawn(NamedTuple):
    """What a dashboard shows: the name of an alarm, its metric, and from where on it goes off."""

    name: str
    metric: cloudwatch.Metric
    at_least: float


class RotationAlarms(Construct):
    """All alarms of secrets, as `alarms`, and as `drawn` what a dashboard shows of them.

    With `trail_log`, CloudTrail's log group, those of reads as well; with `readers_log`, where the processes that read
    secrets write, those of readings in vain.

    Whoever makes it adds the action: `for alarm in alarms.alarms: alarm.add_alarm_action(SnsAction(topic))`.

    Example::

        RotationAlarms(
            self,
            "RotationAlarms",
            rotation=secrets.rotation,
            watched=secrets.watched,
            ages_log=self.add_log_group("AgesLog", f"/aws/lambda/{secrets.rotation.name}-ages", key),
            trail_log=trail_log,
        )
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        rotation: RotationFunction | None,
        watched: Watched,
        ages_log: logs.ILogGroup | None,
        trail_log: logs.ILogGroup | None = None,
        readers_log: logs.ILogGroup | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._watched = watched
        self._namespace = f"{watched.prefix}/Secrets"
        self.alarms: list[cloudwatch.Alarm] = []
        self.drawn: list[Drawn] = []
        if rotation is not None:
            self._watch_function(rotation)
            if ages_log is not None:
                self._watch_ages(rotation, ages_log)
        if trail_log is not None:
            self._watch_reads(trail_log)
        if readers_log is not None:
            self._watch_readers(readers_log)

    def _watch_readers(self, log_group: logs.ILogGroup) -> None:
        """Watch the processes themselves: what they know serves for a while, so one reading in vain wakes nobody."""
        failed = self._count("SecretFetchFailed", log_group, "{ $.SecretFetchFailed >= 1 }")
        self._add(
            "secret-fetch-failed",
            "Processes cannot read secrets, and go on with what they know: docs/how-to/secrets-runbook.md",
            failed,
            at_least=1,
            periods=3,
        )

    def _watch_function(self, rotation: RotationFunction) -> None:
        # The kit's metric has no dimension for the environment; its line in the function's own log needs none.
        failed = self._count("RotationFailed", rotation.log_group, "{ $.RotationFailed >= 1 }")
        self._add("rotation-failed", "A step of a rotation failed: docs/how-to/secrets-runbook.md", failed, at_least=1)
        for name, metric in (
            ("rotation-errors", rotation.function.metric_errors(period=FIVE_MINUTES, statistic="Sum")),
            ("rotation-throttles", rotation.function.metric_throttles(period=FIVE_MINUTES, statistic="Sum")),
        ):
            # A step that came too early, or met another one, is repeated: the third failure in a row is none of that.
            self._add(name, "The rotation function fails again and again", metric, at_least=1, periods=3)

    def _watch_ages(self, rotation: RotationFunction, log_group: logs.ILogGroup) -> None:
        ages = SecretAges(
            self,
            "Ages",
            name=f"{rotation.name}-ages",
            namespace=self._namespace,
            rotated=rotation.rotated,
            log_group=log_group,
        )
        self._add(
            "secret-copies-failed",
            "A copy of a secret in another region is not up to date: docs/how-to/secrets-runbook.md",
            ages.failed_copies(),
            at_least=1,
        )
        for rotated in rotation.rotated:
            word = rotated.name.replace("/", "-")
            self._add(
                f"secret-age-{word}",
                f"{rotated.name} is older than its period of {rotated.days} days, or nobody knows",
                ages.metric(rotated),
                at_least=rotated.days + GRACE_DAYS,
                periods=2,
                missing=cloudwatch.TreatMissingData.BREACHING,
            )

    def _watch_reads(self, trail_log: logs.ILogGroup) -> None:
        source = '$.eventSource = "secretsmanager.amazonaws.com"'
        ours = " || ".join(f'$.requestParameters.secretId = "*{name}*"' for name in self._watched.secrets)
        reads = f'({source}) && ($.eventName = "GetSecretValue") && ($.errorCode NOT EXISTS) && ({ours})'
        user = "$.userIdentity.sessionContext.sessionIssuer.userName"
        strangers = " && ".join(f'({user} != "{name}*")' for name in self._watched.readers)
        # A call that was refused does not say which secret was meant; so these two count those of the whole account.
        gave_up = f'{{ ({source}) && (($.eventName = "RotationFailed") || ($.eventName = "RotationAbandoned")) }}'
        denied = f'{{ ({source}) && ($.eventName = "*GetSecretValue") && ($.errorCode = "AccessDenied*") }}'
        by_others = f"({user} NOT EXISTS) || ({strangers})"
        found = {
            "RotationGivenUp": gave_up,
            "SecretAccessDenied": denied,
            "SecretReads": f"{{ {reads} }}",
            "SecretReadsByOthers": f"{{ {reads} && ({by_others}) }}",
        }
        metrics = {name: self._count(name, trail_log, pattern) for name, pattern in found.items()}
        said = {
            "rotation-given-up": ("Secrets Manager says that a rotation failed", "RotationGivenUp", 1),
            "secret-access-denied": ("Somebody was refused a secret", "SecretAccessDenied", 1),
            "secret-reads-unusual": ("Secrets are read far more often than processes do", "SecretReads", MOST_READS),
            "secret-reads-by-others": ("Somebody outside this environment read a secret", "SecretReadsByOthers", 1),
        }
        for name, (description, metric, most) in said.items():
            self._add(name, description, metrics[metric], at_least=most)

    def _count(self, name: str, log_group: logs.ILogGroup, pattern: str) -> cloudwatch.Metric:
        counted = logs.MetricFilter(
            self,
            f"{name}Lines",
            log_group=log_group,
            filter_pattern=logs.FilterPattern.literal(pattern),
            metric_namespace=self._namespace,
            metric_name=name,
            default_value=0,
        )
        return counted.metric(statistic="Sum", period=FIVE_MINUTES)

    def _add(
        self,
        name: str,
        description: str,
        metric: cloudwatch.Metric,
        *,
        at_least: float,
        periods: int = 1,
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
    ) -> None:
        self.drawn.append(Drawn(name, metric, at_least))
        self.alarms.append(
            cloudwatch.Alarm(
                self,
                "".join(part.title() for part in name.split("-")),
                alarm_name=f"{self._watched.prefix}-{name}",
                alarm_description=description,
                metric=metric,
                threshold=at_least,
                evaluation_periods=periods,
                comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
                treat_missing_data=missing,
            )
        )
