"""The policies, evaluated by the rules of "Policy evaluation logic" in the IAM User Guide: no allow is a denial.

The evaluator knows what the policies use, and refuses to judge what it does not know. `test_isolation.py` asks somebody
else's evaluator.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegata_credentials.policies import Place, Policy, invocation_policy, reader_policy, rotation_policy

PLACE = Place("eu-west-1", "123456789012")
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:rotation"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/6f1c2a54-0000-4000-8000-000000000000"
ACTIONS = [
    *("BatchGetSecretValue", "CancelRotateSecret", "CreateSecret", "DeleteResourcePolicy", "DeleteSecret"),
    *("DescribeSecret", "GetRandomPassword", "GetResourcePolicy", "GetSecretValue", "ListSecretVersionIds"),
    *("ListSecrets", "PutResourcePolicy", "PutSecretValue", "ReplicateSecretToRegions", "RestoreSecret"),
    *("RotateSecret", "TagResource", "UntagResource", "UpdateSecret", "UpdateSecretVersionStage"),
]
NAMES = st.text(string.ascii_letters + string.digits + "/_+=.@-", min_size=1, max_size=30)


def arn(name: str, place: Place = PLACE, end: str = "AbC123") -> str:
    return f"arn:{place.partition}:secretsmanager:{place.region}:{place.account}:secret:{name}-{end}"


def allows(policy: Policy, action: str, resource: str, **context: str) -> bool:
    """Say whether the policy allows it; keys of `context` have `__` for the colon and `_` for the slash."""
    effects = [
        statement["Effect"]
        for statement in policy["Statement"]
        if _any_like(statement["Action"], action, ignore_case=True)
        and _any_like(statement["Resource"], resource)
        and _holds(statement.get("Condition", {}), {_key(name): value for name, value in context.items()})
    ]
    return "Allow" in effects and "Deny" not in effects


def _key(name: str) -> str:
    return name.replace("__", ":").replace("_", "/")


def _any_like(patterns: Any, value: str, *, ignore_case: bool = False) -> bool:
    listed = [patterns] if isinstance(patterns, str) else patterns
    return any(_like(pattern, value, ignore_case) for pattern in listed)


def _like(pattern: str, value: str, ignore_case: bool = False) -> bool:
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, value, re.DOTALL | (re.IGNORECASE if ignore_case else 0)) is not None


def _holds(condition: Mapping[str, Mapping[str, Any]], context: Mapping[str, str]) -> bool:
    for operator, wanted in condition.items():
        for key, values in wanted.items():
            listed = [values] if isinstance(values, str) else values
            match operator:
                case "StringEquals" | "ForAnyValue:StringEquals":
                    holds = context.get(key) in listed
                case "StringLike":
                    holds = key in context and any(_like(value, context[key]) for value in listed)
                case _:
                    raise NotImplementedError(operator)
            if not holds:
                return False
    return True


class TestTheEvaluator:
    def statement(self, effect: str, action: str, resource: str = "*", **more: Any) -> dict[str, Any]:
        return {"Effect": effect, "Action": action, "Resource": resource, **more}

    def test_nothing_is_allowed_by_itself_and_a_denial_wins(self) -> None:
        allow, deny = self.statement("Allow", "s:*"), self.statement("Deny", "s:Get*", "arn:prod-*")
        assert not allows({"Statement": []}, "s:Get", "arn:dev-1")
        assert allows({"Statement": [allow, deny]}, "s:GetIt", "arn:dev-1")
        assert not allows({"Statement": [allow, deny]}, "s:GetIt", "arn:prod-1")
        assert not allows({"Statement": [deny, allow]}, "S:getit", "arn:prod-1")

    def test_a_condition_on_a_missing_key_does_not_hold(self) -> None:
        only = self.statement("Allow", "s:Get", Condition={"StringEquals": {"aws:Colour": "blue"}})
        assert allows({"Statement": [only]}, "s:Get", "x", aws__Colour="blue")
        assert not allows({"Statement": [only]}, "s:Get", "x")

    def test_what_it_does_not_know_it_does_not_judge(self) -> None:
        unknown = self.statement("Allow", "s:Get", Condition={"DateLessThan": {"aws:CurrentTime": "2026"}})
        with pytest.raises(NotImplementedError):
            allows({"Statement": [unknown]}, "s:Get", "x")


class TestReaders:
    DEV, PROD = arn("acme-dev-secret-database"), arn("acme-prod-secret-database")

    @pytest.fixture
    def policy(self) -> Policy:
        return reader_policy(["acme-dev-secret-database", "acme-dev-secret-jwt"], place=PLACE)

    def test_the_dev_role_reads_dev_s_secret_and_not_prod_s(self, policy: Policy) -> None:
        assert allows(policy, "secretsmanager:GetSecretValue", self.DEV)
        assert not allows(policy, "secretsmanager:GetSecretValue", self.PROD)

    def test_it_does_nothing_else_with_any_secret(self, policy: Policy) -> None:
        for name in ("acme-dev-secret-database", "acme-prod-secret-database"):
            granted = {action for action in ACTIONS if allows(policy, f"secretsmanager:{action}", arn(name))}
            assert granted <= {"GetSecretValue", "BatchGetSecretValue"}

    @pytest.mark.parametrize(
        "elsewhere",
        [
            Place("eu-central-1", "123456789012"),
            Place("eu-west-1", "210987654321"),
            Place("eu-west-1", "1" * 12, "aws-cn"),
        ],
    )
    def test_another_region_account_or_partition_is_not_meant(self, policy: Policy, elsewhere: Place) -> None:
        assert not allows(policy, "secretsmanager:GetSecretValue", arn("acme-dev-secret-database", elsewhere))

    @given(name=NAMES, other=NAMES, end=st.text(string.ascii_letters + string.digits, min_size=6, max_size=6))
    def test_a_name_means_the_secret_of_exactly_this_name(self, name: str, other: str, end: str) -> None:
        policy = reader_policy([name], place=PLACE)
        assert allows(policy, "secretsmanager:GetSecretValue", arn(name, end=end))
        for similar in {other, name + other, name + "-" + other, other + name, name[:-1]} - {name}:
            assert not allows(policy, "secretsmanager:GetSecretValue", arn(similar, end=end))

    def test_an_arn_stays_as_it_is(self) -> None:
        policy = reader_policy([self.DEV], place=PLACE)
        assert allows(policy, "secretsmanager:GetSecretValue", self.DEV)
        assert not allows(policy, "secretsmanager:GetSecretValue", arn("acme-dev-secret-database", end="ZZZ999"))

    @pytest.mark.parametrize(
        "name", ["acme-*", "acme-dev-secret-?", "", "a b", "${aws:username}", "arn:aws:s3:::b", "é"]
    )
    def test_a_wildcard_is_no_name(self, name: str) -> None:
        with pytest.raises(ValueError, match="no name of a secret"):
            reader_policy([name], place=PLACE)

    def test_a_policy_for_nothing_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no secret"):
            reader_policy([], place=PLACE)

    def test_one_name_is_one_secret(self) -> None:
        assert reader_policy("jwt", place=PLACE) == reader_policy(["jwt"], place=PLACE)

    @pytest.mark.parametrize("wrong", [("EU", "123456789012"), ("eu-west-1", "12"), ("eu-west-1", "1" * 12, "azure")])
    def test_a_place_is_one_of_aws_s(self, wrong: tuple[str, ...]) -> None:
        with pytest.raises(ValueError, match="AWS"):
            Place(*wrong)

    def test_only_the_labels_that_are_allowed_can_be_asked_for(self) -> None:
        policy = reader_policy(["acme-dev-secret-database"], place=PLACE, stages=["AWSCURRENT", "AWSPENDING"])
        for stage, expected in [("AWSCURRENT", True), ("AWSPENDING", True), ("AWSPREVIOUS", False)]:
            assert expected == allows(
                policy, "secretsmanager:GetSecretValue", self.DEV, secretsmanager__VersionStage=stage
            )
        assert not allows(policy, "secretsmanager:GetSecretValue", self.DEV)
        assert not allows(policy, "secretsmanager:BatchGetSecretValue", "*")

    def test_the_key_decrypts_these_secrets_only_and_only_for_secrets_manager(self) -> None:
        policy = reader_policy(["acme-dev-secret-database"], place=PLACE, kms_key=KEY)
        for via, secret, expected in [
            ("secretsmanager.eu-west-1.amazonaws.com", self.DEV, True),
            ("secretsmanager.eu-west-1.amazonaws.com", self.PROD, False),
            ("s3.eu-west-1.amazonaws.com", self.DEV, False),
        ]:
            context = {"kms__ViaService": via, "kms__EncryptionContext:SecretARN": secret}
            assert expected == allows(policy, "kms:Decrypt", KEY, **context)
            assert not allows(policy, "kms:GenerateDataKey", KEY, **context)
        assert not allows(policy, "kms:Decrypt", KEY)

    def test_in_china_secrets_manager_has_another_host_name(self) -> None:
        policy = reader_policy(["s"], place=Place("cn-north-1", "123456789012", "aws-cn"), kms_key=KEY)
        assert "secretsmanager.cn-north-1.amazonaws.com.cn" in json.dumps(policy)


class TestRotation:
    OWN, OTHER, ADMINISTRATOR = arn("acme-dev-database"), arn("acme-dev-jwt"), arn("acme-dev-administrator")

    @pytest.fixture
    def policy(self) -> Policy:
        return rotation_policy(
            "acme-dev-database", place=PLACE, function_arn=FUNCTION, administrator="acme-dev-administrator", kms_key=KEY
        )

    def granted(self, policy: Policy, secret: str, **context: str) -> set[str]:
        return {action for action in ACTIONS if allows(policy, f"secretsmanager:{action}", secret, **context)}

    def test_it_may_do_the_four_calls_of_a_rotation_with_its_own_secret(self, policy: Policy) -> None:
        own = {"secretsmanager__resource_AllowRotationLambdaArn": FUNCTION}
        expected = {"DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"}
        assert self.granted(policy, self.OWN, **own) == expected
        assert self.granted(policy, self.OTHER, **own) == set()

    def test_not_when_another_function_rotates_it_or_none(self, policy: Policy) -> None:
        other = {"secretsmanager__resource_AllowRotationLambdaArn": FUNCTION + "-2"}
        assert self.granted(policy, self.OWN, **other) == self.granted(policy, self.OWN) == set()

    def test_it_may_only_read_the_administrator_s(self, policy: Policy) -> None:
        assert self.granted(policy, self.ADMINISTRATOR) == {"GetSecretValue"}

    def test_the_key_encrypts_its_own_secret_and_decrypts_both(self, policy: Policy) -> None:
        via = {"kms__ViaService": "secretsmanager.eu-west-1.amazonaws.com"}
        for secret, expected in [
            (self.OWN, {"Decrypt", "GenerateDataKey"}),
            (self.ADMINISTRATOR, {"Decrypt"}),
            (self.OTHER, set()),
        ]:
            context = via | {"kms__EncryptionContext:SecretARN": secret}
            actions = ("Decrypt", "Encrypt", "GenerateDataKey", "ReEncryptFrom", "CreateGrant")
            assert {action for action in actions if allows(policy, f"kms:{action}", KEY, **context)} == expected

    def test_the_function_is_called_for_this_account_only(self) -> None:
        policy = invocation_policy(FUNCTION, place=PLACE)
        assert policy["Statement"][0]["Principal"] == {"Service": "secretsmanager.amazonaws.com"}
        assert allows(policy, "lambda:InvokeFunction", FUNCTION, aws__SourceAccount=PLACE.account)
        assert not allows(policy, "lambda:InvokeFunction", FUNCTION, aws__SourceAccount="210987654321")


@pytest.mark.parametrize(
    "key",
    ["*", KEY[:-12] + "*", KEY.replace("123456789012", "*"), KEY.replace("key/", "alias/"), "6f1c2a54", "", KEY + "\n"],
)
def test_a_wildcard_is_no_key(key: str) -> None:
    with pytest.raises(ValueError, match="no ARN of a KMS key"):
        reader_policy(["s"], place=PLACE, kms_key=key)
    with pytest.raises(ValueError, match="no ARN of a KMS key"):
        rotation_policy("s", place=PLACE, kms_key=key)


@pytest.mark.parametrize("function", ["*", FUNCTION + "*", FUNCTION.replace("eu-west-1", "*"), "rotation", "", KEY])
def test_a_wildcard_is_no_function(function: str) -> None:
    with pytest.raises(ValueError, match="no ARN of a Lambda function"):
        rotation_policy("s", place=PLACE, function_arn=function)
    with pytest.raises(ValueError, match="no ARN of a Lambda function"):
        invocation_policy(function, place=PLACE)


@pytest.mark.parametrize("qualifier", ["", ":live", ":3", ":$LATEST"])
def test_a_version_of_a_function_is_one(qualifier: str) -> None:
    policy = rotation_policy("s", place=PLACE, function_arn=FUNCTION + qualifier)
    assert json.dumps(FUNCTION + qualifier) in json.dumps(policy)


def test_every_policy_is_a_document_of_few_statements_with_an_asterisk_only_where_aws_knows_no_resource() -> None:
    policies = [
        reader_policy(["s"], place=PLACE, kms_key=KEY),
        rotation_policy("s", place=PLACE, function_arn=FUNCTION, administrator="a", kms_key=KEY),
        invocation_policy(FUNCTION, place=PLACE),
    ]
    for policy in policies:
        assert json.loads(json.dumps(policy)) == policy
        assert policy["Version"] == "2012-10-17"
        names = [statement["Sid"] for statement in policy["Statement"]]
        assert len(names) == len(set(names))
        for statement in policy["Statement"]:
            assert all("*" not in action for action in statement["Action"])
            assert statement["Resource"] != ["*"] or statement["Action"] == ["secretsmanager:BatchGetSecretValue"]
