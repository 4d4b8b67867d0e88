"""What answers requests in each deployment, as the alarms see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_elasticloadbalancingv2 as elbv2
from aws_cdk import aws_logs as logs
from aws_cdk import aws_wafv2 as waf

from tegata_infra.alarms_service import Balanced, Running

if TYPE_CHECKING:
    from tegata_infra.edge import EdgeStack
    from tegata_infra.plan_c import PlanCEdgeStack, PlanCServiceStack
    from tegata_infra.proxy.stack import ProxyStack
    from tegata_infra.service import ServiceStack
    from tegata_infra.stack import TegataStack


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Load balancers with their targets, containers, the firewall, certificates.

    Example:

        Serving.of_tegata(edge, service)
    """

    balanced: Sequence[Balanced]
    running: Sequence[Running]
    web_acl: waf.CfnWebACL
    certificates: Mapping[str, str | None]
    """By the parameter that would ask for each; None where the stack of the load balancer asks by it."""
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
            certificates=_find(edge, CertificateArn=edge.front.certificate),
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
            certificates=_find(
                chain, CertificateArn=chain.front.certificate, BackCertificateArn=chain.back_certificate
            ),
            nginx=chain.instances,
        )

    @classmethod
    def of_plan_c(cls, edge: PlanCEdgeStack, service: PlanCServiceStack) -> Serving:
        """Plan C: the front before the application."""
        return cls(
            balanced=[Balanced("", edge.front.load_balancer, edge.target_group)],
            running=[Running("", service.service)],
            web_acl=edge.front.web_acl,
            certificates=_find(edge, CertificateArn=edge.front.certificate),
        )


def _find(stack: TegataStack, **certificates: elbv2.IListenerCertificate) -> dict[str, str | None]:
    """Return the certificates without those that are parameters of the stack.

    A parameter that another stack imports cannot be changed any more: CloudFormation keeps an export that is in use.
    """
    return {
        name: None if stack.node.try_find_child(name) is not None else certificate.certificate_arn
        for name, certificate in certificates.items()
    }
