"""Containers on Fargate: the cluster, roles, task definitions, the service and how it grows (seed 001).

Nothing here knows Tegata; `service` and the other plans say which programs run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as elbv2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs

from tegata_infra.acknowledgement import acknowledge

if TYPE_CHECKING:
    from tegata_infra.network import NetworkStack
    from tegata_infra.stack import TegataStack

DEREGISTRATION_SECONDS = 30
"""How long requests may last that a task has when it is taken out of its target group; then it gets SIGTERM."""

STOP_SECONDS = 60
"""From SIGTERM to SIGKILL: more than a program takes that refuses, finishes and says good-bye in order."""

USER = "10001:10001"
"""Who programs are, in both images of the project."""

_ARCHITECTURES = {"arm64": ecs.CpuArchitecture.ARM64, "x86_64": ecs.CpuArchitecture.X86_64}


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What runs in a task: one container, and whether it is what the task is for.

    Example:

        Program(name="idp-server", image=image, entry_point=("tegata",), command=("serve",), port=8080)
    """

    name: str
    image: ecs.ContainerImage
    entry_point: Sequence[str] = ()
    """Empty for the image's own, as with `command`."""
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, ecs.Secret] = field(default_factory=dict)
    """Variables that ECS fills when the task starts, and never again (errata B28): for tasks that run once."""
    health: Sequence[str] = ()
    """A command inside the container, without a shell."""
    port: int | None = None
    user: str | None = USER
    essential: bool = True
    memory_mib: int | None = None
    """The most it may have; without it, what the task has."""


def add_cluster(stack: TegataStack, network: NetworkStack) -> ecs.Cluster:
    """Add the cluster: Fargate alone, with figures of each container."""
    name = stack.name("cluster")
    record = None
    if stack.config.service.execute_command:
        log = stack.add_log_group("Shells", f"/ecs/{stack.config.prefix}/shells", network.logs_key)
        record = ecs.ExecuteCommandConfiguration(
            logging=ecs.ExecuteCommandLogging.OVERRIDE,
            log_configuration=ecs.ExecuteCommandLogConfiguration(
                cloud_watch_log_group=log, cloud_watch_encryption_enabled=True
            ),
        )
    cluster = ecs.Cluster(
        stack,
        "Cluster",
        cluster_name=name,
        vpc=network.vpc,
        container_insights_v2=ecs.ContainerInsights.ENHANCED,
        execute_command_configuration=record,
    )
    # Not CDK's own switch, which adds FARGATE_SPOT: tasks that AWS may take away with two minutes' notice.
    ecs.CfnClusterCapacityProviderAssociations(
        stack,
        "CapacityProviders",
        cluster=cluster.cluster_name,
        capacity_providers=["FARGATE"],
        default_capacity_provider_strategy=[
            ecs.CfnClusterCapacityProviderAssociations.CapacityProviderStrategyProperty(
                capacity_provider="FARGATE", weight=1
            )
        ],
    )
    cdk.Tags.of(cluster).add("Name", name)
    return cluster


def add_log_group(stack: TegataStack, network: NetworkStack) -> logs.LogGroup:
    """Add the group of what containers write: `/ecs/idp-server`."""
    return stack.add_log_group("ContainerLog", f"/ecs/{stack.config.prefix}", network.logs_key)


def add_repository(stack: TegataStack) -> ecr.Repository:
    """Add the place for the image: what a tag has meant once it means for ever, and each image is looked through."""
    repository = ecr.Repository(
        stack,
        "Repository",
        repository_name=stack.config.prefix,
        image_tag_mutability=ecr.TagMutability.IMMUTABLE,
        image_scan_on_push=True,
        encryption=ecr.RepositoryEncryption.KMS,
        removal_policy=stack.retention(),
        empty_on_delete=stack.config.environment == "dev",
        lifecycle_rules=[
            ecr.LifecycleRule(rule_priority=1, description="fifty versions back", max_image_count=50),
        ],
    )
    cdk.CfnOutput(stack, "RepositoryUri", value=repository.repository_uri, description="Where to push the image")
    return repository


