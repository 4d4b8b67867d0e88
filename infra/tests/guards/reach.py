"""Who can be reached by whom: security groups, addresses, listeners."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from tegata_infra.assembly import Assembly, Resource

from .firewall_rules import Rule, name_of_group, read_rules
from .rendering import listed

TLS_POLICIES = {"ELBSecurityPolicy-TLS13-1-2-Res-2021-06", "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"}
"""TLS 1.3, and 1.2 with forward secrecy and AEAD: what FAPI 2.0 §5.2 allows."""


def check_world(assembly: Assembly) -> list[str]:
    """Addresses outside the network may come to the front load balancer alone, at 80 and 443."""
    fronts = _groups_of_balancers(assembly, "internet-facing")
    inside = [ip_network(vpc["CidrBlock"]) for vpc in assembly.all("AWS::EC2::VPC")]
    return [
        f"{rule.group} lets {rule.peer} in at {rule.ports}"
        for rule in read_rules(assembly)
        if rule.way == "in"
        and _is_foreign(rule.peer, inside)
        and not (rule.group in fronts and rule.ports in {"tcp 80", "tcp 443"})
    ]


def check_ways_out(assembly: Assembly) -> list[str]:
    """What goes out to the world does so by HTTPS, and data not at all."""
    stores = {
        *_groups_of(assembly, "AWS::RDS::DBInstance"),
        *_groups_of(assembly, "AWS::ElastiCache::ReplicationGroup"),
    }
    world = [rule for rule in read_rules(assembly) if rule.way == "out" and "/" in rule.peer]
    return [
        f"{rule.group} may send to {rule.peer} at {rule.ports}"
        for rule in world
        if rule.ports != "tcp 443" or rule.group in stores
    ]


def check_application(assembly: Assembly) -> list[str]:
    """Containers are reached by the load balancer that has them in a target group, and by nobody else."""
    before: dict[str, set[str]] = {}
    for service in assembly.all("AWS::ECS::Service"):
        for name in _groups_of_service(assembly, service):
            balancers = before.setdefault(name, set())
            for entry in service.get("LoadBalancers", []):
                balancers |= _groups_before(assembly, service.stack, entry["TargetGroupArn"])
    return [
        f"{name} lets {rule.peer} in, which is none of {sorted(balancers)}"
        for name, balancers in before.items()
        for rule in _into(assembly, name)
        if rule.peer not in balancers
    ]


def check_stores(assembly: Assembly) -> list[str]:
    """PostgreSQL and Valkey are reached by containers, PostgreSQL by functions (that rotate) as well."""
    containers = {
        name for service in assembly.all("AWS::ECS::Service") for name in _groups_of_service(assembly, service)
    }
    functions = {
        name_of_group(assembly, function.stack, group)
        for function in assembly.all("AWS::Lambda::Function")
        for group in function.get("VpcConfig", {}).get("SecurityGroupIds", [])
    }
    rotating = {name for name in functions if name.endswith("rotation-sg")}
    wanted = [
        ("AWS::RDS::DBInstance", "tcp 5432", containers | rotating),
        ("AWS::ElastiCache::ReplicationGroup", "tcp 6379", containers),
    ]
    return [
        f"{name} lets {rule.peer} in at {rule.ports}"
        for kind, ports, allowed in wanted
        for name in _groups_of(assembly, kind)
        for rule in _into(assembly, name)
        if rule.peer not in allowed or rule.ports != ports
    ]


def check_addresses(assembly: Assembly) -> list[str]:
    """Nothing but load balancers and NAT gateways has an address that the world knows."""
    wrong = [f"{one.id} is public" for one in assembly.all("AWS::RDS::DBInstance") if one.get("PubliclyAccessible")]
    for service in assembly.all("AWS::ECS::Service"):
        placed = service["NetworkConfiguration"]["AwsvpcConfiguration"]
        if placed.get("AssignPublicIp") != "DISABLED":
            wrong.append(f"{service.id} gives its tasks public addresses")
    for template in assembly.all("AWS::EC2::LaunchTemplate"):
        cards = template["LaunchTemplateData"].get("NetworkInterfaces", [])
        wrong += [f"{template.id} gives public addresses" for card in cards if card.get("AssociatePublicIpAddress")]
    wrong += [
        f"{one.id} gives public addresses" for one in assembly.all("AWS::EC2::Subnet") if one.get("MapPublicIpOnLaunch")
    ]
    used = [str(nat["AllocationId"]) for nat in assembly.all("AWS::EC2::NatGateway")]
    for address in assembly.all("AWS::EC2::EIP"):
        if not any(address.id in allocation for allocation in used):
            wrong.append(f"{address.id} belongs to no NAT gateway")
    ways_in = ("AWS::Lambda::Url", "AWS::ApiGateway", "AWS::ApiGatewayV2", "AWS::EC2::VPCPeeringConnection")
    wrong += [f"{one.id} is another way in" for one in assembly.resources if one.type.startswith(ways_in)]
    return wrong


def check_buckets(assembly: Assembly) -> list[str]:
    """Buckets are closed to the public, encrypted, and refuse plain HTTP."""
    wrong = []
    for bucket in assembly.all("AWS::S3::Bucket"):
        block = bucket.get("PublicAccessBlockConfiguration", {})
        if [block.get(name) for name in _BLOCKS] != [True] * 4:
            wrong.append(f"{bucket.id} may be made public")
        if "BucketEncryption" not in bucket.properties:
            wrong.append(f"{bucket.id} does not say how it is encrypted")
        policies = [
            one for one in assembly.all("AWS::S3::BucketPolicy") if assembly.find(one.stack, one["Bucket"]) == bucket
        ]
        refuses = any(
            statement["Effect"] == "Deny"
            and statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport") == "false"
            for policy in policies
            for statement in policy["PolicyDocument"]["Statement"]
        )
        if not refuses:
            wrong.append(f"{bucket.id} takes plain HTTP")
    return wrong


def check_tls(assembly: Assembly) -> list[str]:
    """Listeners speak HTTPS with a policy for TLS 1.2 and 1.3, or send to HTTPS (errata B32)."""
    wrong = []
    for listener in assembly.all("AWS::ElasticLoadBalancingV2::Listener"):
        if listener["Protocol"] == "HTTPS":
            if listener.get("SslPolicy") not in TLS_POLICIES:
                wrong.append(f"{listener.id} has the policy {listener.get('SslPolicy')}")
            continue
        action = listener["DefaultActions"]
        redirect = action[0].get("RedirectConfig", {})
        if [one["Type"] for one in action] != ["redirect"] or (redirect["Protocol"], redirect["StatusCode"]) != (
            "HTTPS",
            "HTTP_301",
        ):
            wrong.append(f"{listener.id} answers in plain {listener['Protocol']}")
    for listener in assembly.all("AWS::ElasticLoadBalancingV2::ListenerRule"):
        owner = assembly.find(listener.stack, listener["ListenerArn"])
        if owner is not None and owner["Protocol"] != "HTTPS":
            wrong.append(f"{listener.id} answers in plain {owner['Protocol']}")
    return wrong


_BLOCKS = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")


def _is_foreign(peer: str, inside: list[Any]) -> bool:
    """Whether a rule names addresses that are not all in the network; names of groups are no addresses."""
    try:
        network = ip_network(peer)
    except ValueError:
        return False
    return not any(network.version == one.version and network.subnet_of(one) for one in inside)


def _into(assembly: Assembly, group: str) -> list[Rule]:
    return [rule for rule in read_rules(assembly) if rule.group == group and rule.way == "in"]


def _groups_of(assembly: Assembly, kind: str) -> set[str]:
    return {
        name_of_group(assembly, resource.stack, group)
        for resource in assembly.all(kind)
        for key in ("VPCSecurityGroups", "SecurityGroupIds", "SecurityGroups")
        for group in listed(resource.get(key))
    }


def _groups_of_balancers(assembly: Assembly, scheme: str) -> set[str]:
    balancers = assembly.all("AWS::ElasticLoadBalancingV2::LoadBalancer", Scheme=scheme)
    return {name_of_group(assembly, one.stack, group) for one in balancers for group in one["SecurityGroups"]}


def _groups_of_service(assembly: Assembly, service: Resource) -> set[str]:
    placed = service["NetworkConfiguration"]["AwsvpcConfiguration"]
    return {name_of_group(assembly, service.stack, group) for group in placed["SecurityGroups"]}


def _groups_before(assembly: Assembly, stack: str, target_group: Any) -> set[str]:
    """Return the groups of the load balancers whose listeners or rules send to a target group."""
    wanted = assembly.find(stack, target_group)
    found: set[str] = set()
    for kind, key in (("Listener", "DefaultActions"), ("ListenerRule", "Actions")):
        for sender in assembly.all(f"AWS::ElasticLoadBalancingV2::{kind}"):
            if any(assembly.find(sender.stack, target) == wanted for target in _targets(sender[key])):
                found |= _groups_of_sender(assembly, sender)
    return found


def _groups_of_sender(assembly: Assembly, sender: Resource) -> set[str]:
    listener = sender if "LoadBalancerArn" in sender.properties else assembly.find(sender.stack, sender["ListenerArn"])
    assert listener is not None
    balancer = assembly.find(listener.stack, listener["LoadBalancerArn"])
    assert balancer is not None
    return {name_of_group(assembly, balancer.stack, group) for group in balancer["SecurityGroups"]}


def _targets(actions: list[dict[str, Any]]) -> list[Any]:
    several = [
        group["TargetGroupArn"] for one in actions for group in one.get("ForwardConfig", {}).get("TargetGroups", [])
    ]
    return [*several, *(one["TargetGroupArn"] for one in actions if "TargetGroupArn" in one)]
