"""What the function may do: no more than it does, and nothing to things of others."""

from __future__ import annotations

import ast

from tegata_infra.one_off_task import build_policy_document, inline_source

ARNS = "arn:aws:ecs:ap-northeast-1:123456789012"
DEFINITION = f"{ARNS}:task-definition/idp-server-migrate:7"
ROLES = ["arn:aws:iam::123456789012:role/task", "arn:aws:iam::123456789012:role/execution"]


def document() -> dict[str, dict[str, object]]:
    """The statements, by what they allow."""
    made = build_policy_document(
        partition="aws",
        region="ap-northeast-1",
        account="123456789012",
        cluster_name="idp-server",
        task_definition_arns=[DEFINITION],
        passed_role_arns=ROLES,
        stack_name="TegataService",
    )
    assert made["Version"] == "2012-10-17"
    return {statement["Action"]: statement for statement in made["Statement"]}  # type: ignore[attr-defined,index]


def called() -> set[str]:
    """The operations that the code calls on clients of AWS."""
    calls = [node for node in ast.walk(ast.parse(inline_source())) if isinstance(node, ast.Call)]
    names = {node.func.attr for node in calls if isinstance(node.func, ast.Attribute)}
    return names & {"run_task", "describe_tasks", "describe_stacks"}


def test_it_may_call_what_it_calls_and_pass_the_roles_on() -> None:
    operations = {action.split(":")[1] for action in document()} - {"PassRole"}
    assert {name.replace("_", "") for name in called()} == {name.lower() for name in operations}
    assert len(document()) == 4


def test_every_right_is_to_things_that_are_named() -> None:
    resources = {action: statement["Resource"] for action, statement in document().items()}
    assert resources == {
        "ecs:RunTask": [DEFINITION],
        "ecs:DescribeTasks": [f"{ARNS}:task/idp-server/*"],
        "iam:PassRole": ROLES,
        "cloudformation:DescribeStacks": ["arn:aws:cloudformation:ap-northeast-1:123456789012:stack/TegataService/*"],
    }


def test_tasks_are_those_of_one_cluster_and_roles_go_to_tasks_alone() -> None:
    conditions = {action: statement.get("Condition") for action, statement in document().items()}
    cluster = {"ArnEquals": {"ecs:cluster": f"{ARNS}:cluster/idp-server"}}
    assert conditions == {
        "ecs:RunTask": cluster,
        "ecs:DescribeTasks": cluster,
        "iam:PassRole": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        "cloudformation:DescribeStacks": None,
    }
