"""The function with an ECS that somebody else wrote: the request is one that AWS's own model and moto take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from local_aws.cloudformation import Stack
from moto import mock_aws


@pytest.fixture
def event(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What CloudFormation sends of a subnet, a cluster and a task definition in moto."""
    monkeypatch.delenv("AWS_ENDPOINT_URL_ECS")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with mock_aws():
        ecs, ec2 = boto3.client("ecs"), boto3.client("ec2")
        ecs.create_cluster(clusterName="idp-server")
        ecs.register_task_definition(
            family="idp-server-migrate",
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu="256",
            memory="512",
            containerDefinitions=[{"name": "tegata", "image": "tegata", "cpu": 256, "memory": 512}],
        )
        subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        properties = {"Cluster": "idp-server", "TaskDefinition": "idp-server-migrate", "Subnets": [subnet]}
        yield stack.event(**properties)


def test_the_task_is_the_one_that_was_asked_for(stack: Stack, event: dict[str, Any]) -> None:
    """moto's tasks go on to their end, exit code 0, whenever somebody asks for them."""
    answer = stack.send(event)
    assert answer["Status"] == "SUCCESS", answer["Reason"]
    ecs = boto3.client("ecs")
    (arn,) = ecs.list_tasks(cluster="idp-server")["taskArns"]
    (task,) = ecs.describe_tasks(cluster="idp-server", tasks=[arn])["tasks"]
    assert task["overrides"]["containerOverrides"] == [{"name": "tegata", "command": ["migrate"]}]
    assert (task["launchType"], task["startedBy"]) == ("FARGATE", event["RequestId"])
