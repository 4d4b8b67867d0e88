"""Secrets Manager's part in a rotation: events, retries, duplicates, concurrency, and what it looks at afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tegata_credentials.testing import text_of
from tegata_credentials.testing.secrets_manager import (
    STEPS,
    THROTTLED,
    InvocationFailed,
    RotationService,
    StandIn,
    new_token,
)

CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"
SECRET = "acme-dev-secret-jwt"
VALUE = "a-value-that-nobody-may-see"


class Crash(BaseException):
    """The process is gone: nothing may catch this as a failure."""


@dataclass
class Function:
    """A rotation function of four honest steps that fails when it is told to."""

    client: Any
    fails: dict[str, list[BaseException]] = field(default_factory=dict)
    steps: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, event: Mapping[str, str]) -> None:
        step, token, secret = event["Step"], event["ClientRequestToken"], event["SecretId"]
        self.steps.append((step, token))
        if waiting := self.fails.get(step):
            raise waiting.pop(0)
        if step == "createSecret":
            self.client.put_secret_value(
                SecretId=secret, ClientRequestToken=token, SecretString=VALUE, VersionStages=[PENDING]
            )
        if step == "finishSecret":
            labels = self.client.describe_secret(SecretId=secret)["VersionIdsToStages"]
            current = next(version for version, stages in labels.items() if CURRENT in stages)
            self.client.update_secret_version_stage(
                SecretId=secret, VersionStage=CURRENT, RemoveFromVersionId=current, MoveToVersionId=token
            )


@pytest.fixture
def first(moto: Any) -> str:
    return str(moto.create_secret(Name=SECRET, SecretString="one")["VersionId"])


@pytest.fixture
def function(client: Any, first: str) -> Function:
    return Function(client)


@pytest.fixture
def service(stand_in: StandIn, function: Function) -> RotationService:
    made = RotationService(stand_in)
    made.register(SECRET, function)
    return made


@pytest.fixture
def labels(moto: Any) -> Callable[[], dict[str, set[str]]]:
    def read() -> dict[str, set[str]]:
        found = moto.describe_secret(SecretId=SECRET)["VersionIdsToStages"]
        return {version: set(stages) for version, stages in found.items() if stages}

    return read


Labels = Callable[[], dict[str, set[str]]]


def test_a_rotation_is_four_steps_with_one_token(
    service: RotationService, function: Function, first: str, labels: Labels
) -> None:
    token = service.rotate(SECRET)
    assert function.steps == [(step, token) for step in STEPS]
    assert labels() == {first: {PREVIOUS}, token: {CURRENT, PENDING}}
    assert not service.events


def test_the_event_is_aws_s(service: RotationService, moto: Any) -> None:
    token = service.begin(SECRET)
    arn = moto.describe_secret(SecretId=SECRET)["ARN"]
    rotation = service.events[0]["RotationToken"]
    assert list(service.events) == [
        {"Step": step, "SecretId": arn, "ClientRequestToken": token, "RotationToken": rotation} for step in STEPS
    ]


def test_a_rotation_that_others_ask_for_is_carried_out_as_well(
    service: RotationService, client: Any, first: str, labels: Labels
) -> None:
    token = client.rotate_secret(SecretId=SECRET)["VersionId"]
    assert labels() == {first: {CURRENT}, token: {PENDING}}
    service.run()
    assert labels()[token] == {CURRENT, PENDING}


def test_after_a_reset_it_is_enough_to_register_again(
    service: RotationService, function: Function, stand_in: StandIn, moto: Any
) -> None:
    stand_in.reset()
    moto.create_secret(Name=SECRET, SecretString="one")
    service.register(SECRET, function)
    token = service.rotate(SECRET)
    assert function.steps == [(step, token) for step in STEPS]


def test_a_secret_that_is_not_registered_cannot_be_rotated(service: RotationService, moto: Any, client: Any) -> None:
    moto.create_secret(Name="other", SecretString="one")
    with pytest.raises(ClientError):
        service.rotate("other")


def test_a_test_alone_leaves_no_label_behind(
    service: RotationService, function: Function, first: str, labels: Labels
) -> None:
    token = service.rotate(SECRET, is_immediate=False)
    assert function.steps == [("testSecret", token)]
    assert labels() == {first: {CURRENT}}


class TestFailures:
    def test_a_failed_step_stops_the_rotation_and_says_no_value(
        self, service: RotationService, function: Function, first: str, labels: Labels
    ) -> None:
        function.fails["testSecret"] = [ValueError(VALUE)]
        with pytest.raises(InvocationFailed) as failed:
            service.rotate(SECRET)
        assert (failed.value.step, failed.value.error_type) == ("testSecret", "ValueError")
        assert VALUE not in text_of(failed.value)
        assert isinstance(service.error, ValueError)
        assert labels()[first] == {CURRENT}

    def test_the_same_token_resumes_it(
        self, service: RotationService, function: Function, first: str, labels: Labels
    ) -> None:
        function.fails["setSecret"] = [ValueError()]
        with pytest.raises(InvocationFailed) as failed:
            service.rotate(SECRET)
        with pytest.raises(ClientError):
            service.rotate(SECRET)
        assert service.rotate(SECRET, failed.value.token) == failed.value.token
        assert [step for step, _ in function.steps] == ["createSecret", "setSecret", *STEPS]
        assert labels() == {first: {PREVIOUS}, failed.value.token: {CURRENT, PENDING}}

    def test_what_is_left_can_be_run_on(self, service: RotationService, function: Function) -> None:
        function.fails["setSecret"] = [ValueError()]
        with pytest.raises(InvocationFailed):
            service.rotate(SECRET)
        assert [event["Step"] for event in service.events] == ["setSecret", "testSecret", "finishSecret"]
        service.run()
        assert [step for step, _ in function.steps] == ["createSecret", "setSecret", *STEPS[1:]]

    def test_a_crash_passes_and_leaves_the_step_to_be_delivered_again(
        self, service: RotationService, function: Function
    ) -> None:
        function.fails["finishSecret"] = [Crash()]
        with pytest.raises(Crash):
            service.rotate(SECRET)
        assert [event["Step"] for event in service.events] == ["finishSecret"]
        service.run()
        assert not service.events

    def test_a_step_is_tried_as_often_as_agreed(self, stand_in: StandIn, function: Function) -> None:
        service = RotationService(stand_in, attempts=3)
        service.register(SECRET, function)
        function.fails["setSecret"] = [ValueError(), ValueError()]
        service.rotate(SECRET)
        assert [step for step, _ in function.steps].count("setSecret") == 3
        function.fails["setSecret"] = [ValueError(), ValueError(), ValueError()]
        with pytest.raises(InvocationFailed):
            service.rotate(SECRET)

    def test_or_the_rotation_is_tried_from_its_beginning(self, stand_in: StandIn, function: Function) -> None:
        service = RotationService(stand_in, attempts=2, again_from="createSecret")
        service.register(SECRET, function)
        function.fails["testSecret"] = [ValueError()]
        token = service.rotate(SECRET)
        assert function.steps == [(step, token) for step in (*STEPS[:3], *STEPS)]

    def test_a_pending_label_left_apart_is_a_failure(
        self, service: RotationService, function: Function, stand_in: StandIn
    ) -> None:
        service.register(SECRET, lambda event: None)
        with pytest.raises(InvocationFailed) as failed:
            service.rotate(SECRET)
        assert failed.value.error_type == "AWSPENDING was left apart from AWSCURRENT"

    def test_rotate_secret_itself_may_fail(self, service: RotationService, stand_in: StandIn) -> None:
        stand_in.faults.always("RotateSecret", THROTTLED)
        with pytest.raises(ClientError):
            service.rotate(SECRET)
        assert not service.events


class TestOrder:
    def test_steps_are_delivered_one_by_one(self, service: RotationService, function: Function) -> None:
        service.begin(SECRET)
        assert service.deliver_next()["Step"] == "createSecret"
        assert service.deliver_next()["Step"] == "setSecret"
        assert len(function.steps) == 2
        assert len(service.events) == 2

    def test_a_step_may_be_delivered_twice_or_out_of_order(self, service: RotationService, function: Function) -> None:
        token = service.begin(SECRET)
        create, finish = service.events_of(SECRET, token, "createSecret", "finishSecret")
        service.deliver(create)
        service.deliver(create)
        service.deliver(finish)
        assert [step for step, _ in function.steps] == ["createSecret", "createSecret", "finishSecret"]
        assert len(service.events) == 4

    def test_steps_of_two_tokens_may_be_mixed(
        self, service: RotationService, function: Function, first: str, labels: Labels
    ) -> None:
        old = service.begin(SECRET)
        service.deliver_next()
        service.give_up(SECRET, old)
        new = service.begin(SECRET)
        late = service.events_of(SECRET, old, "setSecret")
        service.deliver_next()
        service.deliver(*late)
        service.run()
        assert {token for _, token in function.steps} == {old, new}
        assert labels() == {first: {PREVIOUS}, new: {CURRENT, PENDING}}

    def test_two_deliveries_at_once_meet_in_the_function(self, stand_in: StandIn, function: Function) -> None:
        meeting = threading.Barrier(2, timeout=60)
        service = RotationService(stand_in)
        service.register(SECRET, lambda event: meeting.wait())
        events = service.events_of(SECRET, new_token(), "setSecret") * 2
        assert service.deliver_together(*events) == [None, None]

    def test_of_two_deliveries_at_once_each_has_its_own_outcome(
        self, service: RotationService, function: Function
    ) -> None:
        function.fails["setSecret"] = [ValueError()]
        events = service.events_of(SECRET, new_token(), "setSecret", "testSecret")
        first, second = service.deliver_together(*events)
        assert (type(first), second) == (ValueError, None)


class TestThreads:
    @pytest.fixture
    def threaded(self, stand_in: StandIn, function: Function) -> Iterator[RotationService]:
        service = RotationService(stand_in, is_threaded=True)
        service.register(SECRET, function)
        yield service
        service.join()

    def test_a_rotation_runs_by_itself(self, threaded: RotationService, client: Any, labels: Labels) -> None:
        token = client.rotate_secret(SecretId=SECRET)["VersionId"]
        threaded.join()
        assert labels()[token] == {CURRENT, PENDING}

    def test_its_failure_is_told_when_waited_for(self, threaded: RotationService, function: Function) -> None:
        function.fails["createSecret"] = [ValueError()]
        with pytest.raises(InvocationFailed):
            threaded.rotate(SECRET)
