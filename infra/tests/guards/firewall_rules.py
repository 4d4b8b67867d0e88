"""Who may speak with whom, read from all templates of an assembly: inline rules and rules of their own alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tegata_infra.assembly import Assembly, Resource

NOBODY = "255.255.255.255/32"
"""What CDK writes into a group that may send nothing: a rule that no packet matches, instead of AWS's "all"."""


class Rule(NamedTuple):
    """One direction of one group: who is at the other end, and at which ports."""

    group: str
    way: str
    peer: str
    ports: str


def read_rules(assembly: Assembly) -> set[Rule]:
    """Return every rule that lets something through; groups are called by their names."""
    return {rule for rule in _read_all(assembly) if rule.peer != NOBODY}


def name_of_group(assembly: Assembly, stack: str, value: Any) -> str:
    """Return the name of the group that a value refers to, or the value as text if it is none of these templates."""
    group = assembly.find(stack, value)
    return str(group["GroupName"]) if group is not None and group.type == "AWS::EC2::SecurityGroup" else str(value)


def _read_all(assembly: Assembly) -> Iterator[Rule]:
    for group in assembly.all("AWS::EC2::SecurityGroup"):
        for way, listed in (("in", "SecurityGroupIngress"), ("out", "SecurityGroupEgress")):
            for entry in group.get(listed, []):
                yield Rule(group["GroupName"], way, _read_peer(assembly, group, entry), _read_ports(entry))
    for way, kind in (("in", "AWS::EC2::SecurityGroupIngress"), ("out", "AWS::EC2::SecurityGroupEgress")):
        for rule in assembly.all(kind):
            name = name_of_group(assembly, rule.stack, rule["GroupId"])
            yield Rule(name, way, _read_peer(assembly, rule, rule.properties), _read_ports(rule.properties))


def _read_peer(assembly: Assembly, where: Resource, entry: Mapping[str, Any]) -> str:
    for key in ("SourceSecurityGroupId", "DestinationSecurityGroupId"):
        if key in entry:
            return name_of_group(assembly, where.stack, entry[key])
    found = [
        entry[key] for key in ("CidrIp", "CidrIpv6", "SourcePrefixListId", "DestinationPrefixListId") if key in entry
    ]
    assert len(found) == 1, f"{where.id} says nobody or several: {dict(entry)}"
    return str(found[0])


def _read_ports(entry: Mapping[str, Any]) -> str:
    if entry["IpProtocol"] in ("-1", -1):
        return "all"
    ports = f"{entry['FromPort']}" if entry["FromPort"] == entry["ToPort"] else f"{entry['FromPort']}-{entry['ToPort']}"
    return f"{entry['IpProtocol']} {ports}"
