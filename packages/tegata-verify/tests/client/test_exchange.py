"""Token exchange: each subject has tokens of its own, in bounded number, never beyond its own token's end."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tegata_verify.client import (
    ClientCredentials,
    ClientSecret,
    Obstacle,
    TokenExchange,
    TokenUnavailable,
    Wanted,
)
from tegata_verify.testing import TestIssuer

from .conftest import PATIENT

pytestmark = pytest.mark.anyio

ME = ClientSecret("me", "s")
ACCESS = "urn:ietf:params:oauth:token-type:access_token"


@pytest.fixture
def exchange(stand_in, time) -> TokenExchange:
    stand_in.more = {"issued_token_type": ACCESS}
    return TokenExchange(
        stand_in.where,
        ME,
        Wanted("read", audience="stock"),
        remembered_subjects=3,
        surroundings=time.around,
        policy=PATIENT,
    )


async def test_the_request_is_the_one_of_rfc_8693(exchange, stand_in):
    assert (await exchange.for_subject("taro's token").aget()).value == "token-1"
    assert stand_in.asked[0].form == {
        "grant_type": ["urn:ietf:params:oauth:grant-type:token-exchange"],
        "scope": ["read"],
        "audience": ["stock"],
        "subject_token": ["taro's token"],
        "subject_token_type": [ACCESS],
    }
    assert stand_in.asked[0].basic == ("me", "s")


def test_each_subject_has_tokens_of_its_own_and_keeps_them(exchange, stand_in):
    taro, hanako = exchange.for_subject("taro"), exchange.for_subject("hanako")
    assert [source.get().value for source in (taro, hanako, taro, exchange.for_subject("taro"))] == [
        "token-1",
        "token-2",
        "token-1",
        "token-1",
    ]
    exchange.for_subject("taro").rejected("token-1")
    assert taro.get().value == "token-3"
    assert hanako.get().value == "token-2"


def test_subjects_are_forgotten_the_least_used_first(exchange, stand_in):
    for subject in ("a", "b", "c", "a", "d"):
        exchange.for_subject(subject).get()
    assert len(stand_in.asked) == 4
    exchange.for_subject("a").get()
    assert len(stand_in.asked) == 4
    exchange.for_subject("b").get()
    assert len(stand_in.asked) == 5


def test_what_was_exchanged_ends_with_the_subjects_own_token(exchange, stand_in, time):
    subject = TestIssuer(clock=time).mint(lifetime_seconds=60)
    exchange.for_subject(subject).get()
    time.now += 45
    assert exchange.for_subject(subject).get().value == "token-1"
    time.now += 10
    assert exchange.for_subject(subject).get().value != "token-1"


def test_a_refusal_is_one_subjects_an_outage_everybodys(exchange, stand_in, said, time):
    give = stand_in.answers["/demo/token"]
    stand_in.answers["/demo/token"] = lambda heard: (
        said({"error": "invalid_grant"}, 400) if heard.form["subject_token"] == ["bad"] else give(heard)
    )
    with pytest.raises(TokenUnavailable, match="refused: invalid_grant"):
        exchange.for_subject("bad").get()
    assert exchange.for_subject("good").get().value == "token-1"
    stand_in.answers["/demo/token"] = lambda _: said({}, 503, {"Retry-After": "60"})
    asked = len(stand_in.asked)
    for subject in ("c", "d"):
        with pytest.raises(TokenUnavailable) as raised:
            exchange.for_subject(subject).get()
        assert raised.value.obstacle is Obstacle.UNAVAILABLE
    assert len(stand_in.asked) == asked + 1
    assert exchange.for_subject("good").get().value == "token-1"
    stand_in.answers["/demo/token"] = give
    time.now += 61
    assert exchange.for_subject("g").get().value == "token-2"


@pytest.mark.parametrize("issued", ["urn:ietf:params:oauth:token-type:id_token", None, 7])
def test_what_is_issued_must_be_an_access_token(exchange, stand_in, issued):
    stand_in.more = {"issued_token_type": issued}
    with pytest.raises(TokenUnavailable, match="issued_token_type"):
        exchange.for_subject("taro").get()


def test_the_actor_is_named_by_a_token_where_the_server_wants_it(stand_in):
    stand_in.more = {"issued_token_type": ACCESS}
    actor = ClientCredentials(stand_in.where, ME, policy=PATIENT)
    TokenExchange(stand_in.where, ME, actor=actor, policy=PATIENT).for_subject("taro").get()
    form = stand_in.asked[-1].form
    assert (form["actor_token"], form["actor_token_type"]) == (["token-1"], [ACCESS])


def test_no_token_of_a_subject_shows(exchange, caplog):
    caplog.set_level("DEBUG")
    source = exchange.for_subject("taros-token")
    source.get()
    shown = f"{exchange!r}{source!r}{vars(exchange)!r}{caplog.text}"
    assert "taros-token" not in shown
    assert "token-1" not in shown


@pytest.mark.parametrize("subject", ["\ud800", "a.b.c", "a.bnVsbA.c", "a." + "W1s" * 5000 + ".c"], ids=lambda s: s[:6])
def test_a_subject_of_any_form_is_sent_or_refused_but_breaks_nothing(exchange, subject):
    with suppress(TokenUnavailable):
        assert exchange.for_subject(subject).get().value == "token-1"
