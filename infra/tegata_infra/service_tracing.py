"""The collector of traces beside the servers: AWS Distro for OpenTelemetry, which passes them to X-Ray (errata B35)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam

from tegata_infra.acknowledgement import acknowledge
from tegata_infra.containers import Program

if TYPE_CHECKING:
    from tegata_infra.stack import TegataStack

CONFIGURATION = """\
receivers:
  otlp:
    protocols:
      http: {endpoint: 127.0.0.1:4318}
processors:
  memory_limiter: {check_interval: 1s, limit_mib: 100}
  batch: {timeout: 1s, send_batch_size: 50}
exporters:
  awsxray:
    indexed_attributes: [tegata.tenant, tegata.oauth.error, tegata.front.root]
service:
  pipelines:
    traces: {receivers: [otlp], processors: [memory_limiter, batch], exporters: [awsxray]}
"""
"""That of docs/how-to/trace-requests.md; a test compares the two."""

MEMORY_MIB = 256


def add_collector(stack: TegataStack) -> Program:
    """Return the collector's container. The servers do not wait for it, and a task outlives it.

    The parameter CollectorImage takes a digest: whoever deploys sees which one the release has in his registry.
    """
    return Program(
        name="collector",
        image=ecs.ContainerImage.from_registry(stack.say_or_ask("CollectorImage", None)),
        environment={"AOT_CONFIG_CONTENT": CONFIGURATION, "AWS_REGION": stack.config.region},
        user=None,  # the image's own, which is not root either
        essential=False,
        memory_mib=MEMORY_MIB,
    )


def let_send_traces(role: iam.Role) -> None:
    """Let the role of a task write traces. The collector signs with the role of the whole task."""
    role.add_to_policy(
        iam.PolicyStatement(
            sid="SendTraces", actions=["xray:PutTraceSegments", "xray:PutTelemetryRecords"], resources=["*"]
        )
    )
    policy = role.node.find_child("DefaultPolicy")
    acknowledge(policy, "X-Ray knows no resource for these two actions", "AwsSolutions-IAM5[Resource::*]")