def add_role(stack: TegataStack, construct_id: str, description: str) -> iam.Role:
    """Add a role for containers of this account's tasks, which may do nothing yet."""
    here = stack.format_arn(service="ecs", resource="*", arn_format=cdk.ArnFormat.NO_RESOURCE_NAME)
    return iam.Role(
        stack,
        construct_id,
        description=f"{stack.config.prefix}: {description}",
        assumed_by=iam.ServicePrincipal(
            "ecs-tasks.amazonaws.com",
            # ECS acts for many accounts: only what it does for this one counts (confused deputy).
            conditions={"StringEquals": {"aws:SourceAccount": stack.account}, "ArnLike": {"aws:SourceArn": here}},
        ),
    )


def add_execution_role(
    stack: TegataStack, construct_id: str, repository: ecr.IRepository, log: logs.ILogGroup
) -> iam.Role:
    """Add the role with which ECS starts tasks: it fetches the image and writes the log, and reads no secret."""
    role = add_role(stack, construct_id, "ECS itself, to start tasks")
    repository.grant_pull(role)
    log.grant_write(role)
    acknowledge_policy(role, "ecr:GetAuthorizationToken belongs to no repository: AWS takes no other resource")
    return role


def acknowledge_policy(role: iam.Role, reason: str, *more: str) -> None:
    """Accept `*` as resource in the role's own policy."""
    policy = role.node.find_child("DefaultPolicy")
    acknowledge(policy, reason, "AwsSolutions-IAM5[Resource::*]", *more)


def add_task_definition(
    stack: TegataStack,
    construct_id: str,
    *,
    family: str,
    programs: Sequence[Program],
    task_role: iam.IRole,
    execution_role: iam.IRole,
    log: logs.ILogGroup,
    cpu: int | None = None,
    memory_mib: int | None = None,
) -> ecs.FargateTaskDefinition:
    """Add a task definition: the first program is what the task is for, of the configured size unless told."""
    config = stack.config.service
    task = ecs.FargateTaskDefinition(
        stack,
        construct_id,
        family=family,
        cpu=cpu or config.cpu,
        memory_limit_mib=memory_mib or config.memory_mib,
        task_role=task_role,
        execution_role=execution_role,
        runtime_platform=ecs.RuntimePlatform(
            cpu_architecture=_ARCHITECTURES[config.architecture],
            operating_system_family=ecs.OperatingSystemFamily.LINUX,
        ),
    )
    for program in programs:
        _add_container(stack, task, program, log)
    acknowledge(
        task,
        "settings are values and references to secrets; no variable holds a secret (a test reads each)",
        "AwsSolutions-ECS2",
    )
    return task


def _add_container(stack: TegataStack, task: ecs.FargateTaskDefinition, program: Program, log: logs.ILogGroup) -> None:
    shell = stack.config.service.execute_command
    linux = ecs.LinuxParameters(task, f"{program.name}-linux", init_process_enabled=True)
    if not shell:
        linux.drop_capabilities(ecs.Capability.ALL)
    port = None if program.port is None else [ecs.PortMapping(container_port=program.port, name="http")]
    check = None
    if program.health:
        check = ecs.HealthCheck(
            command=["CMD", *program.health],
            interval=cdk.Duration.seconds(30),
            timeout=cdk.Duration.seconds(5),
            retries=3,
            start_period=cdk.Duration.seconds(60),
        )
    container = task.add_container(
        program.name.title().replace("-", ""),
        container_name=program.name,
        image=program.image,
        entry_point=list(program.entry_point) or None,
        command=list(program.command) or None,
        environment=dict(program.environment),
        secrets=dict(program.secrets) or None,
        essential=program.essential,
        enable_restart_policy=not program.essential,
        health_check=check,
        port_mappings=port,
        user=program.user,
        privileged=False,
        # A shell in the container (`execute_command`) needs a place to write; nothing else does.
        readonly_root_filesystem=not shell,
        stop_timeout=cdk.Duration.seconds(STOP_SECONDS),
        memory_limit_mib=program.memory_mib,
        linux_parameters=linux,
        logging=ecs.LogDriver.aws_logs(
            stream_prefix="ecs",
            log_group=log,
            # Requests do not wait for a log that cannot be written.
            mode=ecs.AwsLogDriverMode.NON_BLOCKING,
            max_buffer_size=cdk.Size.mebibytes(25),
        ),
    )
    container.add_ulimits(ecs.Ulimit(name=ecs.UlimitName.NOFILE, soft_limit=65536, hard_limit=65536))


