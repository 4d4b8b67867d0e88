"""Which subnets the network has: the /24 numbers of seed 001, whatever the number of zones."""

from __future__ import annotations

from ipaddress import IPv4Network

import jsii
from aws_cdk import aws_ec2 as ec2

FIRST = {"public": 1, "app": 10, "database": 20}
"""The third number of the address of each tier's first subnet; the next zones' follow."""


def build_cidr(network: str, tier: str, zone: int) -> str:
    """Return the address range of a tier in the zone of that index.

    >>> build_cidr("10.0.0.0/16", "app", 1)
    '10.0.11.0/24'
    """
    return str(list(IPv4Network(network).subnets(new_prefix=24))[FIRST[tier] + zone])


@jsii.implements(ec2.IIpAddresses)
class SeedAddresses:
    """Gives a VPC of L2 the address ranges that the seed names, which its own allocation cannot be told."""

    def __init__(self, network: str) -> None:
        self._network = network

    def allocate_vpc_cidr(self) -> ec2.VpcIpamOptions:
        return ec2.VpcIpamOptions(cidr_block=self._network)

    def allocate_subnets_cidr(self, request: ec2.AllocateCidrRequest) -> ec2.SubnetIpamOptions:
        zones: dict[str, int] = {}
        found = []
        for wanted in request.requested_subnets:
            tier = wanted.configuration.name
            found.append(ec2.AllocatedSubnet(cidr=build_cidr(self._network, tier, zones.get(tier, 0))))
            zones[tier] = zones.get(tier, 0) + 1
        return ec2.SubnetIpamOptions(allocated_subnets=found)
