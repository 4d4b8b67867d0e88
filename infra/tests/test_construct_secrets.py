"""The construct of seed 004 by itself: with a cluster, an instance or no database, without rotation, renamed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_rds as rds
from tegata_infra.rotation import CERTIFICATES, MissingArtefact, find_code
from tegata_infra.secrets_manager import DatabaseLogin, Pair, Periods, Replica, SecretsManagerConstruct

from .templates import Assembly, Resource

Build = Callable[[cdk.Stack], Any]
WORDS = ("database", "jwt", "external-apis")


def build(directory: Path, make: Build) -> Assembly:
    """Synthesize one stack with what `make` adds."""
    app = cdk.App(outdir=str(directory), analytics_reporting=False)
    make(cdk.Stack(app, "Shop", synthesizer=cdk.BootstraplessSynthesizer()))
    app.synth()
    return Assembly.read(directory)


def a_cluster(stack: cdk.Stack) -> rds.DatabaseCluster:
    return rds.DatabaseCluster(
        stack,
        "Database",
        engine=rds.DatabaseClusterEngine.aurora_postgres(version=rds.AuroraPostgresEngineVersion.VER_16_6),
        writer=rds.ClusterInstance.serverless_v2("writer"),
        vpc=ec2.Vpc(stack, "Vpc", max_azs=2, restrict_default_security_group=False),
        credentials=rds.Credentials.from_generated_secret("postgres"),
    )


def secret_of(assembly: Assembly, word: str, start: str = "tegata-dev") -> Resource:
    return assembly.one("AWS::SecretsManager::Secret", Name=f"{start}-secret-{word}")


def plans_of(assembly: Assembly) -> dict[str, Any]:
    functions = assembly.all("AWS::Lambda::Function")
    text = functions[0]["Environment"]["Variables"]["TEGATA_ROTATION"] if functions else "[]"
    return {plan["secret"]: plan for plan in json.loads(text)}


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    def make(stack: cdk.Stack) -> None:
        login = DatabaseLogin(Pair("database", "shop"), dbname="shop")
        secrets = SecretsManagerConstruct(
            stack, "Secrets", environment="dev", database_cluster=a_cluster(stack), login=login
        )
        assert secrets.database_secret.secret_name
        assert secrets.jwt_secret.secret_name
        assert secrets.external_apis_secret.secret_name
        role = iam.Role(stack, "Task", assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"))
        secrets.grant_read(role)

    return build(tmp_path_factory.mktemp("cluster"), make)


class TestWithACluster:
    def test_there_are_the_three_secrets_and_the_rotator_s(self, clustered: Assembly) -> None:
        for word in (*WORDS, "rotator"):
            assert secret_of(clustered, word)["KmsKeyId"]

    def test_the_login_is_attached_to_the_cluster_which_says_where_it_is(self, clustered: Assembly) -> None:
        attachment = clustered.one(
            "AWS::SecretsManager::SecretTargetAttachment", SecretId={"Ref": secret_of(clustered, "database").id}
        )
        assert attachment["TargetType"] == "AWS::RDS::DBCluster"
        generated = secret_of(clustered, "database")["GenerateSecretString"]
        assert json.loads(generated["SecretStringTemplate"]) == {"username": "shop_b", "dbname": "shop"}

    def test_logins_and_keys_are_rotated_and_the_rotator_only_read(self, clustered: Assembly) -> None:
        plans = plans_of(clustered)
        assert set(plans) == {"tegata-dev-secret-database", "tegata-dev-secret-jwt"}
        assert plans["tegata-dev-secret-database"]["administrator"] == "tegata-dev-secret-rotator"
        days = [each["RotationRules"] for each in clustered.all("AWS::SecretsManager::RotationSchedule")]
        assert sorted(each["AutomaticallyAfterDays"] for each in days) == [30, 90]

    def test_the_function_has_a_way_to_the_cluster(self, clustered: Assembly) -> None:
        function = clustered.one("AWS::Lambda::Function", FunctionName="tegata-dev-rotation")
        group = clustered.find(function.stack, function["VpcConfig"]["SecurityGroupIds"][0])
        assert group is not None
        assert [
            rule["IpProtocol"]
            for rule in clustered.all("AWS::EC2::SecurityGroupIngress")
            if clustered.find(rule.stack, rule["SourceSecurityGroupId"]) == group
        ] == ["tcp"]

    def test_the_reader_reads_the_three_and_changes_nothing(self, clustered: Assembly) -> None:
        policy = clustered.one("AWS::IAM::Policy", PolicyName="read-secrets")
        statements = {each["Sid"]: each for each in policy["PolicyDocument"]["Statement"]}
        assert {sid: each["Action"] for sid, each in statements.items()} == {
            "ReadSecrets": "secretsmanager:GetSecretValue",
            "ReadManyAtOnce": "secretsmanager:BatchGetSecretValue",
            "DecryptSecrets": "kms:Decrypt",
        }
        named = [clustered.find("Shop", value) for value in statements["ReadSecrets"]["Resource"]]
        assert [secret["Name"] for secret in named if secret] == [f"tegata-dev-secret-{word}" for word in WORDS]
        assert clustered.find("Shop", policy["Roles"][0]).id.startswith("Task")  # type: ignore[union-attr]

    def test_there_is_no_call_that_names_no_account(self, clustered: Assembly) -> None:
        permissions = clustered.all("AWS::Lambda::Permission")
        assert len(permissions) == 2
        assert all(each["SourceAccount"] and each["SourceArn"] for each in permissions)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    plan = {"strategy": "generic-token", "provider": "shop.payments:keys", "member": "payments"}
    return build(
        tmp_path_factory.mktemp("alone"),
        lambda stack: SecretsManagerConstruct(
            stack,
            "Secrets",
            environment="dev",
            project="shop",
            replica=Replica("eu-central-1"),
            periods=Periods(login=7, keys=14),
            external_apis_plan=plan,
        ),
    )


class TestWithoutADatabase:
    def test_the_three_secrets_are_there_under_the_project_s_name(self, alone: Assembly) -> None:
        for word in WORDS:
            assert secret_of(alone, word, "shop-dev")["ReplicaRegions"] == [{"Region": "eu-central-1"}]
        assert len(alone.all("AWS::SecretsManager::Secret")) == 3

    def test_the_login_is_not_rotated_where_there_is_nothing_to_log_in_at(self, alone: Assembly) -> None:
        plans = plans_of(alone)
        assert set(plans) == {"shop-dev-secret-jwt", "shop-dev-secret-external-apis"}
        assert plans["shop-dev-secret-external-apis"]["provider"] == "shop.payments:keys"
        assert "VpcConfig" not in alone.one("AWS::Lambda::Function").properties

    def test_periods_are_what_was_asked_for(self, alone: Assembly) -> None:
        found = [each["RotationRules"] for each in alone.all("AWS::SecretsManager::RotationSchedule")]
        assert sorted(each["AutomaticallyAfterDays"] for each in found) == [7, 14]


def test_an_instance_does_as_well_as_a_cluster(tmp_path: Path) -> None:
    def make(stack: cdk.Stack) -> None:
        instance = rds.DatabaseInstance(
            stack,
            "Database",
            engine=rds.DatabaseInstanceEngine.postgres(version=rds.PostgresEngineVersion.VER_17),
            vpc=ec2.Vpc(stack, "Vpc", max_azs=2, restrict_default_security_group=False),
        )
        SecretsManagerConstruct(stack, "Secrets", environment="dev", database_cluster=instance)

    shop = build(tmp_path, make)
    attached = [each["TargetType"] for each in shop.all("AWS::SecretsManager::SecretTargetAttachment")]
    assert "AWS::RDS::DBInstance" in attached
    assert "tegata-dev-secret-database" in plans_of(shop)


def test_without_rotation_there_is_neither_function_nor_schedule(tmp_path: Path) -> None:
    def make(stack: cdk.Stack) -> None:
        SecretsManagerConstruct(
            stack, "Secrets", environment="dev", database_cluster=a_cluster(stack), enable_rotation=False
        )

    shop = build(tmp_path, make)
    for kind in ("AWS::Lambda::Function", "AWS::Lambda::Permission", "AWS::SecretsManager::RotationSchedule"):
        assert shop.all(kind) == []
    assert all(secret_of(shop, word) for word in WORDS)
    assert not shop.templates["Shop"].get("Parameters")


def test_two_environments_share_no_secret_key_or_role(tmp_path: Path) -> None:
    def make(stack: cdk.Stack) -> None:
        for environment in ("dev", "production"):
            SecretsManagerConstruct(stack, environment, environment=environment)

    shop = build(tmp_path, make)
    keys = {
        (secret["Name"].split("-")[1], shop.find(secret.stack, secret["KmsKeyId"]).id)  # type: ignore[union-attr]
        for secret in shop.all("AWS::SecretsManager::Secret")
    }
    assert len(keys) == len({environment for environment, _ in keys}) == 2
    roles = {shop.find(each.stack, each["Role"]).id for each in shop.all("AWS::Lambda::Function")}  # type: ignore[union-attr]
    assert len(roles) == 2


def test_a_zip_that_is_not_there_says_what_makes_it(tmp_path: Path) -> None:
    stack = cdk.Stack(cdk.App(outdir=str(tmp_path / "out"), analytics_reporting=False), "Shop")
    with pytest.raises(MissingArtefact, match=r"function\.zip is not there: make lambda ARGS="):
        find_code(stack, tmp_path / "function.zip")


def test_a_zip_without_rds_s_certificates_is_refused(tmp_path: Path) -> None:
    stack = cdk.Stack(cdk.App(outdir=str(tmp_path / "out"), analytics_reporting=False), "Shop")
    place = tmp_path / "function.zip"
    with zipfile.ZipFile(place, "w") as made:
        made.writestr("tegata_credentials/__init__.py", "")
    with pytest.raises(MissingArtefact, match="certificates of RDS"):
        find_code(stack, place)
    with zipfile.ZipFile(place, "a") as made:
        made.writestr(CERTIFICATES, "")
    assert find_code(stack, place)
