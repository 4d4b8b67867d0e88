"""Runs one ECS task for a CloudFormation custom resource, and answers when the task has ended.

Inline code of a Lambda function (Python 3.13, boto3); `inline_source()` deploys it without comments, below 4,096
characters. The request is not printed: its ResponseURL lets whoever reads it answer in our name.
"""
# mypy: allow-untyped-defs, allow-untyped-calls
# Annotations would be deployed, too, and there is no room for them.
# ruff: noqa: BLE001, S310
# Whatever goes wrong, CloudFormation waits for an answer; it says itself where.

import http.client
import json
import time
import urllib.request

import boto3
from botocore.config import Config

# What the function keeps of its own time: for the slowest question to ECS, and for the slowest answer after it.
SPARE_MILLISECONDS = 150_000


class Failed(Exception):
    """The task has not done its work; the text says why."""


def handler(event, context, sleep=time.sleep):
    """Do what CloudFormation asks for; whatever happens, answer."""
    names = ("StackId", "RequestId", "LogicalResourceId")
    answer = {name: event[name] for name in names} | {"Status": "SUCCESS"}
    # Always the same name: another one would have CloudFormation delete the former.
    answer["PhysicalResourceId"] = event.get("PhysicalResourceId") or event["LogicalResourceId"]
    try:
        answer["Reason"] = act(event, context, sleep)
    except Failed as error:
        # An answer has room for 4,096 bytes.
        answer |= {"Status": "FAILED", "Reason": str(error)[:700]}
    except Exception as error:
        answer |= {"Status": "FAILED", "Reason": f"{type(error).__name__}: {error}"[:700]}
    print(answer["Status"], answer["Reason"])
    reply(event["ResponseURL"], json.dumps(answer, ensure_ascii=False).encode(), sleep)


def act(event, context, sleep):
    """Return what has been done. Raises `Failed`, and whatever AWS's library raises."""
    if event["RequestType"] == "Delete":
        return "nothing to delete"
    # CloudFormation asks for the old task again. Its release would find a database that is newer than it knows and
    # end with an error, and the way back would be barred. The old servers run on the new schema: nothing is to do.
    stack = client("cloudformation").describe_stacks(StackName=event["StackId"])["Stacks"][0]
    if stack["StackStatus"].endswith("ROLLBACK_IN_PROGRESS"):
        return "nothing is run while the stack rolls back"
    return run(event["ResourceProperties"], event["RequestId"], context, sleep)


def client(service):
    """Return a client whose slowest call takes 90 seconds: five tries, and pauses of at most 1, 2, 4 and 8 s."""
    retries = {"mode": "standard", "total_max_attempts": 5}
    return boto3.client(service, config=Config(retries=retries, connect_timeout=5, read_timeout=10))


def run(wanted, request_id, context, sleep):
    """Run the task to its end."""
    ecs, cluster, container = client("ecs"), wanted["Cluster"], wanted["Container"]
    network = {"subnets": wanted["Subnets"], "securityGroups": wanted["SecurityGroups"]}
    started = ecs.run_task(
        # A request that is delivered twice, or whose answer was lost, finds the task of the first time.
        clientToken=request_id,
        startedBy=request_id,
        cluster=cluster,
        taskDefinition=wanted["TaskDefinition"],
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
        overrides={"containerOverrides": [{"name": container, "command": wanted["Command"]}]},
    )
    if not started["tasks"]:
        raise Failed(f"ECS has started no task: {json.dumps(started.get('failures'))}")
    task = started["tasks"][0]
    name = task["taskArn"].split("/")[-1]
    log = f"task {name}, log {wanted.get('LogGroup')} {wanted.get('LogPrefix')}/{container}/{name}"
    while task["lastStatus"] != "STOPPED":
        if context.get_remaining_time_in_millis() < SPARE_MILLISECONDS:
            raise Failed(f"{log}: still {task['lastStatus']}; it goes on, but nobody waits for it any longer")
        sleep(5)
        # Just started, it may not be known yet to whom ECS asks.
        task = (ecs.describe_tasks(cluster=cluster, tasks=[task["taskArn"]])["tasks"] or [task])[0]
    check(task, wanted.get("Essential") or [container], log)
    return f"done: {log}"


def check(task, essential, log):
    """Refuse a task of which not every essential container has ended with 0."""
    codes = {each["name"]: each.get("exitCode") for each in task["containers"]}
    if all(codes.get(name) == 0 for name in essential):
        return
    said = [log, f"{task.get('stopCode')}: {task.get('stoppedReason')}"]
    for each in task["containers"]:
        said.append(f"{each['name']}: exit code {each.get('exitCode')} {each.get('reason', '')}".strip())
    raise Failed("; ".join(said))


def reply(url, body, sleep):
    """Put the answer where CloudFormation looks. If nothing helps, raise: Lambda then delivers the event again."""
    for pause in (1, 2, 4, 8, 0):
        # The address is signed for a request without a content type.
        request = urllib.request.Request(url, body, {"Content-Type": ""}, method="PUT")
        try:
            return urllib.request.urlopen(request, timeout=8).close()
        except (OSError, http.client.HTTPException):
            if not pause:
                raise
            sleep(pause)
