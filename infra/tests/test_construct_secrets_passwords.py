"""Tegata with passwords instead of IAM: the pairs of its logins, their rotator and their rotation.

Its templates are kept in `snapshots/variants/passwords`, where the test of the function reads them.
`python -m tests.test_construct_secrets_passwords` in `infra` renews them after a change that is meant.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import Validations
from cdk_nag import AwsSolutionsChecks
from tegata_infra.data import DataStack
from tegata_infra.environments import load_config
from tegata_infra.network import NetworkStack
from tegata_infra.secrets import SecretsStack
from tegata_infra.stack import TegataStack
from tegata_infra.synthesis import SNAPSHOTS, format_template

from .templates import Assembly

KEPT = SNAPSHOTS / "variants" / "passwords"
PAIRS = {
    "tegata-production-secret-database": "tegata_app",
    "tegata-production-secret-maintenance-database": "tegata_maint",
    "tegata-production-secret-migration-database": "tegata_migrator",
}


class LoginsStack(TegataStack):
    """What makes the logins, as the bootstrap does, and from then on has them rotated."""

    def __init__(self, app: cdk.App, secrets: SecretsStack) -> None:
        super().__init__(app, "Logins", secrets.config)
        secrets.rotate_logins(self, [cdk.CfnWaitConditionHandle(self, "Migration")])


def synthesize(directory: Path) -> Assembly:
    config = load_config("idp", "production", {}, database={"authentication": "secret"})
    app = cdk.App(outdir=str(directory), analytics_reporting=False)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    network = NetworkStack(app, config)
    LoginsStack(app, SecretsStack(app, config, network, DataStack(app, config, network)))
    app.synth()
    return Assembly.read(directory)


def kept_templates(assembly: Assembly) -> dict[str, str]:
    """Those that differ, without remarks for linters; what they refer to is in the templates of `idp/production`."""
    different = {name: body for name, body in assembly.templates.items() if name.endswith(("-Secrets", "-Logins"))}
    return {f"{name}.json": format_template(_without_remarks(body)) for name, body in different.items()}


def _without_remarks(template: Mapping[str, Any]) -> dict[str, Any]:
    resources = {
        name: {key: value for key, value in body.items() if key != "Metadata"}
        for name, body in template["Resources"].items()
    }
    return {**template, "Resources": resources}


@pytest.fixture(scope="module")
def passwords(tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    return synthesize(tmp_path_factory.mktemp("passwords"))


def test_the_templates_are_those_that_the_function_is_tested_with(passwords: Assembly) -> None:
    kept = {file.name: file.read_text() for file in KEPT.glob("*.json")}
    assert kept_templates(passwords) == kept, "python -m tests.test_construct_secrets_passwords if this is meant"


def test_each_login_of_tegata_has_a_secret_of_a_pair(passwords: Assembly) -> None:
    for name, role in PAIRS.items():
        secret = passwords.one("AWS::SecretsManager::Secret", Name=name)
        generated = secret["GenerateSecretString"]
        text = json.dumps(generated["SecretStringTemplate"])
        assert f'\\"username\\": \\"{role}_b\\"' in text.replace('\\\\\\"', '\\"')
        assert "readerHost" in text
        assert generated["GenerateStringKey"] == "password"
        attached = [
            passwords.find(each.stack, each["TargetId"]).type  # type: ignore[union-attr]
            for each in passwords.all("AWS::SecretsManager::SecretTargetAttachment")
            if passwords.find(each.stack, each["SecretId"]) == secret
        ]
        assert attached == ["AWS::RDS::DBInstance"]


def test_they_take_turns_and_the_rotator_sets_their_passwords(passwords: Assembly) -> None:
    function = passwords.one("AWS::Lambda::Function", FunctionName="tegata-production-rotation")
    plans = {plan["secret"]: plan for plan in json.loads(function["Environment"]["Variables"]["TEGATA_ROTATION"])}
    for name, role in PAIRS.items():
        plan = plans[name]
        assert (plan["strategy"], plan["group"], plan["administrator"]) == (
            "alternating-users",
            role,
            "tegata-production-secret-rotator",
        )


def test_they_are_rotated_each_month_from_the_migration_on(passwords: Assembly) -> None:
    found = {}
    for schedule in passwords.all("AWS::SecretsManager::RotationSchedule"):
        secret = passwords.find(schedule.stack, schedule["SecretId"])
        assert secret is not None
        if secret.get("Name") in PAIRS:
            found[secret["Name"]] = schedule
    assert set(found) == set(PAIRS)
    for schedule in found.values():
        assert schedule["RotationRules"] == {"AutomaticallyAfterDays": 30}
        assert schedule["RotateImmediatelyOnUpdate"] is True
        assert schedule.body["DependsOn"] == ["Migration"]


if __name__ == "__main__":
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        for file, text in kept_templates(synthesize(Path(name))).items():
            (KEPT / file).write_text(text)
