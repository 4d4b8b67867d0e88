"""The four steps over a store in memory: what is refused, repeated, delivered twice or late."""

from __future__ import annotations

import uuid

import pytest

from tegata_credentials.errors import SecretNotFound, SecretUnavailable
from tegata_credentials.rotation.errors import NotYet, RotationBusy, RotationRefused, TestFailed
from tegata_credentials.rotation.event import STEPS
from tegata_credentials.rotation.steps import Rotation
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, PENDING, PREVIOUS

from .cases import VALUE, Fake
from .deliveries import deliver_at_once


def test_four_steps_make_the_new_value_current_and_the_old_one_previous(case):
    token = case.rotate()
    labels = case.labels
    assert (labels.holder(CURRENT), labels.holder(PREVIOUS), labels.unfinished) == (token, case.first, None)
    assert case.store.read(case.arn).text == f"{VALUE}-0"
    assert case.fake.acts == ["create", "apply", "test", "test"]


def test_a_strategy_is_shown_current_previous_and_pending(case):
    first = case.rotate()
    second = case.rotate("createSecret", "setSecret")
    (_, creating), (_, applying) = case.fake.asked[-2:]
    assert creating.pending is None
    assert (applying.current.version, applying.previous.version, applying.pending.version) == (
        first,
        case.first,
        second,
    )
    assert (applying.secret, applying.token) == (case.arn, second)


def test_each_step_may_be_repeated(case):
    token = case.announce()
    for step in STEPS:
        for _ in range(3):
            case.do(step, token)
    assert case.fake.acts == ["create", "apply", "apply", "apply", "test", "test", "test", "test"]
    assert (case.labels.holder(CURRENT), case.labels.holder(PREVIOUS)) == (token, case.first)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_for_the_token_that_is_current_is_done(case, step):
    token = case.rotate()
    case.fake.asked.clear()
    case.do(step, token)
    assert case.fake.asked == []
    assert case.labels.holder(CURRENT) == token


@pytest.mark.parametrize("step", STEPS)
def test_a_token_that_was_never_announced_is_refused(case, step):
    with pytest.raises(RotationRefused, match="no version of this token"):
        case.do(step, str(uuid.uuid4()))
    assert case.fake.asked == []


@pytest.mark.parametrize("step", STEPS)
def test_a_token_whose_version_is_not_pending_is_refused(case, step):
    case.rotate()
    with pytest.raises(RotationRefused, match="given up"):
        case.do(step, case.first)  # now AWSPREVIOUS
    abandoned = case.rotate("createSecret")
    case.store.move(case.arn, PENDING, None)
    with pytest.raises(RotationRefused):
        case.do(step, abandoned)


@pytest.mark.parametrize("step", STEPS[1:])
def test_a_step_before_the_first_is_refused(case, step):
    with pytest.raises(RotationRefused, match="before createSecret"):
        case.do(step, case.announce())
    assert (case.fake.asked, case.labels.holder(CURRENT)) == ([], case.first)


def test_a_test_that_fails_never_promotes(case):
    token = case.rotate("createSecret", "setSecret")
    case.fake.errors["test"] = TestFailed("refused")
    for step in ("testSecret", "finishSecret", "finishSecret"):
        with pytest.raises(TestFailed):
            case.do(step, token)
    assert case.labels.holder(CURRENT) == case.first
    case.fake.errors.clear()
    case.do("finishSecret", token)
    assert case.labels.holder(CURRENT) == token


def test_a_finish_that_comes_without_a_test_tests(case):
    token = case.rotate("createSecret", "setSecret")
    case.do("finishSecret", token)
    assert case.fake.acts == ["create", "apply", "test"]


def test_too_early_is_postponed_and_not_failed(case):
    token = case.rotate("createSecret", "setSecret")
    case.fake.errors["test"] = NotYet("the replica is behind", 30)
    with pytest.raises(NotYet) as early:
        case.do("finishSecret", token)
    assert early.value.retry_after == 30
    assert case.labels.holder(CURRENT) == case.first
    assert case.watcher.named("RotationFailed") == []
    assert case.watcher.named("RotationPostponed") == [{"step": "finishSecret", "error": "NotYet"}]


def test_a_value_is_not_kept_when_current_moves_while_it_is_made(case):
    token = case.announce()
    case.store.put_pending(case.arn, "rival", HiddenText("another"))
    case.store.move(case.arn, PENDING, token)

    class Moving(Fake):
        def create(self, versions):
            case.store.move(case.arn, CURRENT, "rival")
            return super().create(versions)

    rotation = Rotation(case.store, {case.arn: Moving()})
    with pytest.raises(RotationBusy):
        rotation.handle({"SecretId": case.arn, "ClientRequestToken": token, "Step": "createSecret"})
    with pytest.raises(SecretNotFound):
        case.store.read(case.arn, version=token)


