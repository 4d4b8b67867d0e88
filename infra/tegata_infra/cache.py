"""Valkey: encrypted, with failover, and logins by IAM instead of a lasting password (seed 001, errata B21)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_elasticache as elasticache

from tegata_infra.acknowledgement import acknowledge
from tegata_infra.config import CacheConfig
from tegata_infra.network import NetworkStack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tegata_infra.stack import TegataStack

ENGINE_VERSION = "8.0"


def add_cache(
    stack: TegataStack, network: NetworkStack, config: CacheConfig, parameters: Mapping[str, str]
) -> elasticache.CfnReplicationGroup:
    """Add the replication group and who may log in: the application's role by IAM, and nobody by default."""
    key = stack.add_key("redis", "Valkey and its snapshots")
    subnets = network.vpc.select_subnets(subnet_group_name="database").subnet_ids
    name = stack.name("redis")
    app = elasticache.CfnUser(
        stack,
        "CacheUser",
        engine="valkey",
        user_id=stack.name("cache-app"),
        user_name=stack.name("cache-app"),
        access_string="on ~* +@all -@dangerous -@admin",
        authentication_mode={"Type": "iam"},
    )
    group = elasticache.CfnUserGroup(
        stack, "CacheUsers", engine="valkey", user_group_id=stack.name("cache-users"), user_ids=[app.ref]
    )
    several = config.nodes > 1
    cache = elasticache.CfnReplicationGroup(
        stack,
        "Cache",
        replication_group_id=name,
        replication_group_description=f"{stack.config.prefix}: Valkey",
        engine="valkey",
        engine_version=ENGINE_VERSION,
        cache_node_type=config.node_type,
        num_cache_clusters=config.nodes,
        automatic_failover_enabled=several,
        multi_az_enabled=several,
        port=6379,
        cache_parameter_group_name=elasticache.CfnParameterGroup(
            stack,
            "CacheParameters",
            cache_parameter_group_family="valkey8",
            description=f"{stack.config.prefix}: Valkey 8",
            properties=dict(parameters),
        ).ref,
        cache_subnet_group_name=elasticache.CfnSubnetGroup(
            stack,
            "CacheSubnets",
            cache_subnet_group_name=stack.name("redis-subnet-group"),
            description=f"{stack.config.prefix}: Valkey",
            subnet_ids=subnets,
        ).ref,
        security_group_ids=[network.firewall.cache.security_group_id],
        at_rest_encryption_enabled=True,
        kms_key_id=key.key_arn,
        transit_encryption_enabled=True,
        transit_encryption_mode="required",
        user_group_ids=[group.ref],
        snapshot_retention_limit=config.snapshot_days,
        snapshot_window=config.snapshot_window,
        preferred_maintenance_window=config.maintenance_window,
        auto_minor_version_upgrade=True,
    )
    cache.apply_removal_policy(
        cdk.RemovalPolicy.DESTROY if stack.config.environment == "dev" else cdk.RemovalPolicy.SNAPSHOT
    )
    cdk.Tags.of(cache).add("Name", name)
    acknowledge(cache, "users log in by IAM (user_group_ids): no token that never changes", "AwsSolutions-AEC6")
    return cache
