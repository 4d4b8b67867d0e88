"""Plan C: the front straight to the application, which verifies tokens; the load balancer too, if wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tegata_infra.plan_c import HEALTH

from .templates import Assembly, Resource

DOCKERFILE = Path(__file__).resolve().parents[2] / "examples" / "plan-b" / "Dockerfile"


@pytest.fixture(scope="module")
def checking(read_synthesis) -> Assembly:
    """The load balancer checks tokens, too: those of a tenant."""
    return read_synthesis("tokens-of-a-tenant")


def find_listener(assembly: Assembly) -> Resource:
    return assembly.one("AWS::ElasticLoadBalancingV2::Listener", Port=443)


def environment(assembly: Assembly) -> dict[str, Any]:
    (container,) = assembly.one("AWS::ECS::TaskDefinition")["ContainerDefinitions"]
    return {each["Name"]: each["Value"] for each in container["Environment"]}


def test_the_front_leads_straight_to_the_containers(plan_c: Assembly) -> None:
    group = plan_c.one("AWS::ElasticLoadBalancingV2::TargetGroup")
    assert (group["Name"], group["Port"], group["TargetType"]) == ("plan-c-tg", 8000, "ip")
    assert group["HealthCheckPath"] == "/health"
    assert plan_c.one("AWS::ElasticLoadBalancingV2::LoadBalancer")["Name"] == "plan-c-alb"
    listener = find_listener(plan_c)
    (action,) = listener["DefaultActions"]
    assert (action["Type"], plan_c.find(listener.stack, action["TargetGroupArn"])) == ("forward", group)
    assert plan_c.all("AWS::AutoScaling::AutoScalingGroup") == []
    assert plan_c.all("AWS::Cognito::UserPool") == []


def test_the_application_is_that_of_plan_b_and_is_asked_in_the_way_of_its_image(plan_c: Assembly) -> None:
    task = plan_c.one("AWS::ECS::TaskDefinition", Family="plan-c-task")
    (container,) = task["ContainerDefinitions"]
    assert container["PortMappings"][0]["ContainerPort"] == 8000
    assert container["HealthCheck"]["Command"] == ["CMD", *HEALTH]
    assert HEALTH[-1] in DOCKERFILE.read_text()
    assert (container["User"], container["ReadonlyRootFilesystem"]) == ("10001:10001", True)
    service = plan_c.one("AWS::ECS::Service", ServiceName="plan-c-service")
    (target,) = service["LoadBalancers"]
    assert target["ContainerPort"] == 8000
    assert len(service["NetworkConfiguration"]["AwsvpcConfiguration"]["Subnets"]) == 2
    assert plan_c.one("AWS::ApplicationAutoScaling::ScalableTarget")["MinCapacity"] == 2


def test_the_application_believes_tokens_alone(plan_c: Assembly) -> None:
    assert environment(plan_c) == {
        "TEGATA_ISSUER": {"Ref": "TokenIssuer"},
        "TEGATA_AUDIENCE": {"Ref": "TokenAudience"},
        "FORWARDED_ALLOW_IPS": "none",
    }


def test_the_application_may_do_nothing_of_aws(plan_c: Assembly) -> None:
    task = plan_c.one("AWS::ECS::TaskDefinition")
    role = plan_c.find(task.stack, task["TaskRoleArn"])
    assert role is not None
    assert not role.get("Policies")
    users = [plan_c.find(policy.stack, each) for policy in plan_c.all("AWS::IAM::Policy") for each in policy["Roles"]]
    assert role not in users


def test_the_firewall_knows_no_paths_of_tegata(plan_c: Assembly) -> None:
    names = [rule["Name"] for rule in plan_c.one("AWS::WAFv2::WebACL")["Rules"]]
    assert names == ["rate-of-all", "AWSManagedRulesCommonRuleSet", "AWSManagedRulesKnownBadInputsRuleSet"]


def test_the_load_balancer_checks_tokens_of_a_tenant_if_that_is_wanted(checking: Assembly) -> None:
    validate, forward = find_listener(checking)["DefaultActions"]
    assert [(each["Type"], each["Order"]) for each in (validate, forward)] == [("jwt-validation", 1), ("forward", 2)]
    assert validate["JwtValidationConfig"] == {
        "Issuer": {"Ref": "TokenIssuer"},
        "JwksEndpoint": {"Fn::Join": ["", [{"Ref": "TokenIssuer"}, "/jwks"]]},
        # It looks at no aud by itself (facts: ALB native JWT validation).
        "AdditionalClaims": [{"Format": "single-string", "Name": "aud", "Values": [{"Ref": "TokenAudience"}]}],
    }
    # The application verifies all the same.
    assert environment(checking)["TEGATA_ISSUER"] == {"Ref": "TokenIssuer"}


def test_the_load_balancer_that_checks_tokens_reaches_the_keys(checking: Assembly, plan_c: Assembly) -> None:
    def ways_out(assembly: Assembly) -> set[tuple[int, str]]:
        front = assembly.one("AWS::ElasticLoadBalancingV2::LoadBalancer")
        group = assembly.find(front.stack, front["SecurityGroups"][0])
        assert group is not None
        return {(rule["ToPort"], rule["CidrIp"]) for rule in group.get("SecurityGroupEgress", []) if "CidrIp" in rule}

    assert (443, "0.0.0.0/0") in ways_out(checking)
    assert (443, "0.0.0.0/0") not in ways_out(plan_c)


def test_the_load_balancer_checks_tokens_of_a_user_pool(read_synthesis) -> None:
    assembly = read_synthesis("tokens-of-a-pool")
    issuer = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI"
    config = find_listener(assembly)["DefaultActions"][0]["JwtValidationConfig"]
    assert (config["Issuer"], config["JwksEndpoint"]) == (issuer, f"{issuer}/.well-known/jwks.json")
    assert {claim["Name"]: claim["Values"] for claim in config["AdditionalClaims"]} == {
        "client_id": ["1example23456789"],
        "token_use": ["access"],
    }
    assert environment(assembly) == {
        "COGNITO_USER_POOL_ID": "eu-central-1_AbCdEfGhI",
        "COGNITO_REGION": "eu-central-1",
        "COGNITO_APP_CLIENT_ID": "1example23456789",
        "FORWARDED_ALLOW_IPS": "none",
    }
