"""Puts the stacks of one deployment together, in the order in which they need each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import Validations
from cdk_nag import AwsSolutionsChecks

from tegata_infra.config import Config
from tegata_infra.dashboard import DashboardStack
from tegata_infra.data import DataStack
from tegata_infra.edge import EdgeStack
from tegata_infra.images import RepositoryStack
from tegata_infra.network import NetworkStack
from tegata_infra.observability import ObservabilityStack
from tegata_infra.plan_c import PlanCEdgeStack, PlanCServiceStack
from tegata_infra.proxy.stack import ProxyStack
from tegata_infra.records import RecordsStack
from tegata_infra.secrets import SecretsStack
from tegata_infra.service import ServiceStack
from tegata_infra.serving import Serving

INFRA = Path(__file__).resolve().parent.parent


def build_app(config: Config, output: Path | None = None) -> cdk.App:
    """Return the app with every stack of the deployment; `synth()` writes the templates to `output`."""
    app = cdk.App(
        outdir=None if output is None else str(output), context=_read_context(config), analytics_reporting=False
    )
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    add_stacks(app, config)
    return app


def add_stacks(app: cdk.App, config: Config) -> None:
    """Add the stacks of the deployment."""
    network = NetworkStack(app, config)
    if config.deployment == "idp":
        data = DataStack(app, config, network)
        secrets = SecretsStack(app, config, network, data)
        edge = EdgeStack(app, config, network)
        service = ServiceStack(app, config, network, edge, data=data, secrets=secrets)
        if config.observability.alarms:
            told = ObservabilityStack(app, config, network, Serving.of_tegata(edge, service), data)
            records = RecordsStack(app, config, told, data=data, secrets=secrets)
            records.add_stack_dependency(service, "it counts what the containers write")
            DashboardStack(app, config, [*told.rows, *records.rows], [*told.alarm_names, *records.alarm_names])
    if config.deployment == "plan-b":
        images = RepositoryStack(app, config)
        chain = ProxyStack(app, config, network, images.repository)
        if config.observability.alarms:
            told = ObservabilityStack(app, config, network, Serving.of_chain(chain))
            DashboardStack(app, config, told.rows, told.alarm_names)
    if config.deployment == "plan-c":
        front = PlanCEdgeStack(app, config, network)
        application = PlanCServiceStack(app, config, network, front)
        if config.observability.alarms:
            told = ObservabilityStack(app, config, network, Serving.of_plan_c(front, application))
            DashboardStack(app, config, told.rows, told.alarm_names)


def _read_context(config: Config) -> dict[str, Any]:
    """Return what the CLI would read from the files beside the app: so the templates are the same without it.

    The zones of the deployer's account are those of the configuration: nothing has to be looked up.
    """
    context: dict[str, Any] = json.loads((INFRA / "cdk.json").read_text())["context"]
    context |= json.loads((INFRA / "cdk.context.json").read_text())
    if config.owner.account is not None:
        key = f"availability-zones:account={config.owner.account}:region={config.region}"
        context.setdefault(key, list(config.network.zones))
    return context
