"""The alarms of what answers requests: load balancers, containers, the firewall, the ways out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as elbv2
from aws_cdk import aws_wafv2 as waf

from tegata_infra.alarms import (
    ABOVE,
    BELOW,
    DAY,
    FIVE_MINUTES,
    MINUTE,
    SILENCE_CHANGES_NOTHING,
    SILENCE_IS_BAD,
    SILENCE_IS_GOOD,
    Page,
)

SLOW_SECONDS = 2.0
"""A sign-in with Argon2 takes some hundred milliseconds; what takes this long is waiting for something."""

DAYS_TO_RENEW = 30
"""ACM renews by itself 60 days before the end: what is this old has failed to be renewed for a month."""


@dataclass(frozen=True, slots=True)
class Balanced:
    """A load balancer with the group of targets behind it; `word` is in the names of its alarms, empty for the front.

    Example:

        Balanced("", front.load_balancer, target_group)
    """

    word: str
    load_balancer: elbv2.ApplicationLoadBalancer
    targets: elbv2.ApplicationTargetGroup

    def name(self, words: str) -> str:
        """Return the name of an alarm: `target-5xx`, or `back-target-5xx`."""
        return f"{self.word}-{words}" if self.word else words

    def metric(self, name: str, period: cdk.Duration = FIVE_MINUTES, statistic: str = "Sum") -> cloudwatch.Metric:
        """Return a metric of the load balancer, or of its targets if the load balancer has none of that name.

        CDK's own would name the load balancer by taking the ARN of its listener apart, each time anew.
        """
        dimensions = {"LoadBalancer": self.load_balancer.load_balancer_full_name}
        if "_ELB_" not in name:
            dimensions["TargetGroup"] = self.targets.target_group_full_name
        return cloudwatch.Metric(
            namespace="AWS/ApplicationELB",
            metric_name=name,
            dimensions_map=dimensions,
            period=period,
            statistic=statistic,
        )


@dataclass(frozen=True, slots=True)
class Running:
    """A service of containers; `word` as in `Balanced`.

    Example:

        Running("worker", service.worker)
    """

    word: str
    service: ecs.FargateService

    def name(self, words: str) -> str:
        """Return the name of an alarm: `high-cpu`, or `worker-high-cpu`."""
        return f"{self.word}-{words}" if self.word else words

    def metric(
        self, namespace: str, name: str, period: cdk.Duration = FIVE_MINUTES, statistic: str = "Average"
    ) -> cloudwatch.Metric:
        """Return a metric of the service."""
        return cloudwatch.Metric(
            namespace=namespace,
            metric_name=name,
            dimensions_map={
                "ClusterName": self.service.cluster.cluster_name,
                "ServiceName": self.service.service_name,
            },
            period=period,
            statistic=statistic,
        )


def pages_of_balancer(balanced: Balanced) -> Iterator[Page]:
    """Yield what is wrong when requests fail, are slow, or reach nobody."""
    yield Page(
        name=balanced.name("alb-5xx"),
        metric=balanced.metric("HTTPCode_ELB_5XX_Count"),
        threshold=10,
        silence=SILENCE_IS_GOOD,
        means="The load balancer itself answers 502, 503 or 504: it finds no healthy target, or they hang up on it.",
        do="Look at unhealthy-hosts and at the service's events; 504 alone: at target-latency and the database.",
    )
    yield Page(
        name=balanced.name("target-5xx"),
        metric=cloudwatch.MathExpression(
            expression="IF(errors > 10, 100 * errors / requests, 0)",
            label="answers of 500 and above, in percent",
            using_metrics={
                "errors": balanced.metric("HTTPCode_Target_5XX_Count"),
                "requests": balanced.metric("RequestCount"),
            },
            period=FIVE_MINUTES,
        ),
        threshold=1,
        silence=SILENCE_IS_GOOD,
        means="More than one answer in a hundred of the containers is a 500 or above, and more than ten in all.",
        do="Search the containers' log for level error; after a deployment, deploy the image before it.",
    )
    yield Page(
        name=balanced.name("target-latency"),
        metric=balanced.metric("TargetResponseTime", statistic="p99"),
        compare=ABOVE,
        threshold=SLOW_SECONDS,
        periods=3,
        silence=SILENCE_IS_GOOD,
        means="One request in a hundred has waited longer than two seconds for a quarter of an hour.",
        do="Compare with database-cpu, database-connections and high-cpu; the traces name what is slow.",
    )
    yield Page(
        name=balanced.name("unhealthy-hosts"),
        metric=balanced.metric("UnHealthyHostCount", MINUTE, "Maximum"),
        threshold=1,
        periods=5,
        silence=SILENCE_IS_GOOD,
        means="A target has failed its health checks for five minutes, and has not been replaced.",
        do="Read the service's events and the stopped tasks' reasons; the health path says what a task misses.",
    )
    yield Page(
        name=balanced.name("no-healthy-host"),
        metric=balanced.metric("HealthyHostCount", MINUTE, "Minimum"),
        compare=BELOW,
        threshold=1,
        periods=2,
        silence=SILENCE_IS_BAD,
        means="No target is healthy: nobody can sign in.",
        do="First the last deployment (roll back), then the database, then the zones' state on AWS's health page.",
    )


def pages_of_service(running: Running) -> Iterator[Page]:
    """Yield what is wrong when containers are too few, or have too much to do."""
    yield Page(
        name=running.name("high-cpu"),
        metric=running.metric("AWS/ECS", "CPUUtilization"),
        compare=ABOVE,
        threshold=80,
        periods=2,
        silence=SILENCE_IS_GOOD,
        means="The containers' CPU is above 80 % for ten minutes: scaling does not keep up, or has reached its limit.",
        do="See whether requests have grown or one address floods (WAF); else raise the most tasks.",
    )
    yield Page(
        name=running.name("high-memory"),
        metric=running.metric("AWS/ECS", "MemoryUtilization"),
        compare=ABOVE,
        threshold=85,
        periods=2,
        silence=SILENCE_IS_GOOD,
        means="The containers use more than 85 % of their memory: soon one is killed.",
        do="Did it grow with a deployment? Roll back. Else give the tasks more memory.",
    )
    insights = "ECS/ContainerInsights"
    yield Page(
        name=running.name("too-few-tasks"),
        metric=cloudwatch.MathExpression(
            expression="desired - running",
            label="tasks that are missing",
            using_metrics={
                "desired": running.metric(insights, "DesiredTaskCount", MINUTE, "Maximum"),
                "running": running.metric(insights, "RunningTaskCount", MINUTE, "Minimum"),
            },
            period=MINUTE,
        ),
        threshold=1,
        periods=10,
        silence=SILENCE_IS_BAD,
        means="Fewer tasks run than should, for ten minutes: they do not start, or there is no room for them.",
        do="The reason is in the service's events: no image, a task that ends, no capacity.",
    )


def pages_of_errors(errors: cloudwatch.IMetric) -> Iterator[Page]:
    """Yield what is wrong when the application writes of errors that it did not foresee."""
    yield Page(
        name="errors-in-log",
        metric=errors,
        threshold=5,
        silence=SILENCE_IS_GOOD,
        means="Tegata has written five lines of level error in five minutes: something that it did not foresee.",
        do="Search the log group of the containers for level error; each line has its request and its reason.",
    )


def pages_of_firewall(acl: waf.CfnWebACL, region: str) -> Iterator[Page]:
    """Yield what is wrong when the firewall blocks far more than it does on other days."""
    assert acl.name is not None
    yield Page(
        name="waf-blocked",
        metric=cloudwatch.Metric(
            namespace="AWS/WAFV2",
            metric_name="BlockedRequests",
            dimensions_map={"WebACL": acl.name, "Region": region, "Rule": "ALL"},
            period=FIVE_MINUTES,
            statistic="Sum",
        ),
        threshold=1000,
        periods=2,
        silence=SILENCE_IS_GOOD,
        means="More than 1000 requests in five minutes are blocked: an attack, or a rule that shuts users out.",
        do="The metric of each rule names it, the firewall's log the addresses; a false alarm: count instead of block.",
    )


def pages_of_network(vpc: ec2.Vpc) -> Iterator[Page]:
    """Yield what is wrong with the ways out."""
    for subnet, word in zip(vpc.select_subnets(subnet_group_name="public").subnets, "abc", strict=False):
        gateway = subnet.node.try_find_child("NATGateway")
        if isinstance(gateway, ec2.CfnNatGateway):
            yield Page(
                name=f"nat-{word}-no-ports",
                metric=cloudwatch.Metric(
                    namespace="AWS/NATGateway",
                    metric_name="ErrorPortAllocation",
                    dimensions_map={"NatGatewayId": gateway.ref},
                    period=FIVE_MINUTES,
                    statistic="Sum",
                ),
                threshold=1,
                silence=SILENCE_IS_GOOD,
                means="A NAT gateway has no free port: connections to the world fail now and then.",
                do="Somebody opens connections and does not keep them: find the destination in the flow log.",
            )


def pages_of_certificates(arns: Sequence[str]) -> Iterator[Page]:
    """Yield what is wrong when a certificate is about to end."""
    for arn, word in zip(arns, ("", "back-"), strict=False):
        yield Page(
            name=f"{word}certificate-ends",
            metric=cloudwatch.Metric(
                namespace="AWS/CertificateManager",
                metric_name="DaysToExpiry",
                dimensions_map={"CertificateArn": arn},
                period=DAY,
                statistic="Minimum",
            ),
            compare=BELOW,
            threshold=DAYS_TO_RENEW,
            silence=SILENCE_CHANGES_NOTHING,
            means="The certificate ends within 30 days: ACM has not been able to renew it.",
            do="Is its CNAME still in DNS? An imported certificate has to be imported again.",
        )


def pages_of_instances(group: autoscaling.AutoScalingGroup, fewest: int) -> Iterator[Page]:
    """Yield what is wrong when instances of nginx are missing."""
    yield Page(
        name="too-few-nginx",
        metric=cloudwatch.Metric(
            namespace="AWS/AutoScaling",
            metric_name="GroupInServiceInstances",
            dimensions_map={"AutoScalingGroupName": group.auto_scaling_group_name},
            period=MINUTE,
            statistic="Minimum",
        ),
        compare=BELOW,
        threshold=fewest,
        periods=15,
        silence=SILENCE_IS_BAD,
        means="Fewer instances of nginx are in service than there should be, for longer than one takes to start.",
        do="Read the group's activity, and the log of an instance's first boot (cloud-init) through Session Manager.",
    )
