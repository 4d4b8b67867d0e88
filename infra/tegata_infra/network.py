"""The network: three tiers in each zone, ways out, endpoints, and who may speak with whom (seed 001)."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from tegata_infra.acknowledgement import acknowledge
from tegata_infra.addresses import SeedAddresses
from tegata_infra.config import Config
from tegata_infra.firewall import Firewall
from tegata_infra.stack import TegataStack

TIERS = {
    "public": ec2.SubnetType.PUBLIC,
    "app": ec2.SubnetType.PRIVATE_WITH_EGRESS,
    "database": ec2.SubnetType.PRIVATE_ISOLATED,
}
SEED_NAMES = {"public": "public", "app": "private-app", "database": "private-db"}
"""What the seed calls the tiers, in the names and in the tag `Type` of subnets."""

ZONE_REASON = "the zones are the configuration's, so that no look-up is needed: DEPLOYMENT_ZONES names others"

ENDPOINTS = {
    "SecretsManager": ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
    "EcrApi": ec2.InterfaceVpcEndpointAwsService.ECR,
    "EcrDocker": ec2.InterfaceVpcEndpointAwsService.ECR_DOCKER,
    "Logs": ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS,
    "Kms": ec2.InterfaceVpcEndpointAwsService.KMS,
}


class NetworkStack(TegataStack):
    """The VPC as `vpc`, security groups as `firewall`, and the key of all log groups as `logs_key`."""

    def __init__(self, scope: Construct, config: Config) -> None:
        super().__init__(scope, "Network", config, description=f"{config.prefix}: network")
        self.logs_key = self._add_logs_key()
        self.vpc = self._add_vpc()
        self._name_subnets()
        self._add_flow_log()
        self.firewall = Firewall(self, self.vpc)
        self._add_endpoints()
        if config.deployment != "plan-b":
            cdk.CfnOutput(self, "VpcId", value=self.vpc.vpc_id)

    def _add_vpc(self) -> ec2.Vpc:
        network = self.config.network
        return ec2.Vpc(
            self,
            "Vpc",
            vpc_name=self.name("vpc"),
            ip_addresses=SeedAddresses(network.cidr),
            availability_zones=list(network.zones),
            nat_gateways=network.nat_gateways,
            # The default group is used by nothing; emptying it would need a function of CDK's own in the account.
            restrict_default_security_group=False,
            subnet_configuration=[
                ec2.SubnetConfiguration(name=name, subnet_type=kind, cidr_mask=24, map_public_ip_on_launch=False)
                if kind is ec2.SubnetType.PUBLIC
                else ec2.SubnetConfiguration(name=name, subnet_type=kind, cidr_mask=24)
                for name, kind in TIERS.items()
            ],
        )

    def _name_subnets(self) -> None:
        for tier, name in SEED_NAMES.items():
            chosen = self.vpc.select_subnets(subnet_group_name=tier).subnets
            for subnet, zone in zip(chosen, self.config.network.zones, strict=True):
                short = zone.removeprefix(self.config.region.rstrip("0123456789"))
                cdk.Tags.of(subnet).add("Name", self.name(name, short), priority=300)
                cdk.Tags.of(subnet).add("Type", name)
                for child, words in (("EIP", "nat-eip"), ("NATGateway", "nat")):
                    if (part := subnet.node.try_find_child(child)) is not None:
                        cdk.Tags.of(part).add("Name", self.name(words, short), priority=400)
                resource = subnet.node.default_child
                assert isinstance(resource, ec2.CfnSubnet)
                acknowledge(resource, ZONE_REASON, "W3010")
        cdk.Tags.of(self.vpc.node.find_child("IGW")).add("Name", self.name("igw"), priority=300)

    def _add_logs_key(self) -> cdk.aws_kms.Key:
        key = self.add_key("logs", "log groups")
        key.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal(f"logs.{self.region}.amazonaws.com")],
                actions=["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"],
                resources=["*"],
                conditions={
                    "ArnLike": {
                        "kms:EncryptionContext:aws:logs:arn": self.format_arn(
                            service="logs",
                            resource="log-group",
                            resource_name="*",
                            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
                        )
                    }
                },
            )
        )
        return key

    def _add_flow_log(self) -> None:
        group = self.add_log_group("FlowLog", f"/vpc/{self.config.prefix}", self.logs_key)
        self.vpc.add_flow_log("Flow", destination=ec2.FlowLogDestination.to_cloud_watch_logs(group))

    def _add_endpoints(self) -> None:
        """Keep what is secret, and what is much, off the NAT gateways; a rotation without these hangs (errata E15)."""
        gateway = self.vpc.add_gateway_endpoint("S3", service=ec2.GatewayVpcEndpointAwsService.S3)
        cdk.Tags.of(gateway).add("Name", self.name("s3"), priority=300)
        for name, service in ENDPOINTS.items():
            endpoint = self.vpc.add_interface_endpoint(
                name,
                service=service,
                open=False,
                subnets=ec2.SubnetSelection(subnet_group_name="app"),
                security_groups=[self.firewall.endpoints],
            )
            cdk.Tags.of(endpoint).add("Name", self.name(service.short_name.replace(".", "-")), priority=300)
