"""What answers requests in each deployment, as the alarms see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_logs as logs
from aws_cdk import aws_wafv2 as waf

from tegata_infra.alarms_service import Balanced, Running

if TYPE_CHECKING:
    from tegata_infra.edge import EdgeStack
    from tegata_infra.plan_c import PlanCEdgeStack, PlanCServiceStack
    from tegata_infra.proxy.stack import ProxyStack
    from tegata_infra.service import ServiceStack


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Load balancers with their targets, containers, the firewall, certificates.

    Example:

        Serving.of_tegata(edge, service)
    """

    balanced: Sequence[Balanced]
    running: Sequence[Running]
    web_acl: waf.CfnWebACL
    certificates: Sequence[str]
    log: logs.ILogGroup | None = None
    """Where Tegata writes its lines, if it is Tegata."""
    nginx: autoscaling.AutoScalingGroup | None = None

    @classmethod
    def of_tegata(cls, edge: EdgeStack, service: ServiceStack) -> Serving:
        """Tegata: the front, its servers, its worker."""
        return cls(
            balanced=[Balanced("", edge.front.load_balancer, edge.target_group)],
            running=[Running("", service.service), Running("worker", service.worker)],
            web_acl=edge.front.web_acl,
            certificates=[edge.front.certificate.certificate_arn],
            log=service.log,
        )

    @classmethod
    def of_chain(cls, chain: ProxyStack) -> Serving:
        """Plan B: the front before nginx, the internal load balancer before the application."""
        return cls(
            balanced=[
                Balanced("", chain.front.load_balancer, chain.nginx_targets),
                Balanced("back", chain.back, chain.targets),
            ],
            running=[Running("", chain.service)],
            web_acl=chain.front.web_acl,
            certificates=[chain.front.certificate.certificate_arn, chain.back_certificate.certificate_arn],
            nginx=chain.instances,
        )

    @classmethod
    def of_plan_c(cls, edge: PlanCEdgeStack, service: PlanCServiceStack) -> Serving:
        """Plan C: the front before the application."""
        return cls(
            balanced=[Balanced("", edge.front.load_balancer, edge.target_group)],
            running=[Running("", service.service)],
            web_acl=edge.front.web_acl,
            certificates=[edge.front.certificate.certificate_arn],
        )
