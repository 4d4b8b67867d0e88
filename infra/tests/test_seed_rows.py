"""Rows of the seeds' tables that no other file asserts: tags, keys, where instances stand, what the guide must name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tegata_infra.config import VARIABLES

from .guards.rendering import render
from .templates import Assembly, Resource

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "deploy-on-aws.md"

NAMED = [
    ("AWS::EC2::SecurityGroup", "idp-server-alb-sg"),
    ("AWS::EC2::SecurityGroup", "idp-server-ecs-sg"),
    ("AWS::EC2::SecurityGroup", "idp-server-rds-sg"),
    ("AWS::EC2::SecurityGroup", "idp-server-redis-sg"),
    ("AWS::ECS::Cluster", "idp-server-cluster"),
    ("AWS::ECS::Service", "idp-server-service"),
    ("AWS::WAFv2::WebACL", "idp-server-waf"),
]
"""What seed 001 gives a tag `Name` (and the last three `Environment=production`)."""

MEASURED = {
    "alb-5xx": ("Sum", 300),
    "target-latency": ("p99", 300),
    "unhealthy-hosts": ("Maximum", 60),
    "no-healthy-host": ("Minimum", 60),
    "database-connections": ("Maximum", 300),
    "database-storage": ("Minimum", 300),
    "replica-lag": ("Maximum", 60),
    "secret-fetch-failed": ("Sum", 300),
    "secret-copies-failed": ("Maximum", 86_400),
    "rotation-failed": ("Sum", 300),
    "secret-access-denied": ("Sum", 300),
    "secret-reads-unusual": ("Sum", 300),
    "certificate-ends": ("Minimum", 86_400),
}
"""How each thing that pages somebody is measured: a latency on average, or connections, would hide what is wrong."""

CHAIN = "CdkScenarioBStack"


def tiers(assembly: Assembly, stack: str, subnets: list[Any]) -> list[str]:
    """Return the tier and zone of each subnet: `private-app ap-northeast-1a`."""
    found = [assembly.find(stack, subnet) for subnet in subnets]
    return sorted(f"{each.tags['Type']} {each['AvailabilityZone']}" for each in found if each is not None)


@pytest.mark.parametrize(("kind", "name"), NAMED, ids=[name for _, name in NAMED])
def test_what_the_seed_tags_has_its_tags(idp: Assembly, kind: str, name: str) -> None:
    (found,) = [each for each in idp.all(kind) if each.tags.get("Name") == name]
    assert found.tags["Environment"] == "production"
    named = next(key for key in ("GroupName", "ClusterName", "ServiceName", "Name") if key in found.properties)
    assert found[named] == name
    if kind == "AWS::EC2::SecurityGroup":
        assert idp.find(found.stack, found["VpcId"]) == idp.one("AWS::EC2::VPC")


@pytest.mark.parametrize("name", MEASURED)
def test_an_alarm_is_measured_by_what_goes_wrong(idp: Assembly, name: str) -> None:
    alarm = idp.one("AWS::CloudWatch::Alarm", AlarmName=f"idp-server-{name}")
    assert (alarm.get("Statistic") or alarm.get("ExtendedStatistic"), alarm["Period"]) == MEASURED[name]


def test_tasks_carry_the_tags_of_their_service(each: Assembly) -> None:
    assert {service["PropagateTags"] for service in each.all("AWS::ECS::Service")} == {"SERVICE"}


def test_keys_are_symmetric_and_for_encryption(idp: Assembly) -> None:
    """`--key-usage ENCRYPT_DECRYPT --key-spec SYMMETRIC_DEFAULT`, which is what KMS takes if nothing is said."""
    for key in idp.all("AWS::KMS::Key"):
        assert key.get("KeyUsage", "ENCRYPT_DECRYPT") == "ENCRYPT_DECRYPT"
        assert key.get("KeySpec", "SYMMETRIC_DEFAULT") == "SYMMETRIC_DEFAULT"
        assert key.get("Description", "").startswith("idp-server: ")


@pytest.mark.parametrize("environment", ["dev", "staging", "production"])
def test_secrets_of_an_environment_begin_with_its_own_prefixes(read_assembly, environment: str) -> None:
    """Facts, guard 4: no name of one environment begins as another's do."""
    start = "idp-server/" if environment == "production" else f"idp-server-{environment}/"
    names = [secret["Name"] for secret in read_assembly("idp", environment).all("AWS::SecretsManager::Secret")]
    assert len(names) == 6
    assert all(name.startswith((start, f"tegata-{environment}-secret-")) for name in names)


