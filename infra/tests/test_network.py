"""The network of seed 001: addresses, ways out, endpoints, and who may speak with whom."""

from __future__ import annotations

import pytest

from .templates import Assembly

SUBNETS = {
    "idp-server-public-1a": ("10.0.1.0/24", "ap-northeast-1a", "public"),
    "idp-server-public-1c": ("10.0.2.0/24", "ap-northeast-1c", "public"),
    "idp-server-private-app-1a": ("10.0.10.0/24", "ap-northeast-1a", "private-app"),
    "idp-server-private-app-1c": ("10.0.11.0/24", "ap-northeast-1c", "private-app"),
    "idp-server-private-db-1a": ("10.0.20.0/24", "ap-northeast-1a", "private-db"),
    "idp-server-private-db-1c": ("10.0.21.0/24", "ap-northeast-1c", "private-db"),
}


def test_the_network_has_the_addresses_and_the_name_of_the_seed(idp: Assembly) -> None:
    vpc = idp.one("AWS::EC2::VPC")
    assert (vpc["CidrBlock"], vpc.tags["Name"], vpc.tags["Environment"]) == (
        "10.0.0.0/16",
        "idp-server-vpc",
        "production",
    )


@pytest.mark.parametrize("name", SUBNETS)
def test_a_subnet_of_the_seed(idp: Assembly, name: str) -> None:
    found = [subnet for subnet in idp.all("AWS::EC2::Subnet") if subnet.tags["Name"] == name]
    assert [(each["CidrBlock"], each["AvailabilityZone"], each.tags["Type"]) for each in found] == [SUBNETS[name]]


def test_there_are_no_other_subnets(idp: Assembly) -> None:
    assert {subnet.tags["Name"] for subnet in idp.all("AWS::EC2::Subnet")} == set(SUBNETS)
    assert not any(subnet.get("MapPublicIpOnLaunch") for subnet in idp.all("AWS::EC2::Subnet"))
