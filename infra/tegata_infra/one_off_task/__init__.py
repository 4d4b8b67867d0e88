"""A task that runs once before the service gets its new version: the function that runs it, and its rights.

`run_task.py` is the code of a Lambda function behind a CloudFormation custom resource. Imports no CDK: a construct
takes `inline_source()` and `build_policy_document(...)` from here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HANDLER = "index.handler"
"""What CloudFormation calls the handler of inline code."""

MOST_CHARACTERS = 4096
"""CloudFormation, AWS::Lambda::Function Code, ZipFile."""

FUNCTION_TIMEOUT_SECONDS = 900
"""The longest that Lambda allows; a task that has not ended two and a half minutes before is not waited for."""

SERVICE_TIMEOUT_SECONDS = 1200
"""`ServiceTimeout` of the resource: a function that cannot even start is not waited for as long as by default, 1 h."""

_SOURCE = Path(__file__).with_name("run_task.py")


def inline_source() -> str:
    """Return the code without comments and docstrings.

    Text is taken away and none is written anew, so that every Python returns the same. Raises `ValueError` if it is
    too long for inline code.
    """
    text = _SOURCE.read_text(encoding="utf-8")
    lines = text.splitlines()
    dropped = {number for node in ast.walk(ast.parse(text)) for number in _docstring_lines(node)}
    kept = [
        line
        for number, line in enumerate(lines, start=1)
        if number not in dropped and line.strip() and not line.lstrip().startswith("#")
    ]
    source = "\n".join(kept) + "\n"
    if len(source) > MOST_CHARACTERS:
        raise ValueError(f"run_task.py: {len(source)} characters, inline code has room for {MOST_CHARACTERS}")
    return source


def _docstring_lines(node: ast.AST) -> Iterator[int]:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) or ast.get_docstring(node) is None:
        return
    # A class of ours without any other statement keeps it: something must stand there.
    if len(node.body) == 1:
        return
    first = node.body[0]
    yield from range(first.lineno, (first.end_lineno or first.lineno) + 1)


def build_policy_document(
    *,
    partition: str,
    region: str,
    account: str,
    cluster_name: str,
    task_definition_arns: Sequence[str],
    passed_role_arns: Sequence[str],
    stack_name: str,
) -> dict[str, Any]:
    """Return what the function may do, besides writing its own log; values may be tokens of CDK.

    `passed_role_arns` are the task role and the execution role of the task definitions. `stack_name` is the stack that
    has the custom resource: the function asks whether it rolls back.

    >>> document = build_policy_document(
    ...     partition="aws",
    ...     region="ap-northeast-1",
    ...     account="123456789012",
    ...     cluster_name="idp-server",
    ...     task_definition_arns=["arn:aws:ecs:ap-northeast-1:123456789012:task-definition/idp-server-migrate:7"],
    ...     passed_role_arns=["arn:aws:iam::123456789012:role/task"],
    ...     stack_name="TegataService",
    ... )
    >>> [statement["Action"] for statement in document["Statement"]]
    ['ecs:RunTask', 'ecs:DescribeTasks', 'iam:PassRole', 'cloudformation:DescribeStacks']
    """
    here = f"{region}:{account}"
    cluster = {"ArnEquals": {"ecs:cluster": f"arn:{partition}:ecs:{here}:cluster/{cluster_name}"}}
    return {
        "Version": "2012-10-17",
        "Statement": [
            _allow("RunTheTask", "ecs:RunTask", list(task_definition_arns), cluster),
            _allow(
                "SeeWhatBecomesOfIt",
                "ecs:DescribeTasks",
                [f"arn:{partition}:ecs:{here}:task/{cluster_name}/*"],
                cluster,
            ),
            _allow(
                "GiveItsRoles",
                "iam:PassRole",
                list(passed_role_arns),
                {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
            ),
            _allow(
                "SeeWhetherTheStackRollsBack",
                "cloudformation:DescribeStacks",
                [f"arn:{partition}:cloudformation:{here}:stack/{stack_name}/*"],
                None,
            ),
        ],
    }


def _allow(sid: str, action: str, resources: list[str], condition: Mapping[str, object] | None) -> dict[str, object]:
    statement: dict[str, object] = {"Sid": sid, "Effect": "Allow", "Action": action, "Resource": resources}
    return statement | ({"Condition": condition} if condition else {})