class TestPlanB:
    """Seed 003, section 2: where each part of the chain stands."""

    def find_balancer(self, plan_b: Assembly, scheme: str) -> Resource:
        return plan_b.one("AWS::ElasticLoadBalancingV2::LoadBalancer", Scheme=scheme)

    def test_only_the_front_is_in_public_subnets(self, plan_b: Assembly) -> None:
        zones = ("ap-northeast-1a", "ap-northeast-1c")
        private = [f"private-app {zone}" for zone in zones]
        front, back = (self.find_balancer(plan_b, scheme) for scheme in ("internet-facing", "internal"))
        nginx = plan_b.one("AWS::AutoScaling::AutoScalingGroup")
        tasks = plan_b.one("AWS::ECS::Service")["NetworkConfiguration"]["AwsvpcConfiguration"]
        assert tiers(plan_b, CHAIN, front["Subnets"]) == [f"public {zone}" for zone in zones]
        assert tiers(plan_b, CHAIN, back["Subnets"]) == private
        assert tiers(plan_b, CHAIN, nginx["VPCZoneIdentifier"]) == private
        assert tiers(plan_b, CHAIN, tasks["Subnets"]) == private
        assert tasks["AssignPublicIp"] == "DISABLED"

    def test_nginx_is_managed_by_ssm(self, plan_b: Assembly) -> None:
        template = plan_b.one("AWS::EC2::LaunchTemplate")["LaunchTemplateData"]
        profile = plan_b.find(CHAIN, template["IamInstanceProfile"]["Arn"])
        assert profile is not None
        (role,) = [plan_b.find(CHAIN, each) for each in profile["Roles"]]
        assert role is not None
        (managed,) = role["ManagedPolicyArns"]
        assert render(managed).endswith(":iam::aws:policy/AmazonSSMManagedInstanceCore")

    def test_the_pools_domain_has_the_deployers_prefix(self, plan_b: Assembly) -> None:
        domain = plan_b.one("AWS::Cognito::UserPoolDomain")
        assert domain["Domain"] == {"Ref": "CognitoDomainPrefix"}
        assert plan_b.find(CHAIN, domain["UserPoolId"]) == plan_b.one("AWS::Cognito::UserPool")

    def test_there_are_two_tasks_on_fargate_or_more(self, plan_b: Assembly) -> None:
        service = plan_b.one("AWS::ECS::Service", ServiceName="plan-b-service")
        task = plan_b.one("AWS::ECS::TaskDefinition", Family="plan-b-task")
        assert (service["LaunchType"], task["RequiresCompatibilities"]) == ("FARGATE", ["FARGATE"])
        assert plan_b.one("AWS::ApplicationAutoScaling::ScalableTarget")["MinCapacity"] == 2
        assert service["DeploymentConfiguration"]["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}

    def test_images_have_a_repository_that_keeps_what_it_was_given(self, plan_b: Assembly) -> None:
        repository = plan_b.one("AWS::ECR::Repository")
        assert (repository["RepositoryName"], repository["ImageTagMutability"]) == ("plan-b", "IMMUTABLE")
        assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}

    def test_nginx_and_the_application_write_to_cloudwatch(self, plan_b: Assembly) -> None:
        groups = {group["LogGroupName"]: group["RetentionInDays"] for group in plan_b.all("AWS::Logs::LogGroup")}
        assert (groups["/ec2/plan-b-nginx"], groups["/ecs/plan-b"]) == (30, 30)


class TestTheGuide:
    """docs/how-to/deploy-on-aws.md names what there is."""

    @pytest.mark.parametrize("name", VARIABLES)
    def test_a_variable_of_the_deployer_stands_in_it(self, name: str) -> None:
        assert f"`{name}" in GUIDE.read_text()

    def test_every_stack_and_every_parameter_stands_in_the_table_of_those_without_cdk(self, idp: Assembly) -> None:
        part = GUIDE.read_text().split("\n## Without CDK\n", 1)[1].split("\n## ", 1)[0]
        rows = {row[0]: set(re.findall(r"`([^`]+)`", row[1])) for row in re.findall(r"\| `([^`]+)` \|(.*)\|", part)}
        # What has a default needs no answer.
        needed = {
            stack: {name for name, asked in template.get("Parameters", {}).items() if "Default" not in asked}
            for stack, template in idp.templates.items()
        }
        assert rows.keys() == needed.keys()
        assert not {stack: needed[stack] - rows[stack] for stack in needed if needed[stack] - rows[stack]}
