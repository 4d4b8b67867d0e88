"""The four steps over a store in memory: what is refused, repeated, delivered twice or late, and what is told."""

from __future__ import annotations

import json
import threading
import uuid
from dataclasses import dataclass, field

import pytest

from tegata_credentials.errors import CredentialError, SecretThrottled, SecretUnavailable
from tegata_credentials.rotation.errors import (
    NotYet,
    PasswordUpdateError,
    RotationBusy,
    RotationError,
    RotationRefused,
    TestFailed,
)
from tegata_credentials.rotation.event import STEPS
from tegata_credentials.rotation.steps import Rotation
from tegata_credentials.testing.leaks import text_of
from tegata_credentials.testing.version_store import MemoryVersions
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, PENDING, PREVIOUS

NAME = "acme-prod-secret-database"
VALUE = "swordfish-0123456789abcdef"


@dataclass
class Fake:
    """A strategy that notes what it was asked, and fails as it is told."""

    asked: list = field(default_factory=list)
    errors: dict = field(default_factory=dict)
    values: list = field(default_factory=lambda: [f"{VALUE}-{number}" for number in range(9)])

    def create(self, versions):
        self._note("create", versions)
        return HiddenText(self.values.pop(0))

    def apply(self, versions):
        self._note("apply", versions)

    def test(self, versions):
        self._note("test", versions)

    def may_return_to(self, versions):
        self._note("return", versions)

    def _note(self, what, versions):
        self.asked.append((what, versions))
        secret = versions.current.text  # a local variable, as strategies have them
        if what in self.errors:
            raise self.errors[what]
        assert secret

    @property
    def acts(self):
        return [what for what, _ in self.asked]


@dataclass
class Watcher:
    """An observer that keeps what it is told."""

    metrics: list = field(default_factory=list)
    lines: list = field(default_factory=list)

    def metric(self, name, value=1, unit="Count", **dimensions):
        self.metrics.append((name, value, unit, dimensions))

    def audit(self, action, **facts):
        self.lines.append((action, facts))

    def named(self, name):
        return [dimensions for found, _, _, dimensions in self.metrics if found == name]


class Lossy(MemoryVersions):
    """A store that applies a change, or does not, and then says that it cannot be reached."""

    def __init__(self):
        super().__init__()
        self.lost, self.broken, self.on_put = set(), set(), None

    def put_pending(self, secret, token, text):
        if self.on_put is not None:
            act, self.on_put = self.on_put, None
            act()
        self._tell("put", secret, lambda: super(Lossy, self).put_pending(secret, token, text))

    def promote(self, secret, token, *, replacing):
        self._tell("promote", secret, lambda: super(Lossy, self).promote(secret, token, replacing=replacing))

    def _tell(self, what, secret, do):
        if what not in self.broken:
            do()
        if what in self.broken | self.lost:
            raise SecretUnavailable(secret, "no answer in time")


class Case:
    """A secret with one version, and its rotation."""

    def __init__(self, key=None):
        self.store, self.fake, self.watcher = Lossy(), Fake(), Watcher()
        self.arn = self.store.add(NAME, VALUE)
        self.first = self.store.labels(self.arn).holder(CURRENT)
        self.clock = iter(range(10_000))
        self.rotation = Rotation(
            self.store, {key or self.arn: self.fake}, observer=self.watcher, ticks=lambda: next(self.clock)
        )

    def announce(self):
        token = str(uuid.uuid4())
        self.store.announce(self.arn, token)
        return token

    def do(self, step, token, secret=None):
        self.rotation.handle({"SecretId": secret or self.arn, "ClientRequestToken": token, "Step": step})

    def rotate(self, *steps):
        token = self.announce()
        for step in steps or STEPS:
            self.do(step, token)
        return token

    @property
    def labels(self):
        return self.store.labels(self.arn)


@pytest.fixture
def case():
    return Case()


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
    token, failures, barrier = case.announce(), [], threading.Barrier(8)

    def run():
        for step in STEPS:
            barrier.wait(10)
            try:
                case.do(step, token)
            except CredentialError as error:
                failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert failures == []
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


# Which secrets may be rotated.


def by_arn(arn):
    return arn


def by_arn_without_its_end(arn):
    return arn.rpartition("-")[0]


def by_name(_arn):
    return NAME


@pytest.mark.parametrize("form", [by_arn, by_arn_without_its_end, by_name])
@pytest.mark.parametrize("called", [by_arn, by_arn_without_its_end, by_name])
def test_a_secret_is_known_by_its_arn_and_by_the_name_it_is_allowed_by(form, called):
    case = Case()
    case.rotation = Rotation(case.store, {form(case.arn): case.fake})
    token = case.announce()
    # Secrets Manager sends the whole ARN; whoever calls by another name has to use the one in the list.
    if called in (by_arn, form):
        case.do("createSecret", token, called(case.arn))
        assert case.fake.acts == ["create"]
    else:
        with pytest.raises(RotationRefused):
            case.do("createSecret", token, called(case.arn))


@pytest.mark.parametrize(
    "other",
    [
        f"{NAME}-2",
        f"x{NAME}",
        NAME[:-1],
        NAME.upper(),
        f"{NAME} ",
        f"{NAME}/",
        "acme-dev-secret-database",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:" + NAME + "-more-AbCdEf",
        "arn:aws:ssm:eu-west-1:123456789012:secret:" + NAME + "-AbCdEf",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:" + NAME + "-AbCde",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:" + NAME + "-AbCdEfG",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:x/" + NAME + "-AbCdEf",
    ],
)
def test_any_other_secret_is_refused_before_the_store_is_asked(other):
    case = Case(key=NAME)
    case.store.labels = None  # whoever asks for it finds out
    with pytest.raises(RotationRefused, match="not one of those"):
        case.do("createSecret", "0b51", other)


def test_the_beginning_of_an_arn_that_looks_like_an_allowed_arn_is_refused():
    """`secret:acme-prodab` without its end looks like `acme` with one: the store knows the real name."""
    case = Case(key="acme")
    longer = case.store.add("acme-prodab", VALUE)
    case.store.announce(longer, "0b51")
    with pytest.raises(RotationRefused, match="another secret"):
        case.do("createSecret", "0b51", longer.rpartition("-")[0])
    assert case.fake.asked == []


def test_an_arn_that_is_allowed_does_not_allow_the_same_name_elsewhere(case):
    with pytest.raises(RotationRefused):
        case.do("createSecret", "0b51", case.arn.replace("eu-central-1", "us-east-1"))


# What is told.


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
