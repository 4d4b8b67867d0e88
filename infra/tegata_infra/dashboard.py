"""The dashboard: what users feel at the top, then what answers them, then what that needs.

A stack of its own: with the alarms it would be longer than what CloudFormation takes without a bucket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from tegata_infra.alarms import Page
from tegata_infra.config import Config
from tegata_infra.stack import TegataStack

WIDTH = 8
HEIGHT = 6


@dataclass(frozen=True, slots=True)
class Row:
    """What is shown together: a title, and the pages whose metrics are drawn.

    Example:

        Row("Data", list(pages_of_database(database, config)))
    """

    title: str
    pages: Sequence[Page]


class DashboardStack(TegataStack):
    """The dashboard `idp-server-dashboard`: the state of all alarms, and a graph of the metric of each, in rows.

    Example:

        DashboardStack(app, config, observability.rows, observability.alarm_names)
    """

    def __init__(self, scope: Construct, config: Config, rows: Sequence[Row], alarm_names: Sequence[str]) -> None:
        super().__init__(scope, "Dashboard", config, description=f"{config.prefix}: dashboard")
        board = cloudwatch.Dashboard(
            self, "Dashboard", dashboard_name=self.name("dashboard"), default_interval=cdk.Duration.hours(6)
        )
        # By their names: as references each would be an export.
        alarms = [cloudwatch.Alarm.from_alarm_name(self, f"State-{name}", alarm_name=name) for name in alarm_names]
        board.add_widgets(cloudwatch.AlarmStatusWidget(title=config.prefix, alarms=alarms, width=24, height=5))
        for row in rows:
            if row.pages:
                board.add_widgets(cloudwatch.TextWidget(markdown=f"## {row.title}", width=24, height=1))
                board.add_widgets(*(_draw(page) for page in row.pages))


def _draw(page: Page) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(
        title=page.name,
        left=[page.metric],
        left_annotations=[cloudwatch.HorizontalAnnotation(value=page.threshold, label="alarm", color="#d13212")],
        left_y_axis=cloudwatch.YAxisProps(min=0),
        width=WIDTH,
        height=HEIGHT,
    )
