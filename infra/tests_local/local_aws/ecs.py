"""ECS and CloudFormation, as far as a one-off task needs them. A task is a process of this machine.

Answers by AWS's protocols (JSON 1.1 and Query), so that AWS's own library asks. As the real RunTask it gives the task
of the first time to whoever comes with the same client token (ECS, "Ensuring idempotency").
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from local_aws.serving import Quiet, serving
from tegata.testing.warm_starts import WarmPopen

_PREFIX = "AmazonEC2ContainerServiceV20141113."
_STACKS = """<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><DescribeStacksResult>
<Stacks><member><StackName>stack</StackName><CreationTime>2026-01-01T00:00:00Z</CreationTime>
<StackStatus>{}</StackStatus></member></Stacks></DescribeStacksResult></DescribeStacksResponse>"""


@dataclass(frozen=True, slots=True)
class Definition:
    """What a task definition says: the program, to which the command is added, and its environment."""

    program: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    container: str = "tegata"


@dataclass(slots=True)
class Task:
    """A task that was started. Whatever is in `told` is laid over what ECS tells of it."""

    arn: str
    asked: dict[str, Any]
    container: str
    process: subprocess.Popen[bytes] | None
    output: Path
    told: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return what ECS tells now."""
        code = self.process.poll() if self.process else None
        container: dict[str, Any] = {"name": self.container, "lastStatus": "RUNNING" if code is None else "STOPPED"}
        document = {"taskArn": self.arn, "lastStatus": container["lastStatus"], "containers": [container]}
        if code is not None:
            container["exitCode"] = code
            document |= {
                "stopCode": "EssentialContainerExited",
                "stoppedReason": "Essential container in task exited",
            }
        return document | self.told


class LocalEcs:
    """ECS on loopback; `url` is where it answers once it serves."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.url = ""
        self.definitions: dict[str, Definition] = {}
        self.tasks: dict[str, Task] = {}
        self.calls: list[str] = []
        self.faults: dict[str, list[str]] = {}
        """For each operation what goes wrong next: `lost` is done but not answered, anything else an error's code."""
        self.failures: list[dict[str, str]] = []
        self.told: dict[str, Any] = {}
        self.stack_status = "UPDATE_IN_PROGRESS"
        self._lock = threading.Lock()

    @contextmanager
    def serve(self) -> Iterator[LocalEcs]:
        """Serve; every process is ended at the end."""
        ecs = self

        class Handler(Quiet):
            def do_POST(self) -> None:
                body = self.read()
                target = self.headers.get("X-Amz-Target", "")
                operation = target.removeprefix(_PREFIX) or parse_qs(body.decode())["Action"][0]
                ecs._answer(self, operation, json.loads(body) if target else {})

        with serving(Handler) as self.url:
            try:
                yield self
            finally:
                for task in self.tasks.values():
                    if task.process is not None:
                        task.process.kill()
                        task.process.wait()

    def wait(self) -> None:
        """Return when all processes have ended."""
        for task in list(self.tasks.values()):
            if task.process is not None:
                task.process.wait(120)

    def output(self) -> str:
        """Return what all tasks have written."""
        return "".join(task.output.read_text() for task in self.tasks.values())

    def _answer(self, request: Quiet, operation: str, asked: dict[str, Any]) -> None:
        with self._lock:
            self.calls.append(operation)
            fault = self.faults[operation].pop(0) if self.faults.get(operation) else None
        if fault not in (None, "lost"):
            self._refuse(request, fault)
        elif operation == "DescribeStacks":
            request.answer(200, _STACKS.format(self.stack_status).encode(), "text/xml")
        elif operation == "DescribeTasks":
            found = [self.tasks[arn] for arn in asked["tasks"] if arn in self.tasks]
            self._tell(request, {"tasks": [task.document() for task in found], "failures": []})
        else:
            answer = self._run(asked)
            if fault == "lost":
                request.hang_up()
            elif answer is None:
                self._refuse(request, "ConflictException")
            else:
                self._tell(request, answer)

    def _run(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        with self._lock:
            if self.failures:
                return {"tasks": [], "failures": self.failures}
            token = asked["clientToken"]
            for task in self.tasks.values():
                if task.asked["clientToken"] == token:
                    return {"tasks": [task.document()], "failures": []} if task.asked == asked else None
            task = self._start(asked)
            self.tasks[task.arn] = task
        # As ECS does, tell of a task that nothing has become of yet.
        fresh = task.document() | {"lastStatus": "PROVISIONING"}
        return {"tasks": [fresh], "failures": []}

    def _start(self, asked: dict[str, Any]) -> Task:
        definition = self.definitions[asked["taskDefinition"]]
        (override,) = asked["overrides"]["containerOverrides"]
        assert override["name"] == definition.container
        assert asked["networkConfiguration"]["awsvpcConfiguration"].get("assignPublicIp", "DISABLED") == "DISABLED"
        name = f"{len(self.tasks):032x}"
        output = self.directory / f"{name}.log"
        process = None
        if "containers" not in self.told:
            with open(output, "wb") as file:
                process = WarmPopen(
                    [*definition.program, *override["command"]],
                    env=dict(definition.environment),
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                )
        else:
            output.touch()
        arn = f"arn:aws:ecs:ap-northeast-1:123456789012:task/idp-server/{name}"
        return Task(arn, asked, definition.container, process, output, dict(self.told))

    @staticmethod
    def _tell(request: Quiet, document: dict[str, Any]) -> None:
        request.answer(200, json.dumps(document).encode(), "application/x-amz-json-1.1")

    @staticmethod
    def _refuse(request: Quiet, code: str) -> None:
        status = 500 if code == "ServerException" else 400
        text = json.dumps({"__type": code, "message": f"told so by {code}"})
        if request.headers.get("X-Amz-Target"):
            request.answer(status, text.encode(), "application/x-amz-json-1.1")
        else:
            error = f"<ErrorResponse><Error><Code>{code}</Code><Message>told so</Message></Error></ErrorResponse>"
            request.answer(status, error.encode(), "text/xml")