def test_a_value_is_not_kept_when_the_rotation_is_given_up_while_it_is_made(case):
    token = case.announce()

    class GivingUp(Fake):
        def create(self, versions):
            case.store.move(case.arn, PENDING, None)
            return super().create(versions)

    rotation = Rotation(case.store, {case.arn: GivingUp()})
    with pytest.raises(RotationRefused):
        rotation.handle({"SecretId": case.arn, "ClientRequestToken": token, "Step": "createSecret"})
    assert case.labels.holder(PENDING) is None


def test_a_finish_is_busy_when_current_moves_between_its_test_and_its_end(case):
    token = case.rotate("createSecret", "setSecret")
    case.store.put_pending(case.arn, "rival", HiddenText("another"))
    case.store.move(case.arn, PENDING, token)

    class Moving(Fake):
        def test(self, versions):
            case.store.move(case.arn, CURRENT, "rival")

    rotation = Rotation(case.store, {case.arn: Moving()})
    with pytest.raises(RotationBusy):
        rotation.handle({"SecretId": case.arn, "ClientRequestToken": token, "Step": "finishSecret"})
    assert case.labels.holder(CURRENT) == "rival"


def test_a_finish_is_refused_when_the_rotation_is_given_up_during_its_test(case):
    token = case.rotate("createSecret", "setSecret")

    class GivingUp(Fake):
        def test(self, versions):
            case.store.move(case.arn, PENDING, None)

    rotation = Rotation(case.store, {case.arn: GivingUp()})
    with pytest.raises(RotationRefused):
        rotation.handle({"SecretId": case.arn, "ClientRequestToken": token, "Step": "finishSecret"})
    assert case.labels.holder(CURRENT) == case.first


def test_a_lost_answer_to_the_put_is_a_success(case):
    case.store.lost.add("put")
    token = case.rotate()
    assert case.labels.holder(CURRENT) == token


def test_a_put_that_was_not_made_is_an_error_and_may_be_repeated(case):
    case.store.broken.add("put")
    token = case.announce()
    with pytest.raises(SecretUnavailable):
        case.do("createSecret", token)
    case.store.broken.clear()
    case.do("createSecret", token)
    assert case.store.read(case.arn, version=token).text == f"{VALUE}-1"


def test_a_lost_answer_to_the_promotion_is_a_success(case):
    case.store.lost.add("promote")
    token = case.rotate()
    assert (case.labels.holder(CURRENT), case.labels.holder(PREVIOUS)) == (token, case.first)
    assert case.watcher.named("RotationSucceeded") == [{}]


def test_a_promotion_that_was_not_made_is_an_error_and_may_be_repeated(case):
    token = case.rotate("createSecret", "setSecret")
    case.store.broken.add("promote")
    with pytest.raises(SecretUnavailable):
        case.do("finishSecret", token)
    assert case.labels.holder(CURRENT) == case.first
    case.store.broken.clear()
    case.do("finishSecret", token)
    assert case.labels.holder(CURRENT) == token


def test_a_twin_that_was_quicker_has_made_the_value(case):
    token = case.announce()
    case.store.on_put = lambda: case.do("createSecret", token)
    case.do("createSecret", token)
    assert case.store.read(case.arn, version=token).text == f"{VALUE}-1"
    assert case.fake.acts == ["create", "create"]


def test_invocations_in_parallel_make_one_value_and_one_promotion(case):
    token = case.announce()
    assert deliver_at_once(8, lambda step: case.do(step, token)) == []
    assert (case.labels.holder(CURRENT), case.labels.holder(PREVIOUS)) == (token, case.first)
    assert len(case.labels.versions) == 2


def test_an_unfinished_rotation_is_completed_by_another_token_after_it_was_given_up(case):
    case.rotate("createSecret", "setSecret")
    case.store.move(case.arn, PENDING, None)
    token = case.rotate()
    assert case.labels.holder(CURRENT) == token


def test_without_a_current_version_there_is_nothing_to_go_on_from(case):
    token = case.announce()
    case.store.move(case.arn, CURRENT, None)
    with pytest.raises(RotationRefused, match="no version of the secret is current"):
        case.do("createSecret", token)


def test_begin_takes_a_token_that_nobody_has_announced(case):
    case.rotation.begin(case.arn, "0b51")
    for step in STEPS:
        case.do(step, "0b51")
    assert case.labels.holder(CURRENT) == "0b51"
