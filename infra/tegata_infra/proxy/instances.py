"""nginx on EC2: instances without SSH that replace each other, with the generated configuration (seed 003)."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_ssm as ssm

from tegata_infra.acknowledgement import acknowledge
from tegata_infra.network import NetworkStack
from tegata_infra.stack import TegataStack

DISK_GIB = 10


def add_instances(
    stack: TegataStack, network: NetworkStack, parameter: ssm.IStringParameter, user_data: ec2.UserData
) -> autoscaling.AutoScalingGroup:
    """Add the group: one instance in each zone, or one in dev; a new configuration replaces them one by one."""
    fewest = 1 if stack.config.environment == "dev" else len(stack.config.network.zones)
    role = _add_role(stack, parameter)
    template = ec2.LaunchTemplate(
        stack,
        "NginxTemplate",
        launch_template_name=stack.name("nginx"),
        machine_image=_find_image(stack),
        instance_type=ec2.InstanceType("t4g.small"),
        security_group=network.firewall.nginx,
        role=role,
        user_data=user_data,
        require_imdsv2=True,
        http_put_response_hop_limit=1,
        http_tokens=ec2.LaunchTemplateHttpTokens.REQUIRED,
        block_devices=[
            ec2.BlockDevice(
                device_name="/dev/xvda",
                volume=ec2.BlockDeviceVolume.ebs(
                    DISK_GIB, encrypted=True, volume_type=ec2.EbsDeviceVolumeType.GP3, delete_on_termination=True
                ),
            )
        ],
    )
    group = autoscaling.AutoScalingGroup(
        stack,
        "Nginx",
        auto_scaling_group_name=stack.name("nginx"),
        vpc=network.vpc,
        vpc_subnets=ec2.SubnetSelection(subnet_group_name="app"),
        launch_template=template,
        min_capacity=fewest,
        max_capacity=fewest * 2,
        health_checks=autoscaling.HealthChecks.with_additional_checks(
            additional_types=[autoscaling.AdditionalHealthCheckType.ELB], grace_period=cdk.Duration.minutes(5)
        ),
        update_policy=autoscaling.UpdatePolicy.rolling_update(
            max_batch_size=1,
            min_instances_in_service=fewest,
            pause_time=cdk.Duration.minutes(10),
            wait_on_resource_signals=True,
            suspend_processes=[
                autoscaling.ScalingProcess.HEALTH_CHECK,
                autoscaling.ScalingProcess.REPLACE_UNHEALTHY,
                autoscaling.ScalingProcess.AZ_REBALANCE,
                autoscaling.ScalingProcess.ALARM_NOTIFICATION,
                autoscaling.ScalingProcess.SCHEDULED_ACTIONS,
            ],
        ),
        signals=autoscaling.Signals.wait_for_min_capacity(timeout=cdk.Duration.minutes(15)),
        group_metrics=[autoscaling.GroupMetrics.all()],
    )
    group.scale_on_cpu_utilization("Cpu", target_utilization_percent=50)
    cdk.Tags.of(group).add("Name", stack.name("nginx"))
    acknowledge(group, "alarms tell of what goes wrong; who is told of each instance stops reading", "AwsSolutions-AS3")
    return group


def _find_image(stack: TegataStack) -> ec2.IMachineImage:
    """Return the deployer's image, or the newest Amazon Linux: a parameter type of CloudFormation, no look-up."""
    if stack.config.owner.nginx_image_id is not None:
        return ec2.MachineImage.generic_linux({stack.config.region: stack.config.owner.nginx_image_id})
    return ec2.MachineImage.latest_amazon_linux2023(cpu_type=ec2.AmazonLinuxCpuType.ARM_64)


def _add_role(stack: TegataStack, parameter: ssm.IStringParameter) -> iam.Role:
    """Add what an instance may: be managed without SSH, and read the one parameter."""
    role = iam.Role(
        stack,
        "NginxRole",
        assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
        managed_policies=[iam.ManagedPolicy.from_aws_managed_policy_name("AmazonSSMManagedInstanceCore")],
    )
    acknowledge(
        role,
        "AWS's own policy for its agent, which takes the place of SSH; it changes with the agent",
        "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/AmazonSSMManagedInstanceCore]",
    )
    role.add_to_policy(iam.PolicyStatement(actions=["ssm:GetParameter"], resources=[parameter.parameter_arn]))
    return role
