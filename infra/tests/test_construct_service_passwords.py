"""The tasks where Tegata's logins have passwords that rotate; their templates are kept, to be run as processes."""

from __future__ import annotations

from typing import Any

import pytest
from tegata_infra.synthesis import SNAPSHOTS, format_template

from .templates import Assembly, Resource

KEPT = SNAPSHOTS / "variants" / "service-passwords"
DIFFERENT = ("-Secrets", "-Service")
SCRIPT = (
    'printf \'%s=%s\\n\' "$LOGIN_1" "$PASSWORD_1" "$LOGIN_2" "$PASSWORD_2" "$LOGIN_3" "$PASSWORD_3"'
    ' "$LOGIN_4" "$PASSWORD_4" | tegata db bootstrap --alternating --passwords -'
)
SECRETS = {
    "idp-server-task": {"idp-server/api-credentials", "tegata-production-secret-database"},
    "idp-server-worker": {"idp-server/api-credentials", "tegata-production-secret-maintenance-database"},
    "idp-server-migrate": {"tegata-production-secret-migration-database"},
}


def kept_templates(assembly: Assembly) -> dict[str, str]:
    """Those that differ; what they refer to is in the templates of `idp/production`."""
    different = {name: text for name, text in assembly.templates.items() if name.endswith(DIFFERENT)}
    return {f"{name}.json": format_template(template) for name, template in different.items()}


@pytest.fixture(scope="module")
def passwords(read_synthesis) -> Assembly:
    return read_synthesis("service-passwords")


def container(assembly: Assembly, family: str) -> dict[str, Any]:
    found: dict[str, Any] = assembly.one("AWS::ECS::TaskDefinition", Family=family)["ContainerDefinitions"][0]
    return found


def statements(assembly: Assembly, role: Resource) -> list[dict[str, Any]]:
    return [
        statement
        for policy in assembly.all("AWS::IAM::Policy")
        if role in [assembly.find(policy.stack, each) for each in policy["Roles"]]
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def name_of_secret(assembly: Assembly, stack: str, value: Any) -> str:
    secret = assembly.find(stack, value)
    assert secret is not None
    return str(secret["Name"])


def test_the_templates_are_those_that_run_as_processes(passwords: Assembly) -> None:
    """The stack Secrets is kept for what is imported from it; it has a test of its own."""
    now, name = kept_templates(passwords), "Tegata-production-Service.json"
    assert now[name] == (KEPT / name).read_text(), "make synth ARGS=--snapshots if this is meant"
    assert now.keys() == {file.name for file in KEPT.glob("*.json")}


def test_the_bootstrap_gives_the_logins_of_the_secrets_their_passwords(passwords: Assembly) -> None:
    found = container(passwords, "idp-server-bootstrap")
    assert (found["EntryPoint"], found["Command"]) == (["/bin/sh", "-c"], [SCRIPT])
    stack = passwords.one("AWS::ECS::TaskDefinition", Family="idp-server-bootstrap").stack
    given = {}
    for each in found["Secrets"]:
        arn, member = each["ValueFrom"]["Fn::Join"][1]
        given[each["Name"]] = (name_of_secret(passwords, stack, arn), member)
    words = ("database", "maintenance-database", "migration-database", "rotator")
    pairs = {number: f"tegata-production-secret-{word}" for number, word in enumerate(words, start=1)}
    assert given == {
        "PGPASSWORD": ("idp-server/db-credentials", ":password::"),
        **{f"LOGIN_{number}": (name, ":username::") for number, name in pairs.items()},
        **{f"PASSWORD_{number}": (name, ":password::") for number, name in pairs.items()},
    }


@pytest.mark.parametrize("family", SECRETS)
def test_a_task_reads_its_own_login_and_logs_in_by_iam_nowhere(passwords: Assembly, family: str) -> None:
    task = passwords.one("AWS::ECS::TaskDefinition", Family=family)
    role = passwords.find(task.stack, task["TaskRoleArn"])
    assert role is not None
    allowed = statements(passwords, role)
    assert not [each for each in allowed if each["Action"] == "rds-db:connect"]
    (read,) = (each["Resource"] for each in allowed if each["Action"] == "secretsmanager:GetSecretValue")
    arns = read if isinstance(read, list) else [read]
    assert {name_of_secret(passwords, role.stack, arn) for arn in arns} == SECRETS[family]


def test_rotations_begin_when_the_logins_are_there(passwords: Assembly) -> None:
    (migrate,) = (each for each in passwords.all("Custom::OneOffTask") if each["Command"] == ["migrate"])
    schedules = [each for each in passwords.all("AWS::SecretsManager::RotationSchedule") if each.stack == migrate.stack]
    assert len(schedules) == 3
    for schedule in schedules:
        after = schedule.body["DependsOn"]
        assert migrate.id in (after if isinstance(after, list) else [after])