def add_service(
    stack: TegataStack,
    construct_id: str,
    *,
    name: str,
    cluster: ecs.ICluster,
    task: ecs.FargateTaskDefinition,
    network: NetworkStack,
    served: bool = True,
    tasks: int | None = None,
) -> ecs.FargateService:
    """Add a service in the zones of the app subnets. What it cannot start it takes back by itself.

    Args:
        stack: whose.
        construct_id: its id.
        name: its name in AWS.
        cluster: where.
        task: what.
        network: subnets and security group of containers.
        served: whether a load balancer asks for its health.
        tasks: how many; None where `add_scaling` decides. A number in the template would be written at each update,
            and take away what scaling has added.
    """
    service = ecs.FargateService(
        stack,
        construct_id,
        service_name=name,
        cluster=cluster,
        task_definition=task,
        desired_count=tasks,
        platform_version=ecs.FargatePlatformVersion.LATEST,
        vpc_subnets=ec2.SubnetSelection(subnet_group_name="app"),
        security_groups=[network.firewall.app],
        assign_public_ip=False,
        min_healthy_percent=100 if served else 0,
        max_healthy_percent=200 if served else 100,
        availability_zone_rebalancing=ecs.AvailabilityZoneRebalancing.ENABLED if served else None,
        circuit_breaker=ecs.DeploymentCircuitBreaker(enable=True, rollback=True),
        health_check_grace_period=cdk.Duration.seconds(60) if served else None,
        enable_execute_command=stack.config.service.execute_command,
        enable_ecs_managed_tags=True,
        propagate_tags=ecs.PropagatedTagSource.SERVICE,
    )
    cdk.Tags.of(service).add("Name", name)
    if stack.config.service.execute_command:
        _acknowledge_shell(stack, task)
    return service


def _acknowledge_shell(stack: TegataStack, task: ecs.FargateTaskDefinition) -> None:
    group = stack.node.find_child("Shells").node.default_child
    assert isinstance(group, cdk.CfnElement)
    account = stack.config.owner.account or "<AWS::AccountId>"
    streams = f"arn:aws:logs:{stack.region}:{account}:log-group:<{stack.get_logical_id(group)}>:*"
    acknowledge(
        task.task_role.node.find_child("DefaultPolicy"),
        "a shell for an incident: Systems Manager's channels have no names, and what is typed is logged",
        *(f"AwsSolutions-IAM5[Resource::{each}]" for each in ("*", streams)),
    )


def add_scaling(
    stack: TegataStack, service: ecs.FargateService, target_group: elbv2.ApplicationTargetGroup
) -> ecs.ScalableTaskCount:
    """Let the service grow and shrink: by CPU, and by the requests of each task. Never below the fewest."""
    config = stack.config.service
    count = service.auto_scale_task_count(min_capacity=config.fewest_tasks, max_capacity=config.most_tasks)
    slowly = {"scale_out_cooldown": cdk.Duration.seconds(60), "scale_in_cooldown": cdk.Duration.seconds(300)}
    count.scale_on_cpu_utilization("Cpu", target_utilization_percent=config.cpu_target_percent, **slowly)
    count.scale_on_request_count(
        "Requests", requests_per_target=config.requests_target, target_group=target_group, **slowly
    )
    return count
