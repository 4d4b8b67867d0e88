"""CloudFormation, as a custom resource's function meets it: it sends events and reads answers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local_aws.answers import Answers
from local_aws.ecs import LocalEcs

DEFINITION = "arn:aws:ecs:ap-northeast-1:123456789012:task-definition/idp-server-migrate:7"
STACK = "arn:aws:cloudformation:ap-northeast-1:123456789012:stack/TegataService/0a1b2c3d"

PROPERTIES = {
    "ServiceToken": "arn:aws:lambda:ap-northeast-1:123456789012:function:run-task",
    "Cluster": "arn:aws:ecs:ap-northeast-1:123456789012:cluster/idp-server",
    "TaskDefinition": DEFINITION,
    "Subnets": ["subnet-0a1b2c3d4e5f60718", "subnet-0a1b2c3d4e5f60719"],
    "SecurityGroups": ["sg-0a1b2c3d4e5f60718"],
    "Container": "tegata",
    "Command": ["migrate"],
    "LogGroup": "/ecs/idp-server",
    "LogPrefix": "migrate",
}

Handler = Callable[..., None]


class Clock:
    """The time of one invocation, 15 minutes; whoever sleeps lets the tasks come to their end."""

    def __init__(self, ecs: LocalEcs, *, tasks_end: bool = True) -> None:
        self.ecs, self.tasks_end = ecs, tasks_end
        self.milliseconds = 900_000
        self.slept: list[float] = []

    def get_remaining_time_in_millis(self) -> int:
        """As Lambda's context does."""
        return self.milliseconds

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept.append(seconds)
        self.milliseconds -= int(seconds * 1000)
        if self.tasks_end:
            self.ecs.wait()


class Stack:
    """A stack with the one resource."""

    def __init__(self, handler: Handler, ecs: LocalEcs, answers: Answers) -> None:
        self.handler, self.ecs, self.answers = handler, ecs, answers
        self._numbers = itertools.count(1)

    def event(self, request: str = "Create", **changed: Any) -> dict[str, Any]:
        """Return what CloudFormation sends; `changed` is laid over the properties."""
        event = {
            "RequestType": request,
            "ResponseURL": self.answers.url,
            "StackId": STACK,
            "RequestId": f"5b0a7a3e-0000-4000-8000-{next(self._numbers):012d}",
            "ResourceType": "Custom::OneOffTask",
            "LogicalResourceId": "Migrate",
            "ResourceProperties": {**PROPERTIES, **changed},
        }
        return event if request == "Create" else {**event, "PhysicalResourceId": "Migrate"}

    def send(self, event: dict[str, Any], clock: Clock | None = None) -> dict[str, Any]:
        """Invoke the function, and return the answer."""
        clock = clock or Clock(self.ecs)
        self.handler(event, clock, clock.sleep)
        return self.answers.taken[-1]

    def ask(self, request: str = "Create", **changed: Any) -> dict[str, Any]:
        """Do both."""
        return self.send(self.event(request, **changed))


@contextmanager
def stack_with(handler: Handler, directory: Path) -> Iterator[Stack]:
    """A stack whose ECS and answers are on loopback."""
    answers = Answers()
    with LocalEcs(directory).serve() as ecs, answers.serve():
        yield Stack(handler, ecs, answers)
