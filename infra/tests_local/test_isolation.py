"""No environment reads another's secrets, and nobody more than is needed: all environments in one account, judged.

The documents are those of the committed templates; the judge is ours, see `policy_judge`: what it does not know it
refuses, and what AWS itself would say is not known here. `test_isolation_enforced.py` asks somebody else's evaluator.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from deployed import ACCOUNT, REGION, Deployed, Resource, environments
from policy_judge import Principal, is_allowed

from tegata_credentials.policies import Place, reader_policy, rotation_policy

PLACE = Place(REGION, ACCOUNT)
VIA = f"secretsmanager.{REGION}.amazonaws.com"
NAMES = list(environments())
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
CALLS = ("DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage", "UpdateSecret")
MORE_CALLS = ("DeleteSecret", "RotateSecret", "PutResourcePolicy", "DeleteResourcePolicy", "CancelRotateSecret")


class Environment:
    """One environment: its secrets with their policies and keys, and its roles with theirs."""

    def __init__(self, deployed: Deployed) -> None:
        self.deployed = deployed
        self.secrets = {each.properties["Name"]: each for each in deployed.all("AWS::SecretsManager::Secret")}
        self.attached = {
            each.properties["SecretId"]: each.properties["ResourcePolicy"]
            for each in deployed.all("AWS::SecretsManager::ResourcePolicy")
        }
        self._keys = {
            deployed.resolve(each.stack, {"Fn::GetAtt": [each.id, "Arn"]}): each.properties["KeyPolicy"]
            for each in deployed.all("AWS::KMS::Key")
        }
        policies = deployed.all("AWS::IAM::Policy")
        self.roles = {
            f"{role.stack}-{role.id}": self._principal(role, policies) for role in deployed.all("AWS::IAM::Role")
        }

    def _principal(self, role: Resource, policies: list[Resource]) -> Principal:
        name = f"{role.stack}-{role.id}"
        documents = [each["PolicyDocument"] for each in role.properties.get("Policies", [])]
        documents += [each.properties["PolicyDocument"] for each in policies if name in each.properties["Roles"]]
        return Principal(f"arn:aws:iam::{ACCOUNT}:role/{name}", ACCOUNT, role.tags, documents)

    def arn(self, secret: str) -> str:
        return self.deployed.arn_of_secret(secret)

    def may(self, principal: Principal, call: str, secret: str, **context: str) -> bool:
        """Whether a call of Secrets Manager is allowed, and the use of the key that it needs."""
        arn, key = self.arn(secret), self.secrets[secret].properties["KmsKeyId"]
        attached = self.attached.get(arn)
        if not is_allowed(principal, f"secretsmanager:{call}", arn, attached=attached, **context):
            return False
        uses = {"GetSecretValue": ("Decrypt",), "PutSecretValue": ("GenerateDataKey",)}.get(call, ())
        about = {"kms__ViaService": VIA, "kms__EncryptionContext:SecretARN": arn}
        policy = self._keys[key]
        return all(
            is_allowed(principal, f"kms:{use}", key, attached=policy, delegates=True, **about, **context)
            for use in uses
        )

    def readable(self, principal: Principal, **context: str) -> set[str]:
        return {name for name in self.secrets if self.may(principal, "GetSecretValue", name, **context)}


@pytest.fixture(scope="module")
def account() -> Mapping[str, Environment]:
    return {name: Environment(Deployed.read(name)) for name in NAMES}


def own_function(environment: str) -> dict[str, str]:
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:tegata-{environment}-rotation"
    return {"secretsmanager__resource_AllowRotationLambdaArn": arn}


def prefix(environment: str) -> str:
    return "idp-server" if environment == "production" else f"idp-server-{environment}"


def rotation_role(environment: Environment) -> Principal:
    found = [role for name, role in environment.roles.items() if "-Secrets-RotationRole" in name]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("reader", NAMES)
@pytest.mark.parametrize("owner", NAMES)
def test_a_role_reads_secrets_of_its_own_environment_alone(
    account: Mapping[str, Environment], reader: str, owner: str
) -> None:
    found = {
        name: account[owner].readable(role, **own_function(reader)) for name, role in account[reader].roles.items()
    }
    if reader != owner:
        assert not any(found.values()), found
    else:
        assert any(found.values())


@pytest.mark.parametrize("reader", NAMES)
@pytest.mark.parametrize("owner", NAMES)
def test_another_environment_s_role_is_kept_out_whatever_somebody_grants_it(
    account: Mapping[str, Environment], reader: str, owner: str
) -> None:
    for name, role in account[reader].roles.items():
        assert role.tags["Environment"] == reader, name
        mighty = Principal(role.arn, role.account, role.tags, [EVERYTHING])
        for secret in account[owner].secrets:
            for call in (*CALLS, *MORE_CALLS):
                assert account[owner].may(mighty, call, secret) == (reader == owner), (name, call, secret)


@pytest.mark.parametrize("name", NAMES)
def test_administrators_and_cloudformation_are_not_locked_out(account: Mapping[str, Environment], name: str) -> None:
    for who in ("role/Administrator", "role/cloudformation", "root"):
        principal = Principal(f"arn:aws:iam::{ACCOUNT}:{who}", ACCOUNT, {}, [EVERYTHING])
        for secret in account[name].secrets:
            assert all(account[name].may(principal, call, secret) for call in (*CALLS, *MORE_CALLS))


@pytest.mark.parametrize("name", NAMES)
def test_another_account_is_kept_out_even_if_somebody_lets_it_in(account: Mapping[str, Environment], name: str) -> None:
    environment = account[name]
    stranger = Principal("arn:aws:iam::210987654321:role/any", "210987654321", {}, [EVERYTHING])
    tagged = Principal(stranger.arn, stranger.account, {"Environment": name}, [EVERYTHING])
    let_in = {"Effect": "Allow", "Action": "secretsmanager:*", "Resource": "*", "Principal": "*"}
    for secret in environment.secrets:
        arn = environment.arn(secret)
        attached = environment.attached[arn]
        opened = {**attached, "Statement": [*attached["Statement"], let_in]}
        for who in (stranger, tagged):
            assert not is_allowed(who, "secretsmanager:GetSecretValue", arn, attached=attached)
            assert not is_allowed(who, "secretsmanager:GetSecretValue", arn, attached=opened)
        assert is_allowed(stranger, "secretsmanager:GetSecretValue", arn, attached={"Statement": [let_in]})


@pytest.mark.parametrize(("name", "may"), [("production", False), ("staging", False), ("dev", True)])
def test_nobody_deletes_a_secret_at_once_that_is_to_outlive_its_stack(
    account: Mapping[str, Environment], name: str, may: bool
) -> None:
    root = Principal(f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT, {}, [EVERYTHING])
    for secret in account[name].secrets:
        at_once = {"secretsmanager__ForceDeleteWithoutRecovery": "true"}
        assert account[name].may(root, "DeleteSecret", secret, **at_once) == may
        assert account[name].may(root, "DeleteSecret", secret)


@pytest.mark.parametrize("name", NAMES)
def test_the_rotation_changes_what_is_scheduled_and_touches_nothing_else(
    account: Mapping[str, Environment], name: str
) -> None:
    environment, role = account[name], rotation_role(account[name])
    scheduled = {f"{prefix(name)}/db-credentials", f"tegata-{name}-secret-jwt"}
    for secret in environment.secrets:
        allowed = {call for call in CALLS if environment.may(role, call, secret, **own_function(name))}
        wanted = {"DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"}
        assert allowed == (wanted if secret in scheduled else set()), secret
        # Not even these, while another function is down as the secret's own.
        assert not any(environment.may(role, call, secret) for call in CALLS)
        assert not any(environment.may(role, call, secret, **own_function(name)) for call in MORE_CALLS)


@pytest.mark.parametrize("name", NAMES)
def test_whoever_reads_a_secret_changes_none(account: Mapping[str, Environment], name: str) -> None:
    environment = account[name]
    rotation = rotation_role(environment)
    for role in environment.roles.values():
        for secret in environment.secrets if role is not rotation else ():
            changes = {*CALLS, *MORE_CALLS} - {"GetSecretValue", "DescribeSecret"}
            assert not [call for call in changes if environment.may(role, call, secret)], role.arn


@pytest.mark.parametrize("name", NAMES)
def test_the_master_key_is_read_by_servers_and_worker_and_the_administrator_s_login_by_the_bootstrap(
    account: Mapping[str, Environment], name: str
) -> None:
    environment = account[name]
    found: dict[str, set[str]] = {}
    for role_name, role in environment.roles.items():
        for secret in environment.readable(role, **own_function(name)):
            found.setdefault(secret, set()).add(role_name.rpartition("-")[2].partition("Role")[0])
    assert found == {
        f"{prefix(name)}/api-credentials": {"Server", "Worker"},
        f"{prefix(name)}/db-credentials": {"BootstrapExecution", "Rotation"},
        f"tegata-{name}-secret-jwt": {"Rotation"},
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_function_is_called_for_this_account_s_secrets_alone(account: Mapping[str, Environment], name: str) -> None:
    deployed = account[name].deployed
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:tegata-{name}-rotation"
    permissions = [
        each.properties
        for each in deployed.all("AWS::Lambda::Permission")
        if each.properties["FunctionName"] == f"tegata-{name}-rotation"
    ]
    attached = {"Statement": [as_statement(each, function) for each in permissions]}
    service = Principal("secretsmanager.amazonaws.com")
    rotated = [each.properties["SecretId"] for each in deployed.all("AWS::SecretsManager::RotationSchedule")]
    assert len(permissions) == len(rotated) == 2

    def may_call(account: str, secret: str) -> bool:
        about = {"aws__SourceAccount": account, "aws__SourceArn": secret}
        known = {key.replace("__", ":"): value for key, value in about.items()}
        return is_allowed(service, "lambda:InvokeFunction", function, attached=attached, **known)

    assert all(may_call(ACCOUNT, secret) for secret in rotated)
    assert not any(may_call("210987654321", secret) for secret in rotated)
    foreign = f"arn:aws:secretsmanager:{REGION}:210987654321:secret:tegata-{name}-secret-jwt-AbCdEf"
    assert not may_call("210987654321", foreign)
    assert not may_call(ACCOUNT, deployed.arn_of_secret(f"tegata-{name}-secret-external-apis"))
    stranger = Principal("arn:aws:iam::210987654321:role/any", "210987654321", {}, [EVERYTHING])
    assert not is_allowed(stranger, "lambda:InvokeFunction", function, attached=attached)


def as_statement(permission: Mapping[str, Any], function: str) -> dict[str, Any]:
    """Return what Lambda makes of a permission (AWS Lambda API Reference, AddPermission)."""
    return {
        "Effect": "Allow",
        "Principal": {"Service": permission["Principal"]},
        "Action": permission["Action"],
        "Resource": function,
        "Condition": {
            "StringEquals": {"aws:SourceAccount": permission["SourceAccount"]},
            "ArnLike": {"aws:SourceArn": permission["SourceArn"]},
        },
    }


def normal(document: Any) -> Any:
    """Return a document with single values as lists, as IAM reads them, and lists sorted."""
    if isinstance(document, dict):
        listed = ("Action", "Resource", "StringEquals", "StringLike")
        return {
            key: sorted(json.dumps(normal(each)) for each in (value if isinstance(value, list) else [value]))
            if key in listed or not isinstance(value, dict | list)
            else normal(value)
            for key, value in document.items()
        }
    return [normal(each) for each in document] if isinstance(document, list) else document


@pytest.mark.parametrize("name", NAMES)
def test_the_rotation_s_rights_are_those_that_the_kit_prints(account: Mapping[str, Environment], name: str) -> None:
    environment = account[name]
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:tegata-{name}-rotation"
    found = {
        each.properties["PolicyName"]: each.properties["PolicyDocument"]
        for each in environment.deployed.all("AWS::IAM::Policy")
        if each.stack == f"Tegata-{name}-Secrets" and each.properties["PolicyName"].startswith("rotate-")
    }
    expected = {}
    for policy, secret in (
        ("rotate-db-credentials", f"{prefix(name)}/db-credentials"),
        (f"rotate-tegata-{name}-secret-jwt", f"tegata-{name}-secret-jwt"),
    ):
        key = environment.secrets[secret].properties["KmsKeyId"]
        expected[policy] = rotation_policy(environment.arn(secret), place=PLACE, function_arn=function, kms_key=key)
    assert normal(found) == normal(expected)


def test_with_an_administrator_s_secret_too() -> None:
    environment = Environment(Deployed.read_with_passwords())
    policies = {each.properties["PolicyName"]: each.properties for each in environment.deployed.all("AWS::IAM::Policy")}
    database, rotator = (f"tegata-production-secret-{word}" for word in ("database", "rotator"))
    expected = rotation_policy(
        environment.arn(database),
        place=PLACE,
        function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:tegata-production-rotation",
        administrator=environment.arn(rotator),
        kms_key=environment.secrets[database].properties["KmsKeyId"],
    )
    assert normal(policies[f"rotate-{database}"]["PolicyDocument"]) == normal(expected)
    role = rotation_role(environment)
    assert environment.may(role, "GetSecretValue", rotator)
    assert not environment.may(role, "PutSecretValue", rotator, **own_function("production"))


@pytest.mark.parametrize("name", NAMES)
def test_readers_rights_are_those_that_the_kit_prints(account: Mapping[str, Environment], name: str) -> None:
    environment = account[name]
    secret = f"{prefix(name)}/api-credentials"
    expected = reader_policy(
        [environment.arn(secret)], place=PLACE, kms_key=environment.secrets[secret].properties["KmsKeyId"]
    )
    found = [
        each.properties["PolicyDocument"]
        for each in environment.deployed.all("AWS::IAM::Policy")
        if each.properties["PolicyName"] == "read-secrets"
        and environment.arn(secret) in json.dumps(each.properties["PolicyDocument"])
    ]
    assert found
    assert all(normal(each) == normal(expected) for each in found)


class TestTheJudge:
    SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:s-AbCdEf"
    ROLE = Principal(f"arn:aws:iam::{ACCOUNT}:role/r", ACCOUNT, {}, [EVERYTHING])

    def verdict(self, principal: Principal, *statements: dict[str, Any], delegates: bool = False) -> bool:
        attached = {"Statement": list(statements)}
        return is_allowed(principal, "s:Get", self.SECRET, attached=attached, delegates=delegates)

    def statement(self, effect: str, who: Any = "*", **condition: Any) -> dict[str, Any]:
        return {"Effect": effect, "Principal": who, "Action": "s:*", "Resource": "*", "Condition": condition}

    def test_nothing_is_allowed_by_itself_and_a_denial_wins(self) -> None:
        nobody = Principal(self.ROLE.arn, ACCOUNT)
        assert not self.verdict(nobody)
        assert self.verdict(nobody, self.statement("Allow", {"AWS": nobody.arn}))
        assert self.verdict(self.ROLE)
        assert not self.verdict(self.ROLE, self.statement("Allow"), self.statement("Deny"))

    def test_a_key_s_policy_has_to_let_the_account_s_policies_count(self) -> None:
        account = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
        assert not self.verdict(self.ROLE, delegates=True)
        assert self.verdict(self.ROLE, self.statement("Allow", account), delegates=True)
        assert not self.verdict(Principal(self.ROLE.arn, ACCOUNT), self.statement("Allow", account), delegates=True)

    def test_a_key_that_is_not_there_differs_from_everything(self) -> None:
        assert not self.verdict(self.ROLE, self.statement("Deny", StringNotEquals={"aws:PrincipalTag/T": "x"}))
        absent = self.statement("Deny", Null={"aws:PrincipalTag/T": "false"})
        assert self.verdict(self.ROLE, absent)

    def test_what_it_does_not_know_it_does_not_judge(self) -> None:
        with pytest.raises(NotImplementedError):
            self.verdict(self.ROLE, self.statement("Deny", DateLessThan={"aws:CurrentTime": "2026"}))
        with pytest.raises(NotImplementedError):
            self.verdict(self.ROLE, self.statement("Deny") | {"NotAction": "s:Put"})
