"""Who is told what, when something that users need goes wrong."""

from __future__ import annotations

from aws_cdk import aws_xray as xray
from constructs import Construct

from tegata_infra import alarms_data, alarms_service
from tegata_infra.alarms import Page, add_alarms, name_alarms
from tegata_infra.alerts import add_topic
from tegata_infra.config import Config
from tegata_infra.dashboard import Row
from tegata_infra.data import DataStack
from tegata_infra.happenings import Happenings, count_lines
from tegata_infra.network import NetworkStack
from tegata_infra.serving import Serving
from tegata_infra.stack import TegataStack

TAKEN_BACK = '{ $.detail.eventName = "SERVICE_DEPLOYMENT_FAILED" }'
FAILED_OVER = (
    '{ ($.source = "aws.rds") && '
    '(($.detail.EventCategories[0] = "failover") || ($.detail.EventCategories[0] = "failure")) }'
)
ERRORS = '{ ($.level = "error") || ($.level = "critical") }'


class ObservabilityStack(TegataStack):
    """The topic as `topic`, the alarms as `alarms` with their names, their metrics as `rows` for the dashboard.

    Example:

        ObservabilityStack(app, config, network, Serving.of_tegata(edge, service), data)
    """

    def __init__(
        self, scope: Construct, config: Config, network: NetworkStack, serving: Serving, data: DataStack | None = None
    ) -> None:
        super().__init__(scope, "Observability", config, description=f"{config.prefix}: alarms")
        self._network, self._serving = network, serving
        self.logs_key = network.logs_key
        self.topic = add_topic(self)
        self.seen = Happenings(self, network.logs_key)
        self.rows = [
            Row("What users feel", self._pages_of_requests()),
            Row("What answers them", self._pages_of_containers()),
            Row("Data", [] if data is None else self._pages_of_data(data)),
            Row("Ways in and out", self._pages_of_edge()),
        ]
        pages = [page for row in self.rows for page in row.pages]
        self.alarms = add_alarms(self, pages, self.topic)
        self.alarm_names = name_alarms(self.alarms)
        if serving.log is not None and config.service.tracing:
            # Traces of this deployment by its name; insights would cost for each trace.
            xray.CfnGroup(self, "Traces", group_name=config.prefix, filter_expression=f'service("{config.prefix}")')

    def _pages_of_requests(self) -> list[Page]:
        return [page for balanced in self._serving.balanced for page in alarms_service.pages_of_balancer(balanced)]

    def _pages_of_containers(self) -> list[Page]:
        serving = self._serving
        pages = [page for running in serving.running for page in alarms_service.pages_of_service(running)]
        if serving.log is not None:
            pages += alarms_service.pages_of_errors(count_lines(self, "Errors", serving.log, ERRORS))
        if serving.nginx is not None:
            fewest = 1 if self.config.environment == "dev" else len(self.config.network.zones)
            pages += alarms_service.pages_of_instances(serving.nginx, fewest)
        self.seen.keep(
            self,
            "Deployments",
            {
                "source": ["aws.ecs"],
                "detail-type": ["ECS Deployment State Change"],
                "resources": [running.service.service_arn for running in serving.running],
            },
        )
        return [*pages, *alarms_data.pages_of_deployments(self.seen.count(self, "DeploymentsFailed", TAKEN_BACK))]

    def _pages_of_data(self, data: DataStack) -> list[Page]:
        pages = list(alarms_data.pages_of_database(data.database, self.config.database))
        self.seen.keep(
            self,
            "DatabaseEvents",
            {
                "source": ["aws.rds"],
                "detail-type": ["RDS DB Instance Event"],
                "resources": [data.database.instance_arn],
            },
        )
        pages += alarms_data.pages_of_failover(self.seen.count(self, "DatabaseFailovers", FAILED_OVER))
        if data.replica is not None:
            pages += alarms_data.pages_of_replica(data.replica)
        if data.cache is not None and self.config.cache is not None:
            pages += alarms_data.pages_of_cache(self.name("redis"), self.config.cache)
        return pages

    def _pages_of_edge(self) -> list[Page]:
        return [
            *alarms_service.pages_of_firewall(self._serving.web_acl, self.config.region),
            *alarms_service.pages_of_certificates(
                [self.say_or_ask(parameter, arn) for parameter, arn in self._serving.certificates.items()]
            ),
            *alarms_service.pages_of_network(self._network.vpc),
        ]
