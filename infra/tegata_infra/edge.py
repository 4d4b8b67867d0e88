"""The edge of Tegata: its load balancer, and the target group that its containers are added to (seed 001)."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_elasticloadbalancingv2 as elbv2
from constructs import Construct

from tegata_infra.config import Config
from tegata_infra.containers import DEREGISTRATION_SECONDS, add_repository
from tegata_infra.front import HTTP_1, Front
from tegata_infra.network import NetworkStack
from tegata_infra.stack import TegataStack
from tegata_infra.waf import SIGN_IN_PATHS, TOKEN_PATHS, Rate

HEALTH_PATH = "/actuator/health"


class EdgeStack(TegataStack):
    """The front as `front`, the group of the containers as `target_group`, the place of images as `repository`."""

    def __init__(self, scope: Construct, config: Config, network: NetworkStack) -> None:
        super().__init__(scope, "Edge", config, description=f"{config.prefix}: edge")
        # Here and not with the service: an image has to be there before the first task.
        self.repository = add_repository(self)
        self.target_group = add_target_group(self, network, HEALTH_PATH)
        self.front = Front(
            self,
            network,
            elbv2.ListenerAction.forward([self.target_group]),
            rates=(
                Rate("rate-of-sign-ins", config.edge.sign_in_rate_limit, SIGN_IN_PATHS),
                Rate("rate-of-tokens", config.edge.token_rate_limit, TOKEN_PATHS),
            ),
        )


def add_target_group(stack: TegataStack, network: NetworkStack, health_path: str) -> elbv2.ApplicationTargetGroup:
    """Add the group that containers are registered in: by address, as Fargate wants it, with the seed's checks."""
    group = elbv2.ApplicationTargetGroup(
        stack,
        "Containers",
        target_group_name=stack.name("tg"),
        vpc=network.vpc,
        target_type=elbv2.TargetType.IP,
        port=stack.config.app_port,
        protocol=HTTP_1,
        protocol_version=elbv2.ApplicationProtocolVersion.HTTP1,
        deregistration_delay=cdk.Duration.seconds(DEREGISTRATION_SECONDS),
        load_balancing_algorithm_type=elbv2.TargetGroupLoadBalancingAlgorithmType.LEAST_OUTSTANDING_REQUESTS,
        health_check=elbv2.HealthCheck(
            path=health_path,
            protocol=elbv2.Protocol.HTTP,
            healthy_http_codes="200",
            interval=cdk.Duration.seconds(30),
            timeout=cdk.Duration.seconds(5),
            healthy_threshold_count=2,
            unhealthy_threshold_count=3,
        ),
    )
    cdk.Tags.of(group).add("Name", stack.name("tg"))
    return group
