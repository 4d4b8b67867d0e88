"""The function that runs a one-off task: what CloudFormation is told, whatever happens. Tasks are `sh` here."""

from __future__ import annotations

import re
import threading

import pytest
from local_aws.answers import SIGNATURE
from local_aws.cloudformation import DEFINITION, STACK, Clock, Stack
from local_aws.ecs import Definition
from tegata_infra.one_off_task import MOST_CHARACTERS, inline_source


@pytest.fixture(autouse=True)
def shell(stack: Stack) -> None:
    """A task definition whose command is shell."""
    stack.ecs.definitions[DEFINITION] = Definition(["/bin/sh", "-c"])


def test_the_code_fits_into_the_template() -> None:
    source = inline_source()
    assert len(source) <= MOST_CHARACTERS
    assert not [line for line in source.splitlines() if line.lstrip().startswith("#")]
    assert source.count('"""') <= 2


@pytest.mark.parametrize("request_type", ["Create", "Update"])
def test_a_task_that_ends_with_0_is_success(stack: Stack, request_type: str) -> None:
    event = stack.event(request_type, Command=["echo done"])
    answer = stack.send(event)
    assert answer["Status"] == "SUCCESS"
    assert {name: answer[name] for name in ("StackId", "RequestId", "LogicalResourceId")} == {
        "StackId": STACK,
        "RequestId": event["RequestId"],
        "LogicalResourceId": "Migrate",
    }
    assert stack.ecs.output() == "done\n"
    # The address is signed for a request without a content type.
    assert stack.answers.content_types == [""]


def test_the_name_of_the_resource_stays(stack: Stack) -> None:
    names = [stack.ask(request, Command=["true"])["PhysicalResourceId"] for request in ("Create", "Update", "Delete")]
    assert names == ["Migrate"] * 3


def test_nothing_is_run_on_deletion(stack: Stack) -> None:
    assert stack.ask("Delete", Command=["false"])["Status"] == "SUCCESS"
    assert stack.ecs.calls == []


def test_a_task_that_ends_otherwise_is_failure_and_the_reason_says_where_its_log_is(stack: Stack) -> None:
    answer = stack.ask(Command=["exit 3"])
    (task,) = stack.ecs.tasks.values()
    name = task.arn.split("/")[-1]
    assert answer["Status"] == "FAILED"
    assert answer["Reason"] == (
        f"task {name}, log /ecs/idp-server migrate/tegata/{name}; "
        "EssentialContainerExited: Essential container in task exited; tegata: exit code 3"
    )


PULL = "CannotPullContainerError: pull image manifest has been retried 7 time(s): not found"


def test_an_image_that_cannot_be_had_is_told(stack: Stack) -> None:
    stack.ecs.told = {
        "lastStatus": "STOPPED",
        "stopCode": "TaskFailedToStart",
        "stoppedReason": PULL,
        "containers": [{"name": "tegata", "lastStatus": "STOPPED", "reason": PULL}],
    }
    answer = stack.ask()
    assert answer["Status"] == "FAILED"
    assert "TaskFailedToStart: CannotPullContainerError" in answer["Reason"]
    assert "exit code None" in answer["Reason"]


CONTAINERS = [{"name": "tegata", "exitCode": 0}, {"name": "collector", "exitCode": 143, "reason": "stopped"}]


@pytest.mark.parametrize(
    ("essential", "status"),
    [(None, "SUCCESS"), (["tegata"], "SUCCESS"), (["tegata", "collector"], "FAILED"), (["missing"], "FAILED")],
)
def test_every_essential_container_counts_and_no_other(stack: Stack, essential: list[str] | None, status: str) -> None:
    stack.ecs.told = {"lastStatus": "STOPPED", "containers": CONTAINERS}
    answer = stack.ask(**({"Essential": essential} if essential else {}))
    assert answer["Status"] == status
    assert ("collector: exit code 143 stopped" in answer["Reason"]) == (status == "FAILED")


def test_what_ecs_cannot_start_is_told(stack: Stack) -> None:
    stack.ecs.failures = [
        {"arn": "arn:aws:ecs:ap-northeast-1:123456789012:container-instance/0", "reason": "RESOURCE:ENI"}
    ]
    answer = stack.ask()
    assert (answer["Status"], "RESOURCE:ENI" in answer["Reason"]) == ("FAILED", True)


@pytest.mark.parametrize("code", ["ThrottlingException", "ServerException"])
@pytest.mark.parametrize("operation", ["DescribeStacks", "RunTask", "DescribeTasks"])
def test_throttling_and_faults_of_aws_are_passed_over(stack: Stack, operation: str, code: str) -> None:
    stack.ecs.faults[operation] = [code]
    assert stack.ask(Command=["true"])["Status"] == "SUCCESS"
    assert len(stack.ecs.tasks) == 1


def test_what_may_not_be_is_told_at_once(stack: Stack) -> None:
    stack.ecs.faults["RunTask"] = ["AccessDeniedException"]
    answer = stack.ask()
    assert answer["Status"] == "FAILED"
    assert "AccessDeniedException" in answer["Reason"]
    assert "RunTask" in answer["Reason"]


def test_a_lost_answer_of_ecs_starts_no_second_task(stack: Stack) -> None:
    stack.ecs.faults["RunTask"] = ["lost"]
    assert stack.ask(Command=["echo once"])["Status"] == "SUCCESS"
    assert stack.ecs.output() == "once\n"
    assert stack.ecs.calls.count("RunTask") > 1


