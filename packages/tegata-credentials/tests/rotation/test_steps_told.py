"""What is told of a rotation: figures, audit lines and errors, and never a value."""

from __future__ import annotations

import json

import pytest

from tegata_credentials.errors import SecretThrottled
from tegata_credentials.rotation.errors import PasswordUpdateError, RotationError, TestFailed
from tegata_credentials.rotation.event import STEPS
from tegata_credentials.testing.leaks import text_of
from tegata_credentials.versions import CURRENT

from .cases import NAME, VALUE


def test_figures_and_audit_lines_say_what_was_done_to_which_version(case):
    token = case.rotate()
    actions = [action for action, _ in case.watcher.lines]
    assert actions == ["rotation.created", "rotation.applied", "rotation.tested", "rotation.promoted"]
    assert all(facts == {"secret": case.arn, "version": token} for _, facts in case.watcher.lines)
    durations = [entry for entry in case.watcher.metrics if entry[0] == "RotationStepDuration"]
    assert [(value, unit, told["step"]) for _, value, unit, told in durations] == [
        (1000, "Milliseconds", step) for step in STEPS
    ]
    assert case.watcher.named("RotationSucceeded") == [{}]


def test_a_repeated_step_that_finds_nothing_to_do_writes_no_line(case):
    token = case.rotate()
    before = list(case.watcher.lines)
    for step in STEPS:
        case.do(step, token)
    assert case.watcher.lines == before
    assert len(case.watcher.named("RotationSucceeded")) == 1


@pytest.mark.parametrize(
    "error",
    [PasswordUpdateError("no rights"), TestFailed("refused"), SecretThrottled(NAME), RotationError("something")],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_is_counted_by_step_and_class(case, error):
    token = case.rotate("createSecret")
    case.fake.errors["apply"] = error
    with pytest.raises(type(error)):
        case.do("setSecret", token)
    kind = type(error).__name__
    assert case.watcher.named("RotationFailed") == [{"step": "setSecret", "error": kind}]
    assert case.watcher.lines[-1] == (
        "rotation.failed",
        {"secret": case.arn, "version": token, "step": "setSecret", "error": kind},
    )


def test_what_a_strategy_did_not_foresee_shows_neither_value_nor_frame(case):
    token = case.rotate("createSecret")
    case.fake.errors["apply"] = KeyError(f"{VALUE}-0")
    with pytest.raises(RotationError) as failed:
        case.do("setSecret", token)
    assert str(failed.value) == "setSecret failed: KeyError"
    assert VALUE not in text_of(failed.value)
    assert "_note" not in text_of(failed.value)
    assert failed.value.__context__ is None


def test_a_known_failure_has_lost_the_frames_and_causes_of_others(case):
    try:
        try:
            raise OSError(VALUE)
        except OSError as cause:
            raise PasswordUpdateError("no rights") from cause
    except PasswordUpdateError as error:
        case.fake.errors["apply"] = error
    token = case.rotate("createSecret")
    with pytest.raises(PasswordUpdateError) as failed:
        case.do("setSecret", token)
    assert VALUE not in text_of(failed.value)
    assert "_note" not in text_of(failed.value)


def test_neither_figures_nor_lines_hold_a_value(case):
    case.rotate()
    case.fake.errors["apply"] = ValueError(VALUE)
    token = case.rotate("createSecret")
    with pytest.raises(RotationError):
        case.do("setSecret", token)
    assert VALUE not in json.dumps([case.watcher.metrics, case.watcher.lines])


def test_what_ends_the_process_is_not_held_up(case):
    token = case.rotate("createSecret")
    case.fake.errors["apply"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        case.do("setSecret", token)
    del case.fake.errors["apply"]
    for step in STEPS:
        case.do(step, token)
    assert case.labels.holder(CURRENT) == token
