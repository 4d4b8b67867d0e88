"""The certificate of the front, and its name in DNS: the deployer's, or made from a hosted zone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_elasticloadbalancingv2 as elbv2
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_route53_targets as targets

if TYPE_CHECKING:
    from tegata_infra.stack import TegataStack


def find_certificate(stack: TegataStack) -> elbv2.IListenerCertificate:
    """Return the certificate that was named, or one that the hosted zone proves, or the template's parameter."""
    owner = stack.config.owner
    zone = find_zone(stack)
    if owner.certificate_arn is None and zone is not None:
        made = acm.Certificate(
            stack,
            "Certificate",
            domain_name=zone.zone_name,
            validation=acm.CertificateValidation.from_dns(zone),
            certificate_name=stack.name("front"),
        )
        return elbv2.ListenerCertificate.from_certificate_manager(made)
    return elbv2.ListenerCertificate.from_arn(stack.say_or_ask("CertificateArn", owner.certificate_arn))


def add_record(stack: TegataStack, load_balancer: elbv2.IApplicationLoadBalancer) -> None:
    """Let the domain name lead to the load balancer, if its zone is ours to write to."""
    zone = find_zone(stack)
    if zone is not None:
        alias = route53.RecordTarget.from_alias(targets.LoadBalancerTarget(load_balancer))
        route53.ARecord(stack, "FrontRecord", zone=zone, target=alias, comment=f"{stack.config.prefix} front")


def find_zone(stack: TegataStack) -> route53.IHostedZone | None:
    """Return the hosted zone; the name in it is that of the deployment, in the zone's root or below it.

    Raises:
        ValueError: there is a zone and nobody has said for which name.
    """
    owner = stack.config.owner
    if owner.hosted_zone_id is None:
        return None
    if owner.domain_name is None:
        raise ValueError("HOSTED_ZONE_ID without DOMAIN_NAME: which name in that zone?")
    found = stack.node.try_find_child("HostedZone")
    if found is None:
        # A record without a name of its own has the zone's: so the zone is said to have the deployment's name.
        return route53.HostedZone.from_hosted_zone_attributes(
            stack, "HostedZone", hosted_zone_id=owner.hosted_zone_id, zone_name=owner.domain_name
        )
    return found
