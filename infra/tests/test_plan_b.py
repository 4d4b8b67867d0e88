"""Plan B as seed 003 has it: each part of its architecture, and each of its variables."""

from __future__ import annotations

import base64
import json

import pytest
from tegata_infra.environments import load_config

from .syntheses import SEED
from .templates import Assembly, Resource, walk

CHAIN = "CdkScenarioBStack"


@pytest.fixture(scope="module")
def told(read_synthesis) -> Assembly:
    """Plan B with all that the seed lets a deployer say."""
    return read_synthesis("plan-b-of-the-seed")


def balancer(assembly: Assembly, scheme: str) -> Resource:
    return assembly.one("AWS::ElasticLoadBalancingV2::LoadBalancer", Scheme=scheme)


def listener(assembly: Assembly, scheme: str, port: int) -> Resource:
    wanted = balancer(assembly, scheme)
    (found,) = [
        each
        for each in assembly.all("AWS::ElasticLoadBalancingV2::Listener", Port=port)
        if assembly.find(each.stack, each["LoadBalancerArn"]) == wanted
    ]
    return found


def text_of(value: object) -> str:
    """Return the plain parts of a value with intrinsic functions, one after another."""
    return "".join(inner for _, inner in walk(value) if isinstance(inner, str))


def variables(assembly: Assembly) -> dict[str, object]:
    (container,) = assembly.one("AWS::ECS::TaskDefinition")["ContainerDefinitions"]
    return {entry["Name"]: entry["Value"] for entry in container["Environment"]}


def test_the_stack_has_the_seeds_name(plan_b: Assembly, read_assembly) -> None:
    assert CHAIN in plan_b.templates
    manifest = json.loads((plan_b.directory / "manifest.json").read_text())
    assert manifest["artifacts"][CHAIN]["properties"].get("stackName", CHAIN) == CHAIN
    dev = json.loads((read_assembly("plan-b", "dev").directory / "manifest.json").read_text())
    assert dev["artifacts"][CHAIN]["properties"]["stackName"] == f"{CHAIN}-dev"


class TestFront:
    """ALB1: takes requests from the internet, and has Cognito log users in."""

    def test_it_logs_in_before_it_forwards(self, plan_b: Assembly) -> None:
        first, second = listener(plan_b, "internet-facing", 443)["DefaultActions"]
        assert (first["Type"], first["Order"], second["Type"], second["Order"]) == (
            "authenticate-cognito",
            1,
            "forward",
            2,
        )
        login = first["AuthenticateCognitoConfig"]
        pool = plan_b.one("AWS::Cognito::UserPool")
        assert plan_b.find(CHAIN, login["UserPoolArn"]) == pool
        assert plan_b.find(CHAIN, login["UserPoolClientId"]) == plan_b.one("AWS::Cognito::UserPoolClient")
        assert plan_b.find(CHAIN, login["UserPoolDomain"]) == plan_b.one("AWS::Cognito::UserPoolDomain")
        assert (login["OnUnauthenticatedRequest"], login["Scope"]) == ("authenticate", "openid email")
        assert int(login["SessionTimeout"]) == 12 * 3600

    def test_it_forwards_to_nginx(self, plan_b: Assembly) -> None:
        _, forward = listener(plan_b, "internet-facing", 443)["DefaultActions"]
        targets = plan_b.find(CHAIN, forward["TargetGroupArn"])
        assert targets is not None
        (attached,) = plan_b.one("AWS::AutoScaling::AutoScalingGroup")["TargetGroupARNs"]
        assert plan_b.find(CHAIN, attached) == targets
        assert (targets["Port"], targets["Protocol"], targets["HealthCheckPath"]) == (8080, "HTTP", "/nginx-health")

    def test_http_is_sent_to_https(self, plan_b: Assembly) -> None:
        (action,) = listener(plan_b, "internet-facing", 80)["DefaultActions"]
        assert action["RedirectConfig"] == {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}

    def test_the_firewall_stands_before_it(self, plan_b: Assembly) -> None:
        association = plan_b.one("AWS::WAFv2::WebACLAssociation")
        assert plan_b.find(CHAIN, association["ResourceArn"]) == balancer(plan_b, "internet-facing")


