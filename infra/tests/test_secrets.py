"""The secrets of seeds 001 and 004: names, values, key, copies, rotation, the function and who may call it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from .templates import Assembly, Resource

SEED_004 = ("database", "jwt", "external-apis")
ENVIRONMENTS = ("dev", "staging", "production")
BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# What GetRandomPassword makes passwords of (AWS Secrets Manager API Reference).
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def secret_of(assembly: Assembly, name: str) -> Resource:
    return assembly.one("AWS::SecretsManager::Secret", Name=name)


def scheduled(assembly: Assembly) -> dict[str, Resource]:
    """The schedules, by the names of their secrets."""
    found = {}
    for schedule in assembly.all("AWS::SecretsManager::RotationSchedule"):
        secret = assembly.find(schedule.stack, schedule["SecretId"])
        assert secret is not None
        found[secret["Name"]] = schedule
    return found


def function_of(assembly: Assembly, environment: str = "production") -> Resource:
    return assembly.one("AWS::Lambda::Function", FunctionName=f"tegata-{environment}-rotation")


@pytest.mark.parametrize("word", SEED_004)
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_secret_of_seed_004(read_assembly: Any, environment: str, word: str) -> None:
    secret = secret_of(read_assembly("idp", environment), f"tegata-{environment}-secret-{word}")
    assert secret.tags["Environment"] == environment
    assert secret["KmsKeyId"]


@pytest.mark.parametrize("name", ["idp-server/api-credentials", "idp-server/db-credentials"])
def test_a_secret_of_seed_001(idp: Assembly, name: str) -> None:
    assert secret_of(idp, name).tags["Environment"] == "production"


def test_the_keys_begin_as_a_ring_that_the_first_rotation_fills(idp: Assembly) -> None:
    value = json.loads(secret_of(idp, "tegata-production-secret-jwt")["SecretString"])
    assert value == {"algorithm": "ES256", "issuer": "tegata-production", "expiresIn": "1h"}


def test_with_iam_there_is_no_password_of_the_application(idp: Assembly) -> None:
    secret = secret_of(idp, "tegata-production-secret-database")
    value = json.loads(secret["SecretString"])
    assert value == {"username": "tegata_app", "dbname": "idpserver", "authentication": "iam"}
    attachment = idp.one("AWS::SecretsManager::SecretTargetAttachment", SecretId={"Ref": secret.id})
    database = idp.find(attachment.stack, attachment["TargetId"])
    assert attachment["TargetType"] == "AWS::RDS::DBInstance"
    assert database is not None
    assert database.type == "AWS::RDS::DBInstance"


def test_other_services_credentials_begin_empty_for_settings_are_no_secrets(idp: Assembly) -> None:
    assert secret_of(idp, "tegata-production-secret-external-apis")["SecretString"] == "{}"


@pytest.mark.parametrize(
    ("name", "member"),
    [("idp-server/api-credentials", "encryption_key"), ("idp-server/api-client-credentials", "api_secret")],
)
def test_what_seed_001_has_somebody_make_up_is_generated(idp: Assembly, name: str, member: str) -> None:
    generated = secret_of(idp, name)["GenerateSecretString"]
    assert json.loads(generated["SecretStringTemplate"]) == {"api_key": "idp-server"}
    assert generated["GenerateStringKey"] == member


def test_what_is_generated_is_base64url_of_32_bytes(idp: Assembly) -> None:
    generated = secret_of(idp, "idp-server/api-credentials")["GenerateSecretString"]
    letters = "".join(character for character in BASE64URL if character.isalnum())
    alphabet = set(letters + PUNCTUATION) - set(generated["ExcludeCharacters"])
    assert alphabet == set(BASE64URL)
    assert generated["PasswordLength"] == 43
    assert generated.get("IncludeSpace") in (None, False)


def test_the_key_is_one_of_its_own_that_is_replaced_each_year(each: Assembly) -> None:
    for secret in each.all("AWS::SecretsManager::Secret"):
        key = each.find(secret.stack, secret["KmsKeyId"])
        assert key is not None
        assert key.type == "AWS::KMS::Key"
        assert key["EnableKeyRotation"] is True


def test_the_secrets_have_a_key_of_their_environment(idp: Assembly) -> None:
    aliases = [each for each in idp.all("AWS::KMS::Alias") if each["AliasName"] == "alias/idp-server-secrets-key"]
    own = [idp.find(each.stack, each["TargetKeyId"]) for each in aliases if each.stack.endswith("-Secrets")]
    for word in SEED_004:
        secret = secret_of(idp, f"tegata-production-secret-{word}")
        assert [idp.find(secret.stack, secret["KmsKeyId"])] == own


@pytest.mark.parametrize(("environment", "prefix"), [("production", "idp-server"), ("staging", "idp-server-staging")])
def test_copies_are_in_the_second_region_under_a_key_there(read_assembly: Any, environment: str, prefix: str) -> None:
    assembly = read_assembly("idp", environment)
    alias = f"alias/{prefix}-secrets-copies-key"
    for secret in assembly.all("AWS::SecretsManager::Secret"):
        if secret.stack.endswith("-Secrets"):
            assert secret["ReplicaRegions"] == [{"Region": "ap-northeast-3", "KmsKeyId": alias}]
    there = f"Tegata-{environment}-SecretsReplica"
    assert [each["AliasName"] for each in assembly.all("AWS::KMS::Alias") if each.stack == there] == [alias]
    artifacts = json.loads((assembly.directory / "manifest.json").read_text())["artifacts"]
    assert artifacts[there]["environment"].endswith("/ap-northeast-3")
    assert there in artifacts[f"Tegata-{environment}-Secrets"]["dependencies"]


def test_dev_has_no_copies(read_assembly: Any) -> None:
    dev = read_assembly("idp", "dev")
    assert not [secret for secret in dev.all("AWS::SecretsManager::Secret") if secret.get("ReplicaRegions")]
    assert "Tegata-dev-SecretsReplica" not in dev.templates


def test_production_s_secrets_outlive_their_stack(idp: Assembly) -> None:
    for secret in idp.all("AWS::SecretsManager::Secret"):
        if secret.stack.endswith("-Secrets"):
            # What a first deployment made that failed goes, or its name stays taken.
            assert secret.body["DeletionPolicy"] == "RetainExceptOnCreate"
            assert secret.body["UpdateReplacePolicy"] == "Retain"


def test_first_values_refer_to_nothing_that_may_change(each: Assembly) -> None:
    """A change of them in a template overwrites what rotations and people have put there since."""
    for secret in each.all("AWS::SecretsManager::Secret"):
        generated = secret.get("GenerateSecretString", {})
        assert isinstance(secret.get("SecretString", ""), str)
        assert isinstance(generated.get("SecretStringTemplate", ""), str)


ROTATED = {
    "tegata-production-secret-jwt": (90, True),
    "idp-server/db-credentials": (30, False),
}


def test_the_keys_and_the_administrator_s_login_are_rotated(idp: Assembly) -> None:
    found = {
        name: (schedule["RotationRules"]["AutomaticallyAfterDays"], schedule["RotateImmediatelyOnUpdate"])
        for name, schedule in scheduled(idp).items()
    }
    assert found == ROTATED


def test_each_schedule_calls_the_function_once_it_may_be_called_and_has_its_rights(idp: Assembly) -> None:
    for schedule in scheduled(idp).values():
        assert idp.find(schedule.stack, schedule["RotationLambdaARN"]) == function_of(idp)
        before = {idp.find(schedule.stack, {"Ref": name}).type for name in schedule.body["DependsOn"]}  # type: ignore[union-attr]
        assert before >= {"AWS::Lambda::Permission", "AWS::IAM::Policy"}


def test_the_function_is_the_kit_s_in_the_network_once_for_each_secret(idp: Assembly) -> None:
    function = function_of(idp)
    assert (function["Runtime"], function["Architectures"], function["Handler"]) == (
        "python3.13",
        ["arm64"],
        "tegata_credentials.rotation.lambda_function.handler",
    )
    assert function["ReservedConcurrentExecutions"] == len(scheduled(idp)) >= 2
    assert 60 <= function["Timeout"] <= 900
    assert function["TracingConfig"] == {"Mode": "Active"}
    assert function["Code"] == {"S3Bucket": {"Ref": "CodeBucket"}, "S3Key": {"Ref": "CodeKey"}}
    assert {"CodeBucket", "CodeKey"} <= set(idp.templates["Tegata-production-Secrets"]["Parameters"])
    network = function["VpcConfig"]
    subnets = [idp.find(function.stack, value) for value in network["SubnetIds"]]
    assert {subnet.tags["Type"] for subnet in subnets if subnet} == {"private-app"}
    groups = [idp.find(function.stack, value) for value in network["SecurityGroupIds"]]
    assert [group["GroupName"] for group in groups if group] == ["idp-server-rotation-sg"]


def test_the_function_knows_what_it_may_rotate_and_no_secret(idp: Assembly) -> None:
    variables = function_of(idp)["Environment"]["Variables"]
    assert set(variables) == {"TEGATA_ROTATION"}
    plans = {plan.pop("secret"): plan for plan in json.loads(variables["TEGATA_ROTATION"])}
    assert plans == {
        "tegata-production-secret-jwt": {"strategy": "signing-keys", "algorithm": "ES256", "jwks_age": "5m"},
        "idp-server/db-credentials": {"strategy": "single-user", "administrator": "idp-server/db-credentials"},
    }
    assert set(plans) == set(scheduled(idp))


def test_its_log_is_kept_for_a_while_under_a_key(idp: Assembly) -> None:
    function = function_of(idp)
    log = idp.find(function.stack, function["LoggingConfig"]["LogGroup"])
    assert log is not None
    assert (log["LogGroupName"], log["RetentionInDays"]) == ("/aws/lambda/tegata-production-rotation", 30)
    assert log["KmsKeyId"]


def test_secrets_manager_calls_it_for_these_secrets_of_this_account(idp: Assembly) -> None:
    function = function_of(idp)
    permissions = [
        each for each in idp.all("AWS::Lambda::Permission") if idp.find(each.stack, each["FunctionName"]) == function
    ]
    named = [idp.find(each.stack, each["SourceArn"]) for each in permissions]
    assert {secret["Name"] for secret in named if secret} == set(ROTATED)
    for each in permissions:
        assert each["Principal"] == "secretsmanager.amazonaws.com"
        assert each["Action"] == "lambda:InvokeFunction"
        assert each["SourceAccount"] == {"Ref": "AWS::AccountId"}


def test_the_function_s_code_does_nothing_with_the_network(idp: Assembly) -> None:
    policy = next(
        each for each in idp.all("AWS::IAM::Policy", PolicyName="surroundings") if each.stack.endswith("-Secrets")
    )
    statements = {statement["Sid"]: statement for statement in policy["PolicyDocument"]["Statement"]}
    allowed, denied = statements["ConnectToNetwork"], statements["NotByItsCode"]
    assert (allowed["Effect"], denied["Effect"]) == ("Allow", "Deny")
    assert allowed["Action"] == denied["Action"]
    assert set(denied["Condition"]["ArnEquals"]) == {"lambda:SourceFunctionArn"}


def test_each_secret_has_a_policy_that_only_denies_and_can_never_be_public(each: Assembly) -> None:
    secrets = {secret.id for secret in each.all("AWS::SecretsManager::Secret")}
    protected = set()
    for policy in each.all("AWS::SecretsManager::ResourcePolicy"):
        assert policy["BlockPublicPolicy"] is True
        statements = policy["ResourcePolicy"]["Statement"]
        assert {statement["Effect"] for statement in statements} == {"Deny"}
        dev = each.directory.name.endswith("-dev")
        assert {statement["Sid"] for statement in statements} == {
            "KeepOtherEnvironmentsOut",
            "KeepOtherAccountsOut",
            "EncryptedConnectionsOnly",
            *([] if dev else ["NoDeletionWithoutRecovery"]),
        }
        secret = each.find(policy.stack, policy["SecretId"])
        assert secret is not None
        assert policy.body["DeletionPolicy"] == secret.body["DeletionPolicy"]
        protected.add(secret.id)
    assert protected == secrets


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_key_is_denied_to_other_environments(read_assembly: Any, environment: str) -> None:
    assembly = read_assembly("idp", environment)
    keys = [key for key in assembly.all("AWS::KMS::Key") if re.search(r"-Secrets(Replica)?$", key.stack)]
    assert keys
    for key in keys:
        denial = next(each for each in key["KeyPolicy"]["Statement"] if each["Effect"] == "Deny")
        assert denial["Condition"] == {
            "Null": {"aws:PrincipalTag/Environment": "false"},
            "StringNotEquals": {"aws:PrincipalTag/Environment": environment},
        }


def test_every_role_says_to_which_environment_it_belongs(each: Assembly) -> None:
    environment = each.directory.name.rpartition("-")[2]
    for role in each.all("AWS::IAM::Role"):
        assert role.tags["Environment"] == environment, role.id
