"""Each guard before a template that it has to object to: production with one thing changed."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .guards import confidential, keeping, reach, rights, shape
from .guards.changes import Change, add, allow, change, drop, enter, leave, put
from .templates import Assembly

MADE_UP = "q7Zp2LxV9tRb4YcN8wKd3HsJ6mFg1TaE"
GUESSED = "hunter-2-is-my-password"


CASES: dict[str, tuple[Callable[[Assembly], list[str]], str, Change, str]] = {
    "ssh for the world": (reach.check_world, "Network", enter("idp-server-ecs-sg", CidrIp="0.0.0.0/0"), "tcp 22"),
    "half of the world": (reach.check_world, "Network", enter("idp-server-ecs-sg", CidrIp="128.0.0.0/1"), "128."),
    "the world by IPv6": (reach.check_world, "Network", enter("idp-server-rds-sg", CidrIpv6="::/0"), "::/0"),
    "another port of the front": (reach.check_world, "Network", enter("idp-server-alb-sg", CidrIp="0.0.0.0/0"), "22"),
    "one address elsewhere": (reach.check_world, "Network", enter("idp-server-ecs-sg", CidrIp="8.8.8.8/32"), "8.8.8.8"),
    "mail to the world": (
        reach.check_ways_out,
        "Network",
        leave("idp-server-ecs-sg", CidrIp="0.0.0.0/0", FromPort=25, ToPort=25),
        "tcp 25",
    ),
    "a database that calls out": (
        reach.check_ways_out,
        "Network",
        leave("idp-server-rds-sg", CidrIp="0.0.0.0/0"),
        "idp-server-rds-sg",
    ),
    "the application from the rest of the network": (
        reach.check_application,
        "Network",
        enter("idp-server-ecs-sg", CidrIp="10.0.0.0/16"),
        "10.0.0.0/16",
    ),
    "the database from the rest of the network": (
        reach.check_stores,
        "Network",
        enter("idp-server-rds-sg", CidrIp="10.0.0.0/16"),
        "10.0.0.0/16",
    ),
    "the cache from the load balancer": (
        reach.check_stores,
        "Network",
        enter("idp-server-redis-sg", SourceSecurityGroupId={"Fn::GetAtt": ["FrontGroup02FE87E1", "GroupId"]}),
        "idp-server-alb-sg",
    ),
    "a public database": (
        reach.check_addresses,
        "Data",
        put("AWS::RDS::DBInstance", ("PubliclyAccessible",), True),
        "is public",
    ),
    "containers with public addresses": (
        reach.check_addresses,
        "Service",
        put("AWS::ECS::Service", ("NetworkConfiguration", "AwsvpcConfiguration", "AssignPublicIp"), "ENABLED"),
        "public addresses",
    ),
    "a function with a URL": (reach.check_addresses, "Service", add("AWS::Lambda::Url"), "another way in"),
    "an address of its own": (reach.check_addresses, "Service", add("AWS::EC2::EIP"), "no NAT gateway"),
    "subnets with public addresses": (
        reach.check_addresses,
        "Network",
        put("AWS::EC2::Subnet", ("MapPublicIpOnLaunch",), True),
        "gives public addresses",
    ),
    "a bucket that may be made public": (
        reach.check_buckets,
        "Edge",
        drop("AWS::S3::Bucket", "PublicAccessBlockConfiguration"),
        "may be made public",
    ),
    "a bucket without a word on encryption": (
        reach.check_buckets,
        "Edge",
        drop("AWS::S3::Bucket", "BucketEncryption"),
        "encrypted",
    ),
    "a bucket without a policy": (reach.check_buckets, "Edge", add("AWS::S3::Bucket"), "Added takes plain HTTP"),
    "an old policy of TLS": (
        reach.check_tls,
        "Edge",
        put("AWS::ElasticLoadBalancingV2::Listener", ("SslPolicy",), "ELBSecurityPolicy-2016-08", Protocol="HTTPS"),
        "ELBSecurityPolicy-2016-08",
    ),
    "no policy of TLS": (
        reach.check_tls,
        "Edge",
        drop("AWS::ElasticLoadBalancingV2::Listener", "SslPolicy", Protocol="HTTPS"),
        "None",
    ),
    "an answer in plain HTTP": (
        reach.check_tls,
        "Edge",
        put(
            "AWS::ElasticLoadBalancingV2::Listener", ("DefaultActions",), [{"Type": "fixed-response"}], Protocol="HTTP"
        ),
        "in plain HTTP",
    ),
    "every action": (rights.check_wildcards, "Service", allow("s3:*", "arn:aws:s3:::b/*"), "allows s3:*"),
    "everything of a service": (rights.check_wildcards, "Service", allow("s3:GetObject", "*"), "on everything"),
    "everything by an ARN": (
        rights.check_wildcards,
        "Service",
        allow(
            "secretsmanager:GetSecretValue",
            {
                "Fn::Join": [
                    "",
                    ["arn:", {"Ref": "AWS::Partition"}, ":secretsmanager:ap-northeast-1:111111111111:secret:*"],
                ]
            },
        ),
        "on everything",
    ),
    "everything but something": (
        rights.check_wildcards,
        "Service",
        add(
            "AWS::IAM::Policy",
            PolicyDocument={"Statement": {"Effect": "Allow", "NotAction": "iam:*", "Resource": "arn:x"}},
        ),
        "everything but",
    ),
    "an administrator": (
        rights.check_managed_policies,
        "Service",
        put("AWS::IAM::Role", ("ManagedPolicyArns",), ["arn:aws:iam::aws:policy/AdministratorAccess"]),
        "AdministratorAccess",
    ),
    "a user with a key": (rights.check_managed_policies, "Service", add("AWS::IAM::AccessKey"), "roles only"),
    "a role for anybody": (
        rights.check_trust,
        "Service",
        put("AWS::IAM::Role", ("AssumeRolePolicyDocument", "Statement", 0, "Principal"), {"AWS": "*"}),
        "assumed by *",
    ),
    "a bucket for everybody": (
        rights.check_resource_policies,
        "Edge",
        put(
            "AWS::S3::BucketPolicy",
            ("PolicyDocument", "Statement", 0),
            {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"},
        ),
        "allows everybody",
    ),
    "a function for every account": (
        rights.check_functions_callers,
        "Secrets",
        add("AWS::Lambda::Permission", Principal="secretsmanager.amazonaws.com", Action="lambda:InvokeFunction"),
        "any account",
    ),
    "a password in a variable": (
        confidential.check_secrets,
        "Service",
        put(
            "AWS::ECS::TaskDefinition",
            ("ContainerDefinitions", 0, "Environment"),
            [{"Name": "SMTP_PASSWORD", "Value": GUESSED}],
        ),
        "SMTP_PASSWORD",
    ),
    "a made-up word in a variable": (
        confidential.check_secrets,
        "Service",
        put(
            "AWS::ECS::TaskDefinition", ("ContainerDefinitions", 0, "Environment"), [{"Name": "SALT", "Value": MADE_UP}]
        ),
        "looks made up",
    ),
    "a URL with a password": (
        confidential.check_secrets,
        "Service",
        put(
            "AWS::ECS::TaskDefinition",
            ("ContainerDefinitions", 0, "Environment"),
            [{"Name": "DATABASE_URL", "Value": f"postgresql://app:{GUESSED}@db/x"}],
        ),
        "a URL with a password",
    ),
    "a password in a property": (
        confidential.check_secrets,
        "Data",
        put("AWS::RDS::DBInstance", ("MasterUserPassword",), GUESSED),
        "MasterUserPassword",
    ),
    "a token of the cache": (
        confidential.check_secrets,
        "Data",
        put("AWS::ElastiCache::ReplicationGroup", ("AuthToken",), GUESSED),
        "AuthToken",
    ),
    "a secret that begins with its value": (
        confidential.check_secrets,
        "Secrets",
        add("AWS::SecretsManager::Secret", SecretString=json.dumps({"username": "a", "password": GUESSED})),
        "a plain password",
    ),
    "a password in user data": (
        confidential.check_secrets,
        "Service",
        add(
            "AWS::EC2::LaunchTemplate",
            LaunchTemplateData={"UserData": {"Fn::Base64": f"#!/bin/sh\nexport API_TOKEN={GUESSED}\n"}},
        ),
        "a variable with a password",
    ),
    "a password in a joined text": (
        confidential.check_secrets,
        "Service",
        add(
            "AWS::SSM::Parameter", Value={"Fn::Join": ["", ["amqps://app:", GUESSED, "@", {"Ref": "AWS::Region"}, "/"]]}
        ),
        "a URL with a password",
    ),
    "a private key": (
        confidential.check_secrets,
        "Service",
        add("AWS::SSM::Parameter", Value="-----BEGIN " + "PRIVATE KEY-----\nMC4"),
        "a private key",
    ),
    "a log without an end": (
        keeping.check_retention,
        "Service",
        drop("AWS::Logs::LogGroup", "RetentionInDays"),
        "for ever",
    ),
    "a log without a key": (keeping.check_log_keys, "Service", drop("AWS::Logs::LogGroup", "KmsKeyId"), "no key"),
    "a function that makes its own log": (
        keeping.check_functions_log,
        "Service",
        add("AWS::Lambda::Function", FunctionName="other"),
        "not in the template",
    ),
    "a key that is never replaced": (
        keeping.check_keys,
        "Data",
        drop("AWS::KMS::Key", "EnableKeyRotation"),
        "is not rotated",
    ),
    "a rotation that nobody hears of": (
        keeping.check_rotations,
        "Secrets",
        add("AWS::SecretsManager::RotationSchedule", RotationLambdaARN={"Fn::GetAtt": ["Elsewhere", "Arn"]}),
        "nobody is told when the rotation Added fails",
    ),
    "a template too long": (
        shape.check_sizes,
        "Service",
        add("AWS::SSM::Parameter", Value="word " * 200_001),
        "bytes",
    ),
    "a template that needs a bucket": (
        shape.check_small,
        "Service",
        add("AWS::SSM::Parameter", Value="word " * 10_000),
        "bytes",
    ),
    "too many resources": (
        shape.check_sizes,
        "Service",
        lambda resources: resources.update({f"R{number}": {"Type": "AWS::SNS::Topic"} for number in range(500)}),
        "Resources",
    ),
    "a weak reference": (
        shape.check_references,
        "Data",
        add("AWS::SSM::Parameter", Value={"Fn::GetStackOutput": {"StackName": "a", "OutputName": "b"}}),
        "refers weakly",
    ),
    "a reference into nothing": (
        shape.check_references,
        "Data",
        add("AWS::SSM::Parameter", Value={"Fn::ImportValue": "Nowhere:Nothing"}),
        "nobody exports",
    ),
    "a stand-in of a look-up": (
        shape.check_lookups,
        "Network",
        put("AWS::EC2::Subnet", ("AvailabilityZone",), "dummy1a"),
        "stand-in",
    ),
    "a file beside the template": (
        shape.check_assets,
        "Service",
        add("AWS::Lambda::Function", Code={"S3Bucket": "cdk-hnb659fds-assets-111111111111-ap-northeast-1"}),
        "needs a file",
    ),
    "an image by its tag": (
        shape.check_images,
        "Service",
        put("AWS::ECS::TaskDefinition", ("ContainerDefinitions", 0, "Image"), "registry.example/tegata:latest"),
        "latest",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_guard_objects(idp: Assembly, case: str) -> None:
    guard, stack, alter, words = CASES[case]
    said = guard(change(idp, stack, alter))
    assert any(words in line for line in said), said


@pytest.mark.parametrize("kind", keeping.DATA)
def test_the_guard_of_deletion_objects(idp: Assembly, plan_b: Assembly, kind: str) -> None:
    assembly = plan_b if kind == "AWS::Cognito::UserPool" else idp
    stack, name = next((one.stack, one.id) for one in assembly.resources if one.type == kind)

    def forget(resources: dict[str, Any]) -> None:
        resources[name]["DeletionPolicy"] = "Delete"

    assert any(name in line for line in keeping.check_deletion(change(assembly, stack, forget)))


def test_stacks_that_need_each_other_are_found(idp: Assembly) -> None:
    back = add("AWS::SSM::Parameter", Value={"Fn::ImportValue": next(name for name in idp.exports if "-Data:" in name)})
    assert any("need each other" in line for line in shape.check_references(change(idp, "Network", back)))


def test_an_export_for_nobody_is_found(idp: Assembly) -> None:
    templates = copy.deepcopy(dict(idp.templates))
    stack = next(name for name in templates if name.endswith("Network"))
    templates[stack]["Outputs"]["Spare"] = {"Value": "x", "Export": {"Name": "Spare"}}
    assert shape.check_references(Assembly(idp.directory, templates)) == [f"{stack} exports Spare for nobody"]


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ({"DatabasePassword": {"Type": "String", "Default": GUESSED, "NoEcho": True}}, "has a default"),
        ({"DatabasePassword": {"Type": "String"}}, "is shown"),
        ({"Note": {"Type": "String", "Default": MADE_UP}}, "looks made up"),
    ],
    ids=["a default", "shown", "made up"],
)
def test_a_secret_parameter_is_found(idp: Assembly, parameter: dict[str, Any], words: str) -> None:
    templates = copy.deepcopy(dict(idp.templates))
    stack = next(iter(templates))
    templates[stack].setdefault("Parameters", {}).update(parameter)
    assert any(words in line for line in confidential.check_secrets(Assembly(idp.directory, templates)))


def test_a_secret_in_an_output_is_found(idp: Assembly) -> None:
    templates = copy.deepcopy(dict(idp.templates))
    stack = next(name for name in templates if name.endswith("Data"))
    templates[stack].setdefault("Outputs", {})["Shown"] = {
        "Value": {"Fn::Join": ["", ["{{resolve:secretsmanager:", {"Ref": "Secret"}, ":SecretString:password::}}"]]}
    }
    assert any("Shown" in line for line in confidential.check_secrets(Assembly(idp.directory, templates)))


def test_a_parameter_that_takes_anything_is_found(idp: Assembly) -> None:
    templates = copy.deepcopy(dict(idp.templates))
    next(iter(templates.values())).setdefault("Parameters", {})["Anything"] = {"Type": "String"}
    assert any("Anything" in line for line in shape.check_parameters(Assembly(idp.directory, templates)))


def test_a_parameter_that_takes_the_tag_latest_is_found(idp: Assembly) -> None:
    templates = copy.deepcopy(dict(idp.templates))
    stack = next(name for name in templates if name.endswith("Service"))
    templates[stack]["Parameters"]["Image"]["AllowedPattern"] = ".*"
    assert any("takes registry" in line for line in shape.check_images(Assembly(idp.directory, templates)))


@pytest.mark.parametrize(
    ("entry", "words"),
    [({"missing": [{"key": "availability-zones"}]}, "looked up"), ({}, "deleted at once")],
    ids=["a look-up", "no protection"],
)
def test_what_only_the_manifest_says_is_found(idp: Assembly, tmp_path: Path, entry: dict[str, Any], words: str) -> None:
    place = tmp_path / "idp-production"
    shutil.copytree(idp.directory, place)
    manifest = json.loads((place / "manifest.json").read_text())
    for artifact in manifest["artifacts"].values():
        artifact.get("properties", {}).pop("terminationProtection", None)
    (place / "manifest.json").write_text(json.dumps(manifest | entry))
    changed = Assembly(place, idp.templates)
    said = shape.check_lookups(changed) if entry else keeping.check_protection(changed)
    assert any(words in line for line in said)


def test_every_guard_is_seen_to_object() -> None:
    from .test_guards import GUARDS

    elsewhere = {keeping.check_deletion, keeping.check_protection, shape.check_parameters}
    assert {guard for guard, *_ in CASES.values()} | elsewhere == set(GUARDS)