class TestUserPool:
    """Cognito: who has users, and to whom it gives tokens."""

    def test_the_client_is_the_load_balancers(self, told: Assembly, plan_b: Assembly) -> None:
        client = plan_b.one("AWS::Cognito::UserPoolClient")
        assert client["GenerateSecret"] is True
        assert client["AllowedOAuthFlows"] == ["code"]
        assert client["AllowedOAuthScopes"] == ["openid", "email"]
        (callback,) = client["CallbackURLs"]
        assert callback == {"Fn::Join": ["", ["https://", {"Ref": "DomainName"}, "/oauth2/idpresponse"]]}
        assert client["PreventUserExistenceErrors"] == "ENABLED"
        assert client["EnableTokenRevocation"] is True
        assert (client["AccessTokenValidity"], client["TokenValidityUnits"]["AccessToken"]) == (60, "minutes")

    def test_nobody_makes_an_account_by_himself_and_a_second_factor_is_asked_for(self, plan_b: Assembly) -> None:
        pool = plan_b.one("AWS::Cognito::UserPool")
        assert pool["AdminCreateUserConfig"]["AllowAdminCreateUserOnly"] is True
        assert (pool["MfaConfiguration"], pool["EnabledMfas"]) == ("ON", ["SOFTWARE_TOKEN_MFA"])
        assert pool["DeletionProtection"] == "ACTIVE"
        assert pool.body["DeletionPolicy"] == "RetainExceptOnCreate"


