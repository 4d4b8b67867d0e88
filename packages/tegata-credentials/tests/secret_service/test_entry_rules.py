"""The rules of one entry under any order of events, clocks and answers: plain calls, nothing waits."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegata_credentials.errors import (
    CredentialError,
    SecretAccessDenied,
    SecretError,
    SecretMalformed,
    SecretNotFound,
    SecretThrottled,
    SecretUnavailable,
)
from tegata_credentials.secret_service.entry import Entry, Moment, Standing
from tegata_credentials.secret_service.policy import CachePolicy
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import SecretVersion

POLICY = CachePolicy()
START = Moment(1000.0, 1_800_000_000.0)
ERRORS: tuple[type[SecretError], ...] = (
    SecretNotFound,
    SecretAccessDenied,
    SecretMalformed,
    SecretThrottled,
    SecretUnavailable,
)
ROUNDING = 1e-3  # a wall clock in seconds since 1970 has no more digits than that
USABLE = (Standing.FRESH, Standing.AGEING, Standing.STALE)

seconds = st.one_of(st.sampled_from([0.0, 0.2, 1.0, 30.0, 239.0, 241.0, 301.0, 3600.0, 86_400.0]), st.floats(0, 2e5))
shares = st.floats(0, 1, exclude_max=True)
names = st.sampled_from(["v1", "v2", "v3"])
events = st.one_of(
    st.tuples(st.just("wait"), seconds),
    st.tuples(st.just("set_clock"), st.floats(-1e6, 1e6)),
    st.tuples(st.just("depart"), st.none()),
    st.tuples(st.just("land"), names, shares),
    st.tuples(st.just("fail"), st.sampled_from(ERRORS), shares),
    st.tuples(st.just("doubt"), st.one_of(st.none(), names)),
    st.tuples(st.just("accept"), names),
    st.tuples(st.just("fork"), shares),
)


def version(name: str) -> SecretVersion:
    return SecretVersion("db", name, HiddenText(f"text of {name}"))


@dataclass
class Course:
    """Plays events on an entry, and keeps beside it what an onlooker would know."""

    entry: Entry = field(default_factory=Entry)
    now: Moment = START
    began: int | None = None  # the generation at which the fetch under way began
    confirmed_since: str | None = None  # the version that the store gave last, unless refused or gone since
    landed_at: Moment = START

    def play(self, event: tuple) -> None:
        getattr(self, event[0])(*event[1:])

    def wait(self, passed: float) -> None:
        self.now = self.now.after(passed)

    def set_clock(self, by: float) -> None:
        self.now = Moment(self.now.ticks, self.now.wall + by)

    def depart(self, _: None) -> None:
        if self.began is None and self.entry.refusal(self.now) is None:
            self.began = self.entry.generation
            self.entry = self.entry.departed(self.now, POLICY)

    def land(self, name: str, share: float) -> None:
        if self.began is None:
            return
        says_nothing = self.began != self.entry.generation and self.entry.is_doubted
        is_known = self.entry.version is not None and self.entry.version.version == name
        if not (says_nothing and is_known):
            self.confirmed_since, self.landed_at = name, self.now
        self.entry = self.entry.landed(version(name), self.began, self.now, POLICY, share)
        self.began = None

    def fail(self, error: type[SecretError], share: float) -> None:
        if self.began is None:
            return
        self.entry = self.entry.failed(error("db"), self.now, POLICY, share)
        if issubclass(error, SecretNotFound | SecretAccessDenied | SecretMalformed):
            self.confirmed_since = None
        self.began = None

    def doubt(self, refused: str | None) -> None:
        before, self.entry = self.entry, self.entry.doubted(refused, self.now, POLICY)
        if self.entry is not before:
            self.confirmed_since = None

    def accept(self, name: str) -> None:
        self.entry = self.entry.accepted(name)

    def fork(self, share: float) -> None:
        self.entry, self.began = self.entry.inherited(self.now, POLICY, share), None

    def check(self) -> None:
        entry, standing = self.entry, self.entry.standing(self.now, POLICY)
        if standing in USABLE:
            assert entry.version is not None
            assert entry.version.version == self.confirmed_since, "gone, refused or never confirmed, yet given out"
            assert self.landed_at.age(self.now) < POLICY.max_stale
            assert entry.version.text == f"text of {entry.version.version}"
        if standing in (Standing.FRESH, Standing.AGEING):
            assert self.landed_at.age(self.now) < POLICY.ttl
        if self.now.ticks < entry.quiet.ticks and self.now.wall < entry.quiet.wall:
            assert entry.version is not None
            assert not entry.is_doubted
            assert self.now.ticks - self.landed_at.ticks < POLICY.ttl + ROUNDING, (
                "the hot path gives out what is past its life"
            )
            assert self.now.wall - self.landed_at.wall < POLICY.ttl + ROUNDING
        if entry.error is not None:
            assert 5.0 <= entry.pause <= 30.0


@given(st.lists(events, max_size=60))
def test_whatever_happens_only_a_living_confirmed_version_is_given_out(happened):
    course = Course()
    for event in happened:
        course.play(event)
        course.check()


@given(st.lists(events, max_size=30), st.integers(1, 20))
def test_of_many_doubts_about_one_version_the_first_is_heard(happened, times):
    course = Course()
    for event in happened:
        course.play(event)
    known = course.entry.version.version if course.entry.version else "v1"
    heard = 0
    for _ in range(times):
        doubted = course.entry.doubted(known, course.now, POLICY)
        heard += doubted is not course.entry
        course.entry = doubted
    assert heard <= 1


@given(st.lists(seconds, min_size=1, max_size=60))
def test_the_store_is_asked_ever_more_seldom_about_a_version_it_confirms(pauses):
    entry, now, asked_at = Entry(), START, []
    entry = entry.landed(version("v1"), 0, now, POLICY, 0.0)
    for pause in pauses:
        doubted = entry.doubted("v1", now, POLICY)
        if doubted is not entry:
            asked_at.append(now)
            entry = doubted.landed(version("v1"), doubted.generation, now, POLICY, 0.0)
        now = now.after(min(pause, 100.0))
    gaps = [later.ticks - earlier.ticks for earlier, later in itertools.pairwise(asked_at)]
    for number, gap in enumerate(gaps, 1):
        assert gap > min(30.0, 0.25 * 2 ** (number - 1)) - ROUNDING


@given(shares, shares)
def test_chance_only_shortens_a_life_and_children_ask_no_later_than_their_parent(share, childs):
    entry = Entry().landed(version("v1"), 0, START, POLICY, share)
    child = entry.inherited(START, POLICY, childs)
    assert 270.0 <= entry.life <= 300.0
    assert child.quiet.ticks <= entry.quiet.ticks
    assert child.life <= entry.life


def test_a_rotation_is_told_from_a_version_read_again():
    entry = Entry().landed(version("v1"), 0, START, POLICY, 0.0)
    entry.models[dict] = "made of v1"
    assert entry.landed(version("v1"), 0, START, POLICY, 0.0).models == {dict: "made of v1"}
    assert entry.landed(version("v2"), 0, START, POLICY, 0.0).models == {}


def test_what_was_made_of_a_version_is_not_kept_when_its_text_has_changed():
    entry = Entry().landed(version("v1"), 0, START, POLICY, 0.0)
    entry.models[dict] = "made of v1"
    other = SecretVersion("db", "v1", HiddenText("another text under the same name"))
    assert entry.landed(other, 0, START, POLICY, 0.0).models == {}


def test_an_accepted_login_ends_earlier_doubts():
    entry = Entry().landed(version("v1"), 0, START, POLICY, 0.0).doubted("v1", START, POLICY)
    entry = entry.landed(version("v1"), entry.generation, START, POLICY, 0.0)
    assert entry.doubted("v1", START, POLICY) is entry
    assert entry.accepted("v0") is entry
    assert entry.accepted("v1").doubted("v1", START, POLICY).is_doubted


def test_who_has_waited_is_heard_whatever_was_known_before_and_of_a_crowd_one():
    entry = Entry().landed(version("v1"), 0, START, POLICY, 0.0)
    waited = START.after(5.0)
    heard = entry.insisted(START.ticks + 1.0, waited, POLICY)
    assert heard.is_doubted
    looked = heard.landed(version("v1"), heard.generation, waited, POLICY, 0.0)
    assert looked.insisted(START.ticks + 2.0, waited.after(3.0), POLICY) is looked, "somebody has looked meanwhile"
    assert looked.insisted(waited.ticks + 0.1, waited.after(0.2), POLICY) is looked, "a moment ago"
    assert looked.insisted(waited.ticks + 0.1, waited.after(0.3), POLICY).is_doubted


def test_who_has_waited_does_not_hear_an_old_failure_again():
    failed = Entry().failed(SecretNotFound("db"), START, POLICY, 0.0)
    now = START.after(5.0)
    assert failed.refusal(now) is not None
    assert failed.insisted(START.ticks - 0.1, now, POLICY) is failed
    assert failed.insisted(START.ticks, now, POLICY).refusal(now) is None


@pytest.mark.parametrize(
    "figures",
    [{"ttl": 0}, {"ttl": -1}, {"threads": 0}, {"jitter": 1.0}, {"refresh_at": 1.1}, {"max_stale": float("nan")}],
)
def test_a_policy_that_cannot_work_is_refused(figures):
    with pytest.raises(CredentialError, match="CachePolicy"):
        CachePolicy(**figures)
