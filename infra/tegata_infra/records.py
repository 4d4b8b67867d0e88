"""What is kept for the day on which somebody asks: who read which secret, and the daily copy of the database."""

from __future__ import annotations

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_logs as logs
from constructs import Construct

from tegata_infra import alarms_data
from tegata_infra.alarms import DAY, SILENCE_IS_GOOD, Page, add_alarms, name_alarms, tell
from tegata_infra.backup import add_backup
from tegata_infra.config import Config
from tegata_infra.dashboard import Row
from tegata_infra.data import DataStack
from tegata_infra.observability import ObservabilityStack
from tegata_infra.rotation_alarms import RotationAlarms
from tegata_infra.secrets import SecretsStack
from tegata_infra.stack import TegataStack
from tegata_infra.trail import add_trail

BACKUP_LOST = (
    '{ ($.source = "aws.backup") && '
    '(($.detail.state = "FAILED") || ($.detail.state = "ABORTED") || ($.detail.state = "EXPIRED")) }'
)
BACKUP_DONE = '{ ($.detail-type = "Backup Job State Change") && ($.detail.state = "COMPLETED") }'


class RecordsStack(TegataStack):
    """The trail, the vault with its plan, and the alarms of both and of secrets, with their row for the dashboard.

    Example:

        RecordsStack(app, config, observability, data=data, secrets=secrets)
    """

    def __init__(
        self,
        scope: Construct,
        config: Config,
        told: ObservabilityStack,
        *,
        data: DataStack,
        secrets: SecretsStack,
    ) -> None:
        super().__init__(scope, "Records", config, description=f"{config.prefix}: trail, backups, secrets watched")
        self._logs_key, self._told = told.logs_key, told
        pages = self._keep_copies(data) if config.observability.backup_vault else []
        self.rows = [Row("Copies", pages)]
        self.alarms: list[cloudwatch.Alarm] = add_alarms(self, pages, told.topic)
        self.alarms += self._watch_secrets(secrets)
        self.alarm_names = name_alarms(self.alarms)

    def _keep_copies(self, data: DataStack) -> list[Page]:
        add_backup(self, data.database)
        seen = self._told.seen
        seen.keep(
            self,
            "Backups",
            {
                "source": ["aws.backup"],
                "detail-type": ["Backup Job State Change", "Copy Job State Change"],
                # By the detail: `resources` is empty in the events of what failed, and else names the copy itself.
                "detail": {"resourceArn": [data.database.instance_arn]},
            },
        )
        lost = seen.count(self, "BackupsFailed", BACKUP_LOST)
        return list(alarms_data.pages_of_backups(lost, seen.count(self, "BackupsCompleted", BACKUP_DONE, DAY)))

    def _watch_secrets(self, secrets: SecretsStack) -> list[cloudwatch.Alarm]:
        trail_log = add_trail(self, self._logs_key) if self.config.observability.trail else None
        rotation = secrets.rotation
        ages_log = None
        if rotation is not None:
            ages_log = self.add_log_group("AgesLog", f"/aws/lambda/{rotation.name}-ages", self._logs_key)
        watching = RotationAlarms(
            self,
            "RotationAlarms",
            rotation=rotation,
            watched=secrets.watched,
            ages_log=ages_log,
            trail_log=trail_log,
            # By its name: the stack of the service comes before this one, and knows nothing of it.
            readers_log=logs.LogGroup.from_log_group_name(self, "ContainerLog", f"/ecs/{self.config.prefix}"),
        )
        # The function's own metrics name it by reference, and each would be an export of another stack.
        drawn = [each for each in watching.drawn if each.metric.namespace == f"{self.config.prefix}/Secrets"]
        pages = [
            Page(name=each.name, metric=each.metric, threshold=each.at_least, silence=SILENCE_IS_GOOD, means="", do="")
            for each in drawn
        ]
        self.rows.append(Row("Secrets", pages))
        for alarm in watching.alarms:
            tell(alarm, self._told.topic)
        return list(watching.alarms)
