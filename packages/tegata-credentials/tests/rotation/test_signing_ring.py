"""At every moment every verifier can check every token that is still valid, however rotations fall in time."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from itertools import count

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tegata_credentials.rotation.signing_ring import (
    MOST_KEYS,
    Ring,
    RingFull,
    RingKey,
    Waits,
    known_at,
    parse_life,
    public_part,
    published_keys,
    read_ring,
    turned,
    write_ring,
)

HOUR = 3600.0


def key(number: int, state: str = "next", since: float = 0) -> RingKey:
    return RingKey(f"k{number}", state, since, {"kty": "OKP", "crv": "Ed25519", "x": f"x{number}", "d": "hidden"})


@dataclass
class Stint:
    """A time for which one version was current."""

    ring: Ring
    begin: float
    end: float


@dataclass
class World:
    """One secret whose versions come, wait, become current and go back, by clocks that differ."""

    waits: Waits
    store_knows: bool
    rotator: Waits = field(init=False)
    time: float = 0.0
    stints: list[Stint] = field(default_factory=list)
    pending: Ring | None = None
    previous: Ring | None = None
    refused: int = 0

    def __post_init__(self) -> None:
        self.rotator = self.waits
        self.numbers = count(2)
        self.promote(Ring((key(0, "active"), key(1)), 0.0))

    @property
    def current(self) -> Stint:
        return self.stints[-1]

    def promote(self, ring: Ring) -> None:
        if self.stints:
            self.current.end = self.time
            self.previous = self.current.ring
        self.stints.append(Stint(ring, self.time, self.time))

    def since(self) -> float | None:
        return self.current.begin if self.store_knows else None

    def act(self, kind: str, delay: float, ahead: float) -> None:
        self.time += delay
        now = self.time + ahead * self.waits.skew / 2
        if kind == "create" and self.pending is None:
            try:
                self.pending = turned(
                    self.current.ring, key(next(self.numbers)), now=now, waits=self.rotator, current_since=self.since()
                )
            except RingFull as full:
                self.refused += full.wait > 0
        elif kind == "finish" and self.pending is not None:
            if now >= known_at(self.current.ring, self.pending, self.rotator, self.since()):
                self.promote(self.pending)
                self.pending = None
        elif kind == "give up":
            self.pending = None
        elif kind == "return" and self.pending is None and self.previous is not None:
            self.promote(self.previous)

    def refusals(self) -> list[tuple[str, float, float]]:
        """Return each key that some verifier lacks while a token signed with it is valid.

        A service may sign with a version, and serve its JWKS, for `secret_age` after another one became current; a
        verifier keeps what it was served for `jwks_age`. So each stint signs in one interval, its tokens are valid in
        a longer one, and its JWKS is in use in a third: where the latter two of any two stints meet, the key must be.
        """
        self.current.end = self.time
        found = []
        for signs in self.stints:
            active = signs.ring.find("active")
            assert active is not None
            valid_until = signs.end + self.waits.secret_age + self.waits.token_life + self.waits.skew / 2
            for serves in self.stints:
                used_until = serves.end + self.waits.secret_age + self.waits.jwks_age
                meet = signs.begin < used_until and serves.begin < valid_until  # each ends before its last moment
                if meet and serves.ring.published(active.kid) is None:
                    found.append((active.kid, signs.begin, serves.begin))
        return found


ages = st.sampled_from([1.0, 60.0, 300.0, HOUR])
waits = st.builds(
    Waits,
    token_life=st.sampled_from([60.0, HOUR, 24 * HOUR]),
    jwks_age=ages,
    secret_age=ages,
    skew=st.sampled_from([0.0, 30.0]),
)
delays = st.one_of(
    st.floats(0, 100),
    st.floats(0, 3 * HOUR),
    st.floats(0, 60 * HOUR),
    st.sampled_from([0.0, 1.0, 300.0, 330.0, 3600.0]),
)
# Mostly what rotations are made of; now and then somebody gives up or goes back.
kinds = st.sampled_from(["create", "finish", "create", "finish", "create", "finish", "give up", "return"])
acts = st.lists(st.tuples(kinds, delays, st.floats(0, 1)), max_size=40)


AT_THE_LAST_MOMENT = [("create", 0.0, 0.0), ("finish", 600.0, 0.0), ("create", HOUR, 0.0), ("finish", 0.0, 0.0)]


@settings(max_examples=250, deadline=None)
@given(waits, st.booleans(), acts)
@example(Waits(24 * HOUR, 300, 300, 60), False, [("create", 0.0, 0.0), ("finish", 700.0, 0.0)] * 12)
@example(Waits(HOUR, 300, 300, 30), True, [("create", 0.0, 1.0), ("finish", 630.0, 1.0), ("return", 1.0, 0.0)] * 6)
# A key is dropped, and the version without it current, at the last moment of a token that was signed at once.
@example(Waits(HOUR, 300, 300, 0), True, AT_THE_LAST_MOMENT * 3)
# The clock that ends the wait is ahead of the one that began it.
@example(Waits(HOUR, 300, 300, 60), False, [("create", 0, 0), ("finish", 570, 1)] * 3)
def test_no_verifier_ever_lacks_the_key_of_a_token_that_is_still_valid(times, store_knows, history):
    world = World(times, store_knows)
    for act in history:
        world.act(*act)
    assert world.refusals() == []
    for stint in world.stints:
        assert len(stint.ring.keys) <= MOST_KEYS
        assert [key.state for key in stint.ring.keys].count("active") == 1


@pytest.mark.parametrize("lacking", ["secret_age", "jwks_age"])
def test_a_rotation_that_waited_less_would_be_found_out(lacking):
    world = World(Waits(HOUR, 300, 300, 0), store_knows=True)
    world.rotator = replace(world.waits, **{lacking: 0})
    for _ in range(3):
        world.act("create", 0, 0)
        world.act("finish", 301, 0)
    assert world.refusals()


def test_a_ring_that_forgot_the_life_of_tokens_would_be_found_out():
    world = World(Waits(24 * HOUR, 300, 300, 0), store_knows=True)
    world.rotator = replace(world.waits, token_life=0)
    for _ in range(3):
        world.act("create", 0, 0)
        world.act("finish", 601, 0)
    assert world.refusals()


def test_rotations_faster_than_tokens_die_wait_instead_of_publishing_an_eleventh_key():
    world = World(Waits(24 * HOUR, 300, 300, 0), store_knows=False)
    for _ in range(200):
        world.act("create", 0, 0)
        world.act("finish", 601, 0)
    assert world.refused > 0
    assert max(len(stint.ring.keys) for stint in world.stints) == MOST_KEYS
    assert world.refusals() == []


def test_a_full_ring_says_when_it_has_room_and_has_it_then():
    previous = tuple(replace(key(n, "previous"), until=1000.0 + n) for n in range(9))
    ring = Ring((key(90, "active"), key(91), *previous), 0.0)
    times = Waits(HOUR, 300, 300, 0)
    with pytest.raises(RingFull) as full:
        turned(ring, key(92), now=500.0, waits=times, current_since=0.0)
    after = turned(ring, key(92), now=500.0 + full.value.wait, waits=times, current_since=0.0)
    assert len(after.keys) == MOST_KEYS
    # One had to go for the one that comes, and one because eleven were there.
    assert full.value.wait == 501.0


@pytest.mark.parametrize("store_knows", [True, False])
def test_at_a_leisurely_pace_a_key_signs_verifies_and_is_gone(store_knows):
    world = World(Waits(24 * HOUR, 300, 300, 60), store_knows)
    states: dict[str, list[str]] = {}
    for _ in range(8):
        world.act("create", 30 * 24 * HOUR, 0)
        world.act("finish", 660, 0)
        for found in world.current.ring.keys:
            states.setdefault(found.kid, []).append(found.state)
    # Only a store that knows since when the version is current can tell by then that the key is useless.
    assert states["k3"] == ["next", "active", "previous"] + ([] if store_knows else ["previous"])
    assert len(world.current.ring.keys) <= 4


def test_a_previous_key_has_no_private_part():
    ring = turned(Ring((key(0, "active"), key(1)), 0), key(2), now=900, waits=Waits(HOUR, 300, 300, 0))
    assert [(found.state, "d" in found.jwk) for found in ring.keys] == [
        ("active", True),
        ("next", True),
        ("previous", False),
    ]


def test_a_ring_without_a_next_key_keeps_the_active_one_and_publishes_another():
    ring = turned(Ring((key(0, "active"),), 0), key(1), now=900, waits=Waits(HOUR, 300, 300, 0))
    assert [(found.kid, found.state) for found in ring.keys] == [("k0", "active"), ("k1", "next")]


@given(waits, acts)
@settings(max_examples=50, deadline=None)
def test_what_is_written_is_read_again(times, history):
    world = World(times, store_knows=False)
    for act in history:
        world.act(*act)
    ring = world.current.ring
    # Times are kept to the microsecond.
    back = read_ring(json.loads(json.dumps(write_ring(ring))))
    assert [(found.kid, found.state, dict(found.jwk)) for found in back.keys] == [
        (found.kid, found.state, dict(found.jwk)) for found in ring.keys
    ]
    assert [found.until or 0.0 for found in back.keys] == pytest.approx([found.until or 0.0 for found in ring.keys])
    assert back.made == pytest.approx(ring.made)


@pytest.mark.parametrize(
    "document",
    [
        {"keys": "k"},
        {"keys": [{"kid": "a"}]},
        {"keys": [{"kid": "a", "state": "lost", "since": "2026-01-01T00:00:00+00:00", "jwk": {}}]},
        {"keys": [{"kid": "a", "state": "next", "since": "2026-01-01T00:00:00", "jwk": {}}]},
        {"keys": [{"kid": k, "state": "active", "since": "2026-01-01T00:00:00Z", "jwk": {}} for k in "ab"]},
        {"keys": [{"kid": "a", "state": s, "since": "2026-01-01T00:00:00Z", "jwk": {}} for s in ("next", "active")]},
    ],
    ids=["no list", "no state", "unknown state", "time without zone", "two active keys", "one kid twice"],
)
def test_what_is_no_ring_is_refused_without_being_repeated(document):
    with pytest.raises(ValueError, match=r"^keys (is no ring|has a kid twice)") as refused:
        read_ring(document)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_only_public_parts_are_published_whatever_a_key_is_called():
    jwk = {
        "kty": "EC",
        "crv": "P-256",
        "x": "eA",
        "y": "eQ",
        "d": "hidden",
        "k": "hidden",
        "kid": "k1",
        "note": "hidden",
    }
    document = {
        "keys": [{"kid": "k1", "state": "active", "since": "2026-01-01T00:00:00Z", "jwk": jwk}],
        "secret": "hidden",
    }
    public = {"kty": "EC", "crv": "P-256", "x": "eA", "y": "eQ", "kid": "k1", "use": "sig"}
    assert published_keys(document) == {"keys": [public]}
    # Of the key's own algorithm, or else of the issuer's, if the key can be used with it.
    assert published_keys(document | {"algorithm": "ES256"}) == {"keys": [public | {"alg": "ES256"}]}
    assert published_keys(document | {"algorithm": "EdDSA"}) == {"keys": [public]}
    jwk |= {"alg": "ES256", "kid": "another"}
    assert published_keys(document | {"algorithm": "EdDSA"}) == {"keys": [public | {"alg": "ES256"}]}
    jwk |= {"alg": "HS256"}
    assert published_keys(document | {"algorithm": "none"}) == {"keys": [public]}
    with pytest.raises(ValueError, match="not a key pair"):
        public_part({"kty": "oct", "k": "hidden"})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("24h", 86400), ("15m", 900), ("7d", 604800), (3600, 3600), ("90", 90), ("soon", None), (None, None)],
)
def test_the_life_of_tokens_is_read_as_the_libraries_of_the_seed_write_it(text, seconds):
    assert parse_life(text) == seconds


def test_no_repr_shows_a_private_key():
    assert "hidden" not in repr(Ring((key(0, "active"),), 0))