def test_the_same_event_again_finds_the_same_task(stack: Stack) -> None:
    """Lambda delivers an event a second time after a fault, and now and then without one."""
    event = stack.event(Command=["echo once; exit 4"])
    first, second = stack.send(event), stack.send(event)
    assert (first["Status"], first) == ("FAILED", second)
    assert stack.ecs.output() == "once\n"


def test_two_deliveries_at_once_run_one_task(stack: Stack) -> None:
    event = stack.event(Command=["echo once"])
    other = threading.Thread(target=stack.send, args=(event,))
    other.start()
    stack.send(event)
    other.join()
    assert [answer["Status"] for answer in stack.answers.taken] == ["SUCCESS"] * 2
    assert stack.ecs.output() == "once\n"


def test_another_event_runs_the_task_again(stack: Stack) -> None:
    stack.ask("Create", Command=["echo again"])
    stack.ask("Update", Command=["echo again"])
    assert stack.ecs.output() == "again\n" * 2


def test_the_function_leaves_before_its_own_end(stack: Stack) -> None:
    clock = Clock(stack.ecs, tasks_end=False)
    answer = stack.send(stack.event(Command=["sleep 600"]), clock)
    assert answer["Status"] == "FAILED"
    assert "still RUNNING; it goes on, but nobody waits for it any longer" in answer["Reason"]
    assert 145_000 <= clock.milliseconds < 150_000


def test_the_slowest_question_and_the_slowest_answer_fit_into_the_time_that_is_kept() -> None:
    source = inline_source()

    def find(name: str) -> int:
        return int(re.findall(rf"{name}\W+([0-9_]+)", source)[0])

    tries = find("total_max_attempts")
    # botocore's standard mode, from its second try on: at most 1 s, then twice as long each time.
    question = tries * (find("connect_timeout") + find("read_timeout")) + sum(2**each for each in range(tries - 1))
    pauses = [int(pause) for pause in re.findall(r"for pause in \(([0-9, ]+)\)", source)[0].split(",")]
    answer = len(pauses) * find(r"urlopen\(request, timeout") + sum(pauses)
    poll = max(int(pause) for pause in re.findall(r"sleep\(([0-9]+)\)", source))
    assert (poll + question + answer) * 1000 <= find("SPARE_MILLISECONDS")


def test_a_task_that_ecs_does_not_know_yet_is_waited_for(stack: Stack) -> None:
    event = stack.event(Command=["true"])
    clock = Clock(stack.ecs)
    hidden = []

    def sleep(seconds: float) -> None:
        if len(clock.slept) == 0:
            hidden.append(stack.ecs.tasks.popitem())
        elif hidden:
            stack.ecs.tasks.update([hidden.pop()])
        clock.sleep(seconds)

    stack.handler(event, clock, sleep)
    assert stack.answers.taken[-1]["Status"] == "SUCCESS"
    assert len(clock.slept) == 2


@pytest.mark.parametrize("missing", ["Cluster", "Subnets", "Container", "Command"])
def test_a_property_that_is_missing_is_named(stack: Stack, missing: str) -> None:
    event = stack.event()
    del event["ResourceProperties"][missing]
    answer = stack.send(event)
    assert (answer["Status"], answer["Reason"]) == ("FAILED", f"KeyError: '{missing}'")


@pytest.mark.parametrize("faults", [[503], [0], [500, 0, 403, 503]])
def test_an_answer_that_does_not_arrive_is_sent_again(stack: Stack, faults: list[int]) -> None:
    stack.answers.faults = faults
    assert stack.ask(Command=["true"])["Status"] == "SUCCESS"
    assert not stack.answers.faults


def test_an_answer_that_never_arrives_is_a_fault_of_the_function(stack: Stack) -> None:
    """So that Lambda delivers the event again."""
    stack.answers.faults = [503] * 5
    event, clock = stack.event(Command=["echo once"]), Clock(stack.ecs)
    with pytest.raises(OSError, match="503"):
        stack.handler(event, clock, clock.sleep)
    assert stack.send(event)["Status"] == "SUCCESS"
    assert stack.ecs.output() == "once\n"


def test_a_long_reason_fits_into_an_answer(stack: Stack) -> None:
    stack.ecs.told = {"lastStatus": "STOPPED", "stoppedReason": "長い" * 5000, "containers": []}
    assert stack.ask()["Status"] == "FAILED"
    stack.ecs.faults["RunTask"] = ["VeryLong" * 1000]
    assert "VeryLong" in stack.ask()["Reason"]
    assert max(stack.answers.sizes) <= 4096


def test_while_a_stack_rolls_back_nothing_is_run(stack: Stack) -> None:
    """The task that CloudFormation asks for is the old one, which would not know the new schema."""
    stack.ecs.stack_status = "UPDATE_ROLLBACK_IN_PROGRESS"
    assert stack.ask("Update", Command=["exit 3"])["Status"] == "SUCCESS"
    assert stack.ecs.tasks == {}


@pytest.mark.parametrize("command", ["true", "exit 3"])
def test_the_address_of_the_answer_is_not_printed(
    stack: Stack, command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    stack.answers.faults = [503]
    stack.ask(Command=[command])
    printed = "".join(capfd.readouterr())
    assert SIGNATURE not in printed
    assert "task 0" in printed