class TestNginx:
    """EC2: passes on, and is managed without SSH."""

    def test_instances_replace_each_other_in_both_zones(self, plan_b: Assembly) -> None:
        group = plan_b.one("AWS::AutoScaling::AutoScalingGroup")
        assert (group["MinSize"], group["MaxSize"], group["HealthCheckType"]) == ("2", "4", "ELB")
        assert len(group["VPCZoneIdentifier"]) == 2
        update = group.body["UpdatePolicy"]["AutoScalingRollingUpdate"]
        assert (update["MinInstancesInService"], update["MaxBatchSize"]) == (2, 1)
        assert update["WaitOnResourceSignals"] is True
        assert group.body["CreationPolicy"]["ResourceSignal"] == {"Count": 2, "Timeout": "PT15M"}

    def test_metadata_wants_a_token_and_there_is_no_ssh(self, plan_b: Assembly) -> None:
        data = plan_b.one("AWS::EC2::LaunchTemplate")["LaunchTemplateData"]
        assert data["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
        assert "KeyName" not in data
        (disk,) = data["BlockDeviceMappings"]
        assert disk["Ebs"]["Encrypted"] is True
        nginx = plan_b.one("AWS::EC2::SecurityGroup", GroupName="plan-b-nginx-sg")
        ports = {
            rule["FromPort"]
            for rule in plan_b.all("AWS::EC2::SecurityGroupIngress")
            if plan_b.find(rule.stack, rule["GroupId"]) == nginx
        }
        assert ports == {8080}
        assert not nginx.get("SecurityGroupIngress")

    def test_the_image_is_the_newest_amazon_linux_without_a_look_up(self, plan_b: Assembly) -> None:
        image = plan_b.one("AWS::EC2::LaunchTemplate")["LaunchTemplateData"]["ImageId"]["Ref"]
        parameter = plan_b.templates[CHAIN]["Parameters"][image]
        assert parameter["Type"] == "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>"
        assert "al2023" in parameter["Default"]
        assert "arm64" in parameter["Default"]

    def test_the_user_data_has_the_name_of_the_parameter_and_of_the_back(self, plan_b: Assembly) -> None:
        text = text_of(plan_b.one("AWS::EC2::LaunchTemplate")["LaunchTemplateData"]["UserData"])
        assert "back.name.invalid" not in text
        assert "back.DomainName" in text.replace("Ref", "")
        # nginx believes the front's subnets, and no other's.
        assert "10.0.1.0/24 0;" in text
        assert "10.0.2.0/24 0;" in text
        assert "10.0.10.0/24" not in text

    def test_the_parameter_holds_the_backs_name(self, plan_b: Assembly) -> None:
        parameter = plan_b.one("AWS::SSM::Parameter")
        assert (parameter["Name"], parameter["Type"]) == ("/plan-b/back-host", "String")
        assert parameter["Value"]["Fn::GetAtt"][1] == "DNSName"
        assert plan_b.find(CHAIN, parameter["Value"]) == balancer(plan_b, "internal")

    def test_an_instance_may_read_that_parameter_and_little_else(self, plan_b: Assembly) -> None:
        (role,) = [
            each
            for each in plan_b.all("AWS::IAM::Role")
            if "ec2.amazonaws.com" in str(each["AssumeRolePolicyDocument"])
        ]
        allowed = {
            action
            for policy in plan_b.all("AWS::IAM::Policy")
            if any(plan_b.find(CHAIN, attached) == role for attached in policy["Roles"])
            for statement in policy["PolicyDocument"]["Statement"]
            for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
        }
        assert allowed == {
            "ssm:GetParameter",
            "logs:CreateLogStream",
            "logs:PutLogEvents",
            "logs:DescribeLogStreams",
            "cloudformation:SignalResource",
        }


class TestBack:
    """ALB2: inside the network, from nginx to the tasks."""

    def test_it_speaks_https_alone_and_is_not_public(self, plan_b: Assembly) -> None:
        back = balancer(plan_b, "internal")
        own = [
            each["Port"]
            for each in plan_b.all("AWS::ElasticLoadBalancingV2::Listener")
            if plan_b.find(each.stack, each["LoadBalancerArn"]) == back
        ]
        assert own == [443]
        https = listener(plan_b, "internal", 443)
        assert https["Protocol"] == "HTTPS"
        assert https["SslPolicy"].startswith("ELBSecurityPolicy-TLS13-1-2-Res")
        assert [each["Type"] for each in https["DefaultActions"]] == ["forward"]

    def test_who_may_speak_with_whom(self, plan_b: Assembly) -> None:
        allowed = set()
        for rule in plan_b.all("AWS::EC2::SecurityGroupIngress"):
            source = plan_b.find(rule.stack, rule["SourceSecurityGroupId"])
            target = plan_b.find(rule.stack, rule["GroupId"])
            assert source is not None
            assert target is not None
            allowed.add((source["GroupName"], target["GroupName"], rule["FromPort"]))
        assert allowed == {
            ("plan-b-alb-sg", "plan-b-nginx-sg", 8080),
            ("plan-b-nginx-sg", "plan-b-back-alb-sg", 443),
            ("plan-b-back-alb-sg", "plan-b-ecs-sg", 8000),
            ("plan-b-nginx-sg", "plan-b-endpoints-sg", 443),
            ("plan-b-ecs-sg", "plan-b-endpoints-sg", 443),
        }


class TestApplication:
    """FastAPI on Fargate: verifies everything by itself."""

    def test_it_is_told_whom_to_trust(self, plan_b: Assembly) -> None:
        given = variables(plan_b)
        assert plan_b.find(CHAIN, given["COGNITO_USER_POOL_ID"]) == plan_b.one("AWS::Cognito::UserPool")
        assert plan_b.find(CHAIN, given["COGNITO_APP_CLIENT_ID"]) == plan_b.one("AWS::Cognito::UserPoolClient")
        assert given["COGNITO_REGION"] == "ap-northeast-1"
        assert plan_b.find(CHAIN, given["ALB_ARNS"]) == balancer(plan_b, "internet-facing")
        assert given["TRUSTED_PEERS"] == "10.0.10.0/24,10.0.11.0/24"
        assert given["FORWARDED_ALLOW_IPS"] == "none"

    def test_its_tasks_are_the_backs_targets(self, plan_b: Assembly) -> None:
        (forward,) = listener(plan_b, "internal", 443)["DefaultActions"]
        targets = plan_b.find(CHAIN, forward["TargetGroupArn"])
        (balanced,) = plan_b.one("AWS::ECS::Service")["LoadBalancers"]
        assert targets is not None
        assert plan_b.find(CHAIN, balanced["TargetGroupArn"]) == targets
        assert (balanced["ContainerPort"], targets["HealthCheckPath"]) == (8000, "/health")


class TestVariables:
    """The seed's environment variables: each is heard."""

    def test_account_and_region(self, told: Assembly) -> None:
        manifest = json.loads((told.directory / "manifest.json").read_text())
        assert manifest["artifacts"][CHAIN]["environment"] == "aws://123456789012/ap-northeast-1"
        assert manifest.get("missing", []) == []

    def test_domain_certificate_and_zone(self, told: Assembly) -> None:
        https = listener(told, "internet-facing", 443)
        assert https["Certificates"] == [{"CertificateArn": SEED["ALB1_CERTIFICATE_ARN"]}]
        record = told.one("AWS::Route53::RecordSet")
        assert (record["Name"], record["HostedZoneId"]) == ("app.example.com.", SEED["HOSTED_ZONE_ID"])
        back = told.one("AWS::CertificateManager::Certificate")
        assert (back["DomainName"], back["ValidationMethod"]) == ("back.app.example.com", "DNS")

    def test_pool_client_and_prefix(self, told: Assembly) -> None:
        assert told.all("AWS::Cognito::UserPool") == []
        login = listener(told, "internet-facing", 443)["DefaultActions"][0]["AuthenticateCognitoConfig"]
        assert login["UserPoolClientId"] == SEED["COGNITO_APP_CLIENT_ID_ENV"]
        assert login["UserPoolDomain"] == SEED["COGNITO_DOMAIN_PREFIX"]
        given = variables(told)
        assert given["COGNITO_USER_POOL_ID"] == SEED["COGNITO_USER_POOL_ID_ENV"]
        assert given["COGNITO_REGION"] == "eu-central-1"
        assert given["COGNITO_APP_CLIENT_ID"] == SEED["COGNITO_APP_CLIENT_ID_ENV"]

    def test_images(self, told: Assembly) -> None:
        (container,) = told.one("AWS::ECS::TaskDefinition")["ContainerDefinitions"]
        assert container["Image"] == SEED["FASTAPI_APP_IMAGE_URI"]
        assert told.one("AWS::EC2::LaunchTemplate")["LaunchTemplateData"]["ImageId"] == SEED["NGINX_IMAGE_ID"]

    def test_what_is_said_is_no_parameter_any_more(self, told: Assembly, plan_b: Assembly) -> None:
        asked = {"DomainName", "CertificateArn", "CognitoDomainPrefix", "Image", "BackCertificateArn"}
        assert asked <= set(plan_b.templates[CHAIN]["Parameters"])
        assert not asked & set(told.templates[CHAIN].get("Parameters", {}))

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("DOMAIN_NAME", "not a name"),
            ("FASTAPI_APP_IMAGE_URI", "123456789012.dkr.ecr.ap-northeast-1.amazonaws.com/app:latest"),
            ("ALB1_CERTIFICATE_ARN", SEED["ALB1_CERTIFICATE_ARN"].replace("ap-northeast-1", "us-east-1")),
            ("COGNITO_DOMAIN_PREFIX", "my-cognito"),
            ("NGINX_IMAGE_ID", "latest"),
            ("CDK_DEFAULT_REGION", "eu-central-1"),
        ],
    )
    def test_what_cannot_be_is_refused_before_anything_is_made(self, variable: str, value: str) -> None:
        with pytest.raises(ValueError, match=r"validation errors? for|DEPLOYMENT_ZONES"):
            load_config("plan-b", "production", {**SEED, variable: value})


def test_the_user_data_fits(told: Assembly) -> None:
    """EC2 takes 16 KiB of it before it is encoded."""
    value = told.one("AWS::EC2::LaunchTemplate")["LaunchTemplateData"]["UserData"]["Fn::Base64"]
    longest = len(text_of(value)) + 2000
    assert longest < 16_384
    assert len(base64.b64encode(b"x" * longest)) < 25_600
