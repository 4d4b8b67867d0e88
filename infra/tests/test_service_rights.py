"""Who may do what of the tasks, and in which order a new version comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .templates import Assembly, Resource, walk

ROLES = {
    "idp-server-task": "ServerRole",
    "idp-server-worker": "WorkerRole",
    "idp-server-migrate": "MigrationRole",
    "idp-server-bootstrap": "BootstrapRole",
}

LOGINS = {
    "idp-server-task": {("idp-server-postgresql", "tegata_app"), ("idp-server-postgresql-replica", "tegata_app")},
    "idp-server-worker": {("idp-server-postgresql", "tegata_maint")},
    "idp-server-migrate": {("idp-server-postgresql", "tegata_migrator")},
    "idp-server-bootstrap": set(),
}

ACTIONS = {
    "idp-server-task": {
        "rds-db:connect",
        "secretsmanager:GetSecretValue",
        "secretsmanager:BatchGetSecretValue",
        "kms:Decrypt",
        "xray:PutTraceSegments",
        "xray:PutTelemetryRecords",
    },
    "idp-server-worker": {
        "rds-db:connect",
        "secretsmanager:GetSecretValue",
        "secretsmanager:BatchGetSecretValue",
        "kms:Decrypt",
    },
    "idp-server-migrate": {"rds-db:connect"},
    "idp-server-bootstrap": set(),
}

PULL = {
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:GetDownloadUrlForLayer",
    "ecr:GetAuthorizationToken",
}
WRITE_LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}


def find_task(idp: Assembly, family: str) -> Resource:
    return idp.one("AWS::ECS::TaskDefinition", Family=family)


def find_role(idp: Assembly, family: str, kind: str = "TaskRoleArn") -> Resource:
    task = find_task(idp, family)
    role = idp.find(task.stack, task[kind])
    assert role is not None
    return role


def statements(idp: Assembly, role: Resource) -> Iterator[dict[str, Any]]:
    for policy in idp.all("AWS::IAM::Policy"):
        if role in [idp.find(policy.stack, each) for each in policy["Roles"]]:
            yield from policy["PolicyDocument"]["Statement"]
    for inline in role.get("Policies", []):
        yield from inline["PolicyDocument"]["Statement"]


def actions(idp: Assembly, role: Resource) -> set[str]:
    found: set[str] = set()
    for statement in statements(idp, role):
        assert statement["Effect"] == "Allow"
        found |= {statement["Action"]} if isinstance(statement["Action"], str) else set(statement["Action"])
    return found


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_each_task_has_a_role_of_its_own(idp: Assembly) -> None:
    roles = {family: find_role(idp, family).id for family in ROLES}
    assert len(set(roles.values())) == 4
    assert all(roles[family].startswith(name) for family, name in ROLES.items())


@pytest.mark.parametrize("family", ROLES)
def test_a_task_may_do_what_it_does_and_nothing_else(idp: Assembly, family: str) -> None:
    role = find_role(idp, family)
    assert actions(idp, role) == ACTIONS[family]
    assert "ManagedPolicyArns" not in role.properties


@pytest.mark.parametrize("family", ROLES)
def test_a_task_logs_in_at_the_database_as_its_own_role_alone(idp: Assembly, family: str) -> None:
    role = find_role(idp, family)
    found = set()
    for statement in statements(idp, role):
        if statement["Action"] == "rds-db:connect":
            for resource in as_list(statement["Resource"]):
                parts = resource["Fn::Join"][1]
                (instance,) = (part for part in parts if isinstance(part, dict) and "Fn::ImportValue" in part)
                database = idp.find(role.stack, instance)
                assert database is not None
                assert idp.exports[instance["Fn::ImportValue"]][1]["Fn::GetAtt"][1] == "DbiResourceId"
                found.add((database["DBInstanceIdentifier"], parts[-1].removeprefix("/")))
    assert found == LOGINS[family]


@pytest.mark.parametrize("family", ["idp-server-task", "idp-server-worker"])
def test_the_master_key_is_the_only_secret_that_is_read(idp: Assembly, family: str) -> None:
    role = find_role(idp, family)
    read = [
        idp.find(role.stack, resource)
        for statement in statements(idp, role)
        if statement["Action"] == "secretsmanager:GetSecretValue"
        for resource in as_list(statement["Resource"])
    ]
    assert [secret["Name"] for secret in read if secret] == ["idp-server/api-credentials"]


def test_what_starts_tasks_reads_no_secret_but_for_the_bootstrap(idp: Assembly) -> None:
    starters = {family: find_role(idp, family, "ExecutionRoleArn") for family in ROLES}
    bootstrap = starters.pop("idp-server-bootstrap")
    (common,) = {starter.id: starter for starter in starters.values()}.values()
    assert actions(idp, common) == PULL | WRITE_LOGS
    more = {"secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret", "kms:Decrypt"}
    assert actions(idp, bootstrap) == PULL | WRITE_LOGS | more
    read = {
        str(idp.follow(bootstrap.stack, resource))
        for statement in statements(idp, bootstrap)
        if "secretsmanager:GetSecretValue" in statement["Action"]
        for resource in as_list(statement["Resource"])
    }
    (secret,) = read
    assert "Administrator" in secret


def test_images_come_from_the_one_repository(idp: Assembly) -> None:
    role = find_role(idp, "idp-server-task", "ExecutionRoleArn")
    (pull,) = (each for each in statements(idp, role) if "ecr:BatchGetImage" in each["Action"])
    assert idp.find(role.stack, pull["Resource"]) == idp.one("AWS::ECR::Repository")


@pytest.mark.parametrize("kind", ["TaskRoleArn", "ExecutionRoleArn"])
def test_roles_of_tasks_are_for_tasks_of_this_account(idp: Assembly, kind: str) -> None:
    for family in ROLES:
        (statement,) = find_role(idp, family, kind)["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
        assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
        assert "aws:SourceArn" in statement["Condition"]["ArnLike"]


def depends_on(idp: Assembly, resource: Resource) -> set[str]:
    """Return everything in the stack that has to be there before a resource, however far."""
    template = idp.templates[resource.stack]["Resources"]
    seen: set[str] = set()
    waiting = [resource.id]
    while waiting:
        body = template[waiting.pop()]
        named = as_list(body.get("DependsOn", []))
        for _, value in walk(body.get("Properties", {})):
            if isinstance(value, dict) and "Ref" in value and value["Ref"] in template:
                named.append(value["Ref"])
            if isinstance(value, dict) and "Fn::GetAtt" in value:
                named.append(value["Fn::GetAtt"][0])
        fresh = set(named) - seen
        seen |= fresh
        waiting += fresh
    return seen


def runs(idp: Assembly) -> dict[str, Resource]:
    return {each["Command"][0]: each for each in idp.all("Custom::OneOffTask")}


def test_bootstrap_then_migration_then_the_new_version(idp: Assembly) -> None:
    found = runs(idp)
    assert {each["Command"][0]: each["Command"] for each in found.values()} == {
        "db": ["db", "bootstrap", "--for", "rds"],
        "migrate": ["migrate"],
    }
    assert found["db"].id in depends_on(idp, found["migrate"])
    for service in idp.all("AWS::ECS::Service"):
        assert {found["db"].id, found["migrate"].id} <= depends_on(idp, service)


@pytest.mark.parametrize(("command", "family"), [("db", "idp-server-bootstrap"), ("migrate", "idp-server-migrate")])
def test_a_one_off_task_runs_where_the_service_does_when_its_rights_are_there(
    idp: Assembly, command: str, family: str
) -> None:
    run = runs(idp)[command]
    service = idp.one("AWS::ECS::Service", ServiceName="idp-server-service")
    network = service["NetworkConfiguration"]["AwsvpcConfiguration"]
    assert idp.find(run.stack, run["TaskDefinition"]) == find_task(idp, family)
    assert (run["Container"], run["Essential"]) == ("idp-server", ["idp-server"])
    assert (run["Subnets"], run["SecurityGroups"]) == (network["Subnets"], network["SecurityGroups"])
    # A new image is a new definition and so another property: CloudFormation runs the task again.
    assert idp.find(run.stack, run["Cluster"]) == idp.one("AWS::ECS::Cluster")
    before = depends_on(idp, run)
    for kind in ("TaskRoleArn", "ExecutionRoleArn"):
        role = find_role(idp, family, kind)
        policies = {
            policy.id
            for policy in idp.all("AWS::IAM::Policy")
            if role in [idp.find(policy.stack, each) for each in policy["Roles"]]
        }
        assert policies <= before


def test_the_function_that_runs_tasks_may_run_these_two_and_gives_them_no_other_role(idp: Assembly) -> None:
    run = runs(idp)["migrate"]
    function = idp.find(run.stack, run["ServiceToken"])
    assert function is not None
    role = idp.find(function.stack, function["Role"])
    assert role is not None
    by_sid = {each.get("Sid"): each for each in statements(idp, role)}
    families = [str(each["Fn::Join"][1][-1]) for each in by_sid["RunTheTask"]["Resource"]]
    assert families == [":task-definition/idp-server-bootstrap:*", ":task-definition/idp-server-migrate:*"]
    passed = {resource["Fn::GetAtt"][0] for resource in by_sid["GiveItsRoles"]["Resource"]}
    allowed = {
        find_role(idp, family, kind).id for family in list(ROLES)[2:] for kind in ("TaskRoleArn", "ExecutionRoleArn")
    }
    assert passed == allowed
    assert function["Timeout"] == 900
    assert "ZipFile" in function["Code"]
    assert int(run["ServiceTimeout"]) > function["Timeout"]
