"""The network of seed 001: addresses, ways out, endpoints, and who may speak with whom."""

from __future__ import annotations

import pytest

from .guards.firewall_rules import Rule, read_rules
from .templates import Assembly, Resource

SUBNETS = {
    "idp-server-public-1a": ("10.0.1.0/24", "ap-northeast-1a", "public"),
    "idp-server-public-1c": ("10.0.2.0/24", "ap-northeast-1c", "public"),
    "idp-server-private-app-1a": ("10.0.10.0/24", "ap-northeast-1a", "private-app"),
    "idp-server-private-app-1c": ("10.0.11.0/24", "ap-northeast-1c", "private-app"),
    "idp-server-private-db-1a": ("10.0.20.0/24", "ap-northeast-1a", "private-db"),
    "idp-server-private-db-1c": ("10.0.21.0/24", "ap-northeast-1c", "private-db"),
}

WORLD = "0.0.0.0/0"

FIREWALL = {
    # Seed 001, "security groups". Each rule names a group instead of addresses where there is one.
    Rule("idp-server-alb-sg", "in", WORLD, "tcp 443"),
    Rule("idp-server-alb-sg", "in", WORLD, "tcp 80"),
    Rule("idp-server-ecs-sg", "in", "idp-server-alb-sg", "tcp 8080"),
    Rule("idp-server-ecs-sg", "out", WORLD, "tcp 443"),
    Rule("idp-server-rds-sg", "in", "idp-server-ecs-sg", "tcp 5432"),
    Rule("idp-server-redis-sg", "in", "idp-server-ecs-sg", "tcp 6379"),
    # What the seed leaves to "all outbound traffic" is listed (errata B36).
    Rule("idp-server-alb-sg", "out", "idp-server-ecs-sg", "tcp 8080"),
    Rule("idp-server-ecs-sg", "out", "idp-server-rds-sg", "tcp 5432"),
    Rule("idp-server-ecs-sg", "out", "idp-server-redis-sg", "tcp 6379"),
    Rule("idp-server-ecs-sg", "out", "idp-server-endpoints-sg", "tcp 443"),
    Rule("idp-server-endpoints-sg", "in", "idp-server-ecs-sg", "tcp 443"),
    # The rotation of passwords, of which the seed has none (errata E15).
    Rule("idp-server-rds-sg", "in", "idp-server-rotation-sg", "tcp 5432"),
    Rule("idp-server-rotation-sg", "out", "idp-server-rds-sg", "tcp 5432"),
    Rule("idp-server-rotation-sg", "out", "idp-server-endpoints-sg", "tcp 443"),
    Rule("idp-server-endpoints-sg", "in", "idp-server-rotation-sg", "tcp 443"),
}

PLAN_B_CHAIN = {
    ("plan-b-alb-sg", WORLD),
    ("plan-b-nginx-sg", "plan-b-alb-sg"),
    ("plan-b-back-alb-sg", "plan-b-nginx-sg"),
    ("plan-b-ecs-sg", "plan-b-back-alb-sg"),
}


def find_named(assembly: Assembly, kind: str, name: str) -> Resource:
    found = [resource for resource in assembly.all(kind) if resource.tags.get("Name") == name]
    assert len(found) == 1, f"{name}: {[resource.tags.get('Name') for resource in assembly.all(kind)]}"
    return found[0]


def find_routes(assembly: Assembly, subnet: Resource) -> list[Resource]:
    """Return the routes of the table that belongs to the subnet."""
    tables = [
        one["RouteTableId"]
        for one in assembly.all("AWS::EC2::SubnetRouteTableAssociation")
        if one["SubnetId"] == {"Ref": subnet.id}
    ]
    assert len(tables) == 1, f"{subnet.id} has {len(tables)} route tables"
    return assembly.all("AWS::EC2::Route", RouteTableId=tables[0])


def test_the_network_has_the_addresses_and_the_name_of_the_seed(idp: Assembly) -> None:
    vpc = idp.one("AWS::EC2::VPC")
    assert (vpc["CidrBlock"], vpc.tags["Name"], vpc.tags["Environment"]) == (
        "10.0.0.0/16",
        "idp-server-vpc",
        "production",
    )
    assert (vpc["EnableDnsSupport"], vpc["EnableDnsHostnames"]) == (True, True), "endpoints are found by name"


