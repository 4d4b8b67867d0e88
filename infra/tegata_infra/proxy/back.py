"""The load balancer between nginx and the application: inside the network, HTTPS alone (seed 003, errata D15)."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticloadbalancingv2 as elbv2

from tegata_infra.acknowledgement import acknowledge
from tegata_infra.network import NetworkStack
from tegata_infra.stack import TegataStack

HEALTH_PATH = "/health"


def add_back(
    stack: TegataStack, network: NetworkStack, certificate: elbv2.IListenerCertificate
) -> tuple[elbv2.ApplicationLoadBalancer, elbv2.ApplicationTargetGroup]:
    """Add the internal load balancer and the target group of the application's tasks."""
    balancer = elbv2.ApplicationLoadBalancer(
        stack,
        "Back",
        load_balancer_name=stack.name("back-alb"),
        vpc=network.vpc,
        internet_facing=False,
        vpc_subnets=ec2.SubnetSelection(subnet_group_name="app"),
        security_group=network.firewall.back,
        drop_invalid_header_fields=True,
        desync_mitigation_mode=elbv2.DesyncMitigationMode.STRICTEST,
        deletion_protection=stack.config.environment != "dev",
        # Above nginx's own limit: nginx says 504, and says so in its log, before the balancer hangs up.
        idle_timeout=cdk.Duration.seconds(75),
    )
    acknowledge(
        balancer,
        "every request has passed the front, which keeps logs, and nginx, whose log has the back's status",
        "AwsSolutions-ELB2",
        "CKV_AWS_91",
    )
    targets = elbv2.ApplicationTargetGroup(
        stack,
        "AppTargets",
        target_group_name=stack.name("app-tg"),
        vpc=network.vpc,
        port=stack.config.app_port,
        protocol=elbv2.ApplicationProtocol.HTTP,
        target_type=elbv2.TargetType.IP,
        deregistration_delay=cdk.Duration.seconds(30),
        health_check=elbv2.HealthCheck(
            path=HEALTH_PATH,
            interval=cdk.Duration.seconds(30),
            timeout=cdk.Duration.seconds(5),
            healthy_threshold_count=2,
            unhealthy_threshold_count=3,
            healthy_http_codes="200",
        ),
    )
    balancer.add_listener(
        "Https",
        port=443,
        protocol=elbv2.ApplicationProtocol.HTTPS,
        certificates=[certificate],
        ssl_policy=elbv2.SslPolicy.TLS13_RES,
        open=False,
        default_action=elbv2.ListenerAction.forward([targets]),
    )
    return balancer, targets
