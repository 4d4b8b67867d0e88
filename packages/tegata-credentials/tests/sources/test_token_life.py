"""How long a token is believed to live: what it says, what was announced, and clocks that are wrong."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegata_credentials import Token
from tegata_credentials.token_state import remaining_life, unverified_claims

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("announced", "claims", "life"),
    [
        pytest.param(NOW + 3600, None, 3600.0, id="opaque token: as announced"),
        pytest.param(NOW + 3600, {"exp": NOW + 60}, 60.0, id="its own end is earlier than announced"),
        pytest.param(NOW + 60, {"exp": NOW + 3600}, 60.0, id="announced end is earlier than its own"),
        pytest.param(None, {"exp": NOW + 60}, 60.0, id="nothing announced"),
        pytest.param(None, None, None, id="nobody says anything"),
        pytest.param(NOW + 3600, {"iat": NOW}, 3600.0, id="a token without exp"),
        pytest.param(None, {"iat": NOW + 600, "exp": NOW + 900}, 300.0, id="this clock is ten minutes behind"),
        pytest.param(None, {"iat": NOW - 900, "exp": NOW - 600}, -600.0, id="this clock is ten minutes ahead"),
        pytest.param(None, {"iat": NOW + 10, "exp": NOW + 5}, 5.0, id="iat behind exp is not believed"),
    ],
)
def test_the_end_is_the_earliest_that_anybody_says(new_token, announced, claims, life):
    value = "opaque" if claims is None else new_token(**claims)
    assert remaining_life(Token(value, announced), NOW) == life


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"exp": "soon"}, id="text"),
        pytest.param({"exp": True}, id="true"),
        pytest.param({"exp": None}, id="null"),
        pytest.param({"exp": [1]}, id="list"),
        pytest.param({"exp": 10**400}, id="a number of 400 digits"),
        pytest.param({"exp": float("inf")}, id="infinity"),
        pytest.param({"exp": float("nan")}, id="not a number"),
    ],
)
def test_an_exp_that_is_no_time_is_passed_over(new_token, claims):
    assert remaining_life(Token(new_token(**claims), NOW + 60), NOW) == 60.0


@pytest.mark.parametrize(
    "value",
    ["", "...", "a.b.c", "a.e30.c", "ä.ö.ü", "host:5432/?Action=connect&X-Amz-Signature=1", "x" * 3000, "a.W10.c"],
)
def test_any_other_text_is_an_opaque_token(value):
    assert unverified_claims(value) == {}


def test_a_deeply_nested_payload_is_an_opaque_token():
    payload = base64.urlsafe_b64encode(b"[" * 100_000).decode().rstrip("=")
    assert unverified_claims(f"a.{payload}.c") == {}


@given(st.text() | st.binary().map(lambda raw: f"a.{base64.urlsafe_b64encode(raw).decode()}.c"))
def test_no_text_breaks_the_reader(value):
    assert isinstance(unverified_claims(value), dict)


@given(st.recursive(st.none() | st.floats() | st.integers() | st.text(), lambda x: st.dictionaries(st.text(), x)))
def test_no_payload_breaks_the_reader(payload):
    body = base64.urlsafe_b64encode(json.dumps({"exp": payload}).encode()).decode()
    assert set(unverified_claims(f"a.{body}.c")) <= {"exp"}


def test_lying_expires_in_does_not_keep_a_token_beyond_its_own_end(sync_source, sync_provider, clock, new_token):
    sync_provider.tokens = [Token(new_token(exp=clock.wall + 6, iat=clock.wall), clock.wall + 3600)]
    sync_source.current()
    clock.pass_by(6.0)
    assert sync_source.current() == "token-2"


def test_a_token_that_seems_dead_on_arrival_is_used_and_not_asked_for_each_time(sync_source, sync_provider, clock):
    # This clock is an hour ahead: every token of the next hour looks dead.
    sync_provider.life = -600.0
    seen = []
    for _ in range(100):
        seen.append(sync_source.current())
        clock.pass_by(0.5)
    assert seen[0] == "token-1"
    assert sync_provider.fetches <= 7  # one in eight seconds


def test_a_clock_set_back_does_not_keep_a_dead_token_alive(sync_source, clock):
    sync_source.current()
    clock.wall -= 7200.0
    clock.ticks += 3601.0
    assert sync_source.current() == "token-2"


def test_a_machine_that_has_slept_does_not_keep_a_dead_token_alive(sync_source, clock):
    sync_source.current()
    clock.wall += 3601.0  # the monotonic clock has stood still
    assert sync_source.current() == "token-2"


def test_a_clock_set_forward_costs_one_fetch(sync_source, sync_provider, clock):
    sync_source.current()
    clock.wall += 86_400.0
    assert [sync_source.current() for _ in range(5)] == ["token-2"] * 5


def test_a_clock_that_is_behind_does_not_stretch_a_new_token(sync_source, sync_provider, clock, new_token):
    issued = clock.wall + 600.0
    sync_provider.tokens = [Token(new_token(iat=issued, exp=issued + 300.0))]
    sync_source.current()
    clock.pass_by(301.0)
    assert sync_source.current() == "token-2"


def test_a_token_that_lives_a_moment_is_not_fetched_at_each_call(sync_source, sync_provider):
    sync_provider.life = 0.001
    assert [sync_source.current() for _ in range(50)] == ["token-1"] * 50


def test_a_credential_without_an_end_is_read_again_but_never_dead(sync_source, sync_provider, clock):
    sync_provider.life = None
    sync_source.current()
    clock.pass_by(299.0)
    sync_source.current()
    assert sync_provider.fetches == 1
    clock.pass_by(2.0)
    assert sync_source.current() == "token-2"
    sync_provider.failure = OSError()
    clock.pass_by(1e6)
    assert sync_source.current() == "token-2"
