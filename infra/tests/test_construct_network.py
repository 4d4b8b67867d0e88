"""The network with other settings: a third zone, other addresses, another region."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from tegata_infra.config import Config
from tegata_infra.environments import load_config
from tegata_infra.network import NetworkStack

from .guards.firewall_rules import Rule, read_rules
from .templates import Assembly


def build_network(directory: Path, environ: dict[str, str], **given: Any) -> Assembly:
    """Synthesize the network stack alone."""
    config: Config = load_config("idp", "production", environ, **given)
    app = cdk.App(outdir=str(directory), analytics_reporting=False)
    NetworkStack(app, config)
    app.synth()
    return Assembly.read(directory)


@pytest.fixture(scope="module")
def third_zone(tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    """As somebody asks for it: by one variable."""
    zones = {"DEPLOYMENT_ZONES": "ap-northeast-1a,ap-northeast-1c,ap-northeast-1d"}
    return build_network(tmp_path_factory.mktemp("zones"), zones)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    """In another region, with other addresses."""
    environ = {"CDK_DEFAULT_REGION": "eu-central-1", "DEPLOYMENT_ZONES": "eu-central-1a,eu-central-1b"}
    network = {"cidr": "10.77.0.0/16", "zones": ("eu-central-1a", "eu-central-1b")}
    return build_network(tmp_path_factory.mktemp("elsewhere"), environ, network=network)


@pytest.mark.parametrize(
    ("name", "range_"), [("public", "10.0.3.0/24"), ("private-app", "10.0.12.0/24"), ("private-db", "10.0.22.0/24")]
)
def test_a_third_zone_goes_on_with_the_numbers_of_the_seed(third_zone: Assembly, name: str, range_: str) -> None:
    found = {subnet.tags["Name"]: subnet["CidrBlock"] for subnet in third_zone.all("AWS::EC2::Subnet")}
    assert found[f"idp-server-{name}-1d"] == range_
    assert len(found) == 9


def test_a_third_zone_has_its_own_way_out_and_endpoints(third_zone: Assembly) -> None:
    names = {nat.tags["Name"] for nat in third_zone.all("AWS::EC2::NatGateway")}
    assert names == {"idp-server-nat-1a", "idp-server-nat-1c", "idp-server-nat-1d"}
    interfaces = third_zone.all("AWS::EC2::VPCEndpoint", VpcEndpointType="Interface")
    assert {len(endpoint["SubnetIds"]) for endpoint in interfaces} == {3}


def test_other_addresses_and_another_region_are_used_throughout(elsewhere: Assembly) -> None:
    assert elsewhere.one("AWS::EC2::VPC")["CidrBlock"] == "10.77.0.0/16"
    assert {subnet["CidrBlock"] for subnet in elsewhere.all("AWS::EC2::Subnet")} == {
        f"10.77.{number}.0/24" for number in (1, 2, 10, 11, 20, 21)
    }
    text = "".join(file.read_text() for file in elsewhere.directory.glob("*.template.json"))
    assert "ap-northeast-1" not in text
    assert "10.0." not in text


def test_a_front_that_checks_tokens_itself_may_fetch_the_keys(tmp_path: Path) -> None:
    config = load_config("plan-c", "production", {}, edge={"jwt_validation": True})
    app = cdk.App(outdir=str(tmp_path), analytics_reporting=False)
    NetworkStack(app, config)
    app.synth()
    assert Rule("plan-c-alb-sg", "out", "0.0.0.0/0", "tcp 443") in read_rules(Assembly.read(tmp_path))