@pytest.mark.parametrize("name", SUBNETS)
def test_a_subnet_of_the_seed(idp: Assembly, name: str) -> None:
    found = [subnet for subnet in idp.all("AWS::EC2::Subnet") if subnet.tags["Name"] == name]
    assert [(each["CidrBlock"], each["AvailabilityZone"], each.tags["Type"]) for each in found] == [SUBNETS[name]]


def test_there_are_no_other_subnets(idp: Assembly) -> None:
    assert {subnet.tags["Name"] for subnet in idp.all("AWS::EC2::Subnet")} == set(SUBNETS)
    assert not any(subnet.get("MapPublicIpOnLaunch") for subnet in idp.all("AWS::EC2::Subnet"))


def test_the_internet_gateway_has_the_name_of_the_seed_and_is_attached(idp: Assembly) -> None:
    gateway = find_named(idp, "AWS::EC2::InternetGateway", "idp-server-igw")
    attached = idp.one("AWS::EC2::VPCGatewayAttachment")
    assert attached["InternetGatewayId"] == {"Ref": gateway.id}
    assert attached["VpcId"] == {"Ref": idp.one("AWS::EC2::VPC").id}


@pytest.mark.parametrize("zone", ["1a", "1c"])
def test_each_zone_has_a_nat_gateway_with_an_address_of_its_own(idp: Assembly, zone: str) -> None:
    """Errata B20: the seed says one for each zone and makes one."""
    nat = find_named(idp, "AWS::EC2::NatGateway", f"idp-server-nat-{zone}")
    address = find_named(idp, "AWS::EC2::EIP", f"idp-server-nat-eip-{zone}")
    assert nat["SubnetId"] == {"Ref": find_named(idp, "AWS::EC2::Subnet", f"idp-server-public-{zone}").id}
    assert nat["AllocationId"] == {"Fn::GetAtt": [address.id, "AllocationId"]}
    assert address["Domain"] == "vpc"
    assert len(idp.all("AWS::EC2::NatGateway")) == 2


@pytest.mark.parametrize("zone", ["1a", "1c"])
def test_routes_lead_out_as_the_tier_says(idp: Assembly, zone: str) -> None:
    """The seed has no route table at all (errata B20)."""
    public, app, database = (
        find_routes(idp, find_named(idp, "AWS::EC2::Subnet", f"idp-server-{tier}-{zone}"))
        for tier in ("public", "private-app", "private-db")
    )
    gateway = find_named(idp, "AWS::EC2::InternetGateway", "idp-server-igw")
    nat = find_named(idp, "AWS::EC2::NatGateway", f"idp-server-nat-{zone}")
    assert [(one["DestinationCidrBlock"], one.get("GatewayId")) for one in public] == [(WORLD, {"Ref": gateway.id})]
    assert [(one["DestinationCidrBlock"], one.get("NatGatewayId")) for one in app] == [(WORLD, {"Ref": nat.id})]
    assert database == [], "the database tier has no way out"


def test_development_saves_the_second_nat_gateway(read_assembly) -> None:
    dev = read_assembly("idp", "dev")
    nat = dev.one("AWS::EC2::NatGateway")
    used = [route["NatGatewayId"] for route in dev.all("AWS::EC2::Route") if "NatGatewayId" in route.properties]
    assert used == [{"Ref": nat.id}] * 2


def test_staging_has_the_shape_of_production(read_assembly) -> None:
    assert len(read_assembly("idp", "staging").all("AWS::EC2::NatGateway")) == 2


