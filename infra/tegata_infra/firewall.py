"""Security groups: the seed's table, each naming the other instead of addresses, and nothing else out (errata B36)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2

from tegata_infra.acknowledgement import acknowledge

if TYPE_CHECKING:
    from tegata_infra.stack import TegataStack

DATABASE_PORT = 5432
CACHE_PORT = 6379
NGINX_PORT = 8080
BACK_PORT = 443

SEED_NAMES = {
    "front": "alb-sg",
    "app": "ecs-sg",
    "database": "rds-sg",
    "cache": "redis-sg",
    "rotation": "rotation-sg",
    "endpoints": "endpoints-sg",
    "nginx": "nginx-sg",
    "back": "back-alb-sg",
}


class Firewall:
    """The groups of one deployment: `front`, `app`, `endpoints`; with a database `database`, `cache`, `rotation`;
    in Plan B `nginx` and `back` between the front and the application.
    """

    def __init__(self, stack: TegataStack, vpc: ec2.IVpc) -> None:
        self._stack, self._vpc = stack, vpc
        self.front = self._add("front", "Front load balancer")
        self.app = self._add("app", "Containers")
        self.endpoints = self._add("endpoints", "Endpoints of AWS services")
        world = ec2.Peer.any_ipv4()
        self.front.add_ingress_rule(world, ec2.Port.tcp(443), "HTTPS from everywhere")
        self.front.add_ingress_rule(world, ec2.Port.tcp(80), "HTTP from everywhere, to be redirected")
        acknowledge(
            self.front,
            "the front load balancer is what the world may reach, at 80 and 443",
            "AwsSolutions-EC23",
            "CKV_AWS_260",
        )
        self.app.add_egress_rule(world, ec2.Port.tcp(443), "HTTPS to AWS and to other services")
        self._allow(self.app, self.endpoints, 443)
        if stack.config.deployment == "plan-b":
            self._add_chain()
        else:
            self._allow(self.front, self.app, stack.config.app_port)
            if stack.config.edge.jwt_validation:
                self.front.add_egress_rule(world, ec2.Port.tcp(443), "HTTPS to the keys of the token issuer")
        if stack.config.deployment == "idp":
            self._add_stores()

    def _add_chain(self) -> None:
        self.nginx = self._add("nginx", "nginx between the load balancers")
        self.back = self._add("back", "Internal load balancer")
        world = ec2.Peer.any_ipv4()
        self.front.add_egress_rule(world, ec2.Port.tcp(443), "HTTPS to the user pool, which logs users in")
        self.nginx.add_egress_rule(world, ec2.Port.tcp(443), "HTTPS to package mirrors and Systems Manager")
        self._allow(self.front, self.nginx, NGINX_PORT)
        self._allow(self.nginx, self.back, BACK_PORT)
        self._allow(self.nginx, self.endpoints, 443)
        self._allow(self.back, self.app, self._stack.config.app_port)

    def _add_stores(self) -> None:
        self.database = self._add("database", "PostgreSQL")
        self.rotation = self._add("rotation", "Rotation of secrets")
        self._allow(self.app, self.database, DATABASE_PORT)
        self._allow(self.rotation, self.database, DATABASE_PORT)
        self._allow(self.rotation, self.endpoints, 443)
        if self._stack.config.cache is not None:
            self.cache = self._add("cache", "Valkey")
            self._allow(self.app, self.cache, CACHE_PORT)

    def _add(self, name: str, description: str) -> ec2.SecurityGroup:
        group_name = self._stack.name(SEED_NAMES[name])
        group = ec2.SecurityGroup(
            self._stack,
            f"{name.title()}Group",
            vpc=self._vpc,
            security_group_name=group_name,
            description=description,
            allow_all_outbound=False,
        )
        cdk.Tags.of(group).add("Name", group_name)
        return group

    def _allow(self, source: ec2.SecurityGroup, target: ec2.SecurityGroup, port: int) -> None:
        source_name, target_name = source.node.id.removesuffix("Group"), target.node.id.removesuffix("Group")
        words = f"{source_name} to {target_name}"
        target.add_ingress_rule(source, ec2.Port.tcp(port), words)
        source.add_egress_rule(target, ec2.Port.tcp(port), words)
