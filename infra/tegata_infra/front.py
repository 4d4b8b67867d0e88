"""The load balancer that the world reaches: HTTPS as FAPI wants it, a log of accesses, a firewall before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticloadbalancingv2 as elbv2
from aws_cdk import aws_s3 as s3

from tegata_infra.certificate import add_record, find_certificate
from tegata_infra.kept_logs import add_log_bucket
from tegata_infra.waf import Rate, add_web_acl

if TYPE_CHECKING:
    from tegata_infra.network import NetworkStack
    from tegata_infra.stack import TegataStack

TLS_POLICY = elbv2.SslPolicy.TLS13_12_RES_PQ
"""TLS 1.3, and 1.2 with ECDHE and AES-GCM alone: what FAPI 2.0 §5.2 leaves of it (RFC 9325 §4.2). Key exchange
of TLS 1.3 may be post-quantum hybrid."""

IDLE_SECONDS = 60
"""The server keeps its connections for longer: else the load balancer sends a request into one just closed (502)."""

HTTP_1 = elbv2.ApplicationProtocol.HTTP
HTTPS = elbv2.ApplicationProtocol.HTTPS


class Front:
    """The public load balancer of a stack as `load_balancer`, its HTTPS listener as `listener`, its `web_acl`.

    Example:

        front = Front(self, network, elbv2.ListenerAction.forward([target_group]))
    """

    def __init__(
        self, stack: TegataStack, network: NetworkStack, action: elbv2.ListenerAction, rates: tuple[Rate, ...] = ()
    ) -> None:
        """Add it.

        Args:
            stack: in which it stands.
            network: its subnets, its security group (`firewall.front`), the key of its logs.
            action: what becomes of requests by HTTPS.
            rates: limits of requests beside the configured one of all requests, the narrowest first.
        """
        # Without a KMS key: the load balancer writes to no bucket with one ("Access logs", ELB user guide). It writes a
        # test file as soon as it is told of it: a bucket that did not stay would stand in a rollback's way.
        self.access_logs = add_log_bucket(
            stack,
            "AccessLogs",
            days=max(stack.config.observability.log_days, 30),
            holds="holds the logs of accesses; one more of who read them would need a bucket, and so on: "
            "CloudTrail says it",
        )
        self.load_balancer = _add_load_balancer(stack, network, self.access_logs)
        self.certificate = find_certificate(stack)
        self.listener = _add_listeners(self.load_balancer, self.certificate, action)
        limits = (*rates, Rate("rate-of-all", stack.config.edge.rate_limit))
        self.web_acl = add_web_acl(stack, self.load_balancer.load_balancer_arn, limits, network.logs_key)
        add_record(stack, self.load_balancer)
        cdk.CfnOutput(
            stack,
            "FrontDnsName",
            description="Where the domain name has to lead to (CNAME or alias)",
            value=self.load_balancer.load_balancer_dns_name,
        )


def _add_load_balancer(stack: TegataStack, network: NetworkStack, log: s3.Bucket) -> elbv2.ApplicationLoadBalancer:
    name = stack.name("alb")
    front = elbv2.ApplicationLoadBalancer(
        stack,
        "Front",
        load_balancer_name=name,
        vpc=network.vpc,
        vpc_subnets=ec2.SubnetSelection(subnet_group_name="public"),
        internet_facing=True,
        ip_address_type=elbv2.IpAddressType.IPV4,
        security_group=network.firewall.front,
        deletion_protection=stack.config.environment != "dev",
        drop_invalid_header_fields=True,
        desync_mitigation_mode=elbv2.DesyncMitigationMode.DEFENSIVE,
        xff_header_processing_mode=elbv2.XffHeaderProcessingMode.APPEND,
        http2_enabled=True,
        idle_timeout=cdk.Duration.seconds(IDLE_SECONDS),
    )
    front.log_access_logs(log, "front")
    cdk.Tags.of(front).add("Name", name)
    return front


def _add_listeners(
    front: elbv2.ApplicationLoadBalancer, certificate: elbv2.IListenerCertificate, action: elbv2.ListenerAction
) -> elbv2.ApplicationListener:
    front.add_listener(
        "Http",
        port=80,
        protocol=HTTP_1,
        open=False,  # the security group says already who may come
        default_action=elbv2.ListenerAction.redirect(protocol="HTTPS", port="443", permanent=True),
    )
    https = front.add_listener(
        "Https",
        port=443,
        protocol=HTTPS,
        open=False,
        certificates=[certificate],
        ssl_policy=TLS_POLICY,
        default_action=action,
    )
    https.set_attribute("routing.http.response.server.enabled", "false")
    return https