@pytest.mark.parametrize("service", ["secretsmanager", "ecr.api", "ecr.dkr", "logs", "kms"])
def test_a_service_has_an_endpoint_in_the_application_tier(idp: Assembly, service: str) -> None:
    endpoint = idp.one("AWS::EC2::VPCEndpoint", ServiceName=f"com.amazonaws.ap-northeast-1.{service}")
    subnets = {idp.find(endpoint.stack, subnet).tags["Name"] for subnet in endpoint["SubnetIds"]}
    groups = [idp.find(endpoint.stack, group)["GroupName"] for group in endpoint["SecurityGroupIds"]]
    assert (endpoint["VpcEndpointType"], endpoint["PrivateDnsEnabled"]) == ("Interface", True)
    assert subnets == {"idp-server-private-app-1a", "idp-server-private-app-1c"}
    assert groups == ["idp-server-endpoints-sg"]
    assert endpoint.tags["Name"] == f"idp-server-{service.replace('.', '-')}"


def test_s3_is_reached_by_routes_from_every_tier(idp: Assembly) -> None:
    gateway = find_named(idp, "AWS::EC2::VPCEndpoint", "idp-server-s3")
    assert gateway["VpcEndpointType"] == "Gateway"
    assert gateway["ServiceName"] == {"Fn::Join": ["", ["com.amazonaws.", {"Ref": "AWS::Region"}, ".s3"]]}
    tables = {"Ref": {table["Ref"] for table in gateway["RouteTableIds"]}}
    assert tables["Ref"] == {table.id for table in idp.all("AWS::EC2::RouteTable")}


def test_who_may_speak_with_whom(idp: Assembly) -> None:
    assert read_rules(idp) == FIREWALL


def test_what_has_no_cache_lets_nobody_at_one(read_assembly) -> None:
    dev = {
        Rule(*(word.replace("idp-server-dev-", "idp-server-") for word in rule))
        for rule in read_rules(read_assembly("idp", "dev"))
    }
    assert dev == {rule for rule in FIREWALL if "idp-server-redis-sg" not in rule}


def test_plan_b_is_a_chain_of_which_each_link_knows_the_one_before(plan_b: Assembly) -> None:
    rules = {rule for rule in read_rules(plan_b) if rule.way == "in" and "endpoints" not in rule.group}
    assert {(rule.group, rule.peer) for rule in rules} == PLAN_B_CHAIN
    assert {rule.ports for rule in rules if rule.group == "plan-b-back-alb-sg"} == {"tcp 443"}


def test_plan_c_has_no_link_between_the_front_and_the_application(plan_c: Assembly) -> None:
    rules = {rule for rule in read_rules(plan_c) if rule.way == "in" and "endpoints" not in rule.group}
    assert {(rule.group, rule.peer) for rule in rules} == {("plan-c-alb-sg", WORLD), ("plan-c-ecs-sg", "plan-c-alb-sg")}


def test_every_rule_says_what_it_is_for(each: Assembly) -> None:
    inline = [
        entry
        for group in each.all("AWS::EC2::SecurityGroup")
        for way in ("SecurityGroupIngress", "SecurityGroupEgress")
        for entry in group.get(way, [])
    ]
    own = [*each.all("AWS::EC2::SecurityGroupIngress"), *each.all("AWS::EC2::SecurityGroupEgress")]
    assert all(entry.get("Description") for entry in [*inline, *own])


def test_what_flows_is_logged_for_30_days_and_encrypted(idp: Assembly) -> None:
    flow = idp.one("AWS::EC2::FlowLog")
    group = idp.find(flow.stack, flow["LogGroupName"])
    assert (flow["ResourceType"], flow["TrafficType"]) == ("VPC", "ALL")
    assert flow["ResourceId"] == {"Ref": idp.one("AWS::EC2::VPC").id}
    assert (group["LogGroupName"], group["RetentionInDays"]) == ("/vpc/idp-server", 30)
    assert idp.find(group.stack, group["KmsKeyId"]).type == "AWS::KMS::Key"


def test_everything_that_can_be_tagged_says_whose_it_is(each: Assembly) -> None:
    deployment, _, environment = each.directory.name.rpartition("-")
    wanted = {"Project": "tegata", "Environment": environment, "Deployment": deployment}
    tagged = [resource for resource in each.resources if "Tags" in resource.properties]
    assert len(tagged) > 20
    assert not [resource.id for resource in tagged if not wanted.items() <= resource.tags.items()]
