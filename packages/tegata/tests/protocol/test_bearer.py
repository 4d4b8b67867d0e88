"""Bearer tokens at UserInfo: one place at a time, and a challenge that quotes nothing (RFC 6750 §2, §3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegata.protocol import bearer
from tegata.protocol.errors import OAuthError, insufficient_scope, invalid_request, invalid_token
from tegata.protocol.parameters import Parameters

from .outcome import outcome_of

IN_BODY = Parameters([("access_token", "from-the-body")])
EMPTY = Parameters([])


@pytest.mark.parametrize(
    ("header", "form", "token"),
    [
        pytest.param("Bearer abc", None, "abc", id="header"),
        pytest.param("bearer abc", EMPTY, "abc", id="scheme in lower case"),
        pytest.param("BEARER  abc ", None, "abc", id="more spaces"),
        pytest.param(None, IN_BODY, "from-the-body", id="body"),
    ],
)
def test_a_token_is_read(header: str | None, form: Parameters | None, token: str) -> None:
    assert bearer.read(header, form) == token


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer    ", "Basic YTpi", "Bearerabc", "abc"])
def test_a_request_without_a_token_is_told_no_error(header: str | None) -> None:
    """RFC 6750 §3.1: without authentication information there is no error code."""
    with pytest.raises(OAuthError) as refused:
        bearer.read(header, EMPTY)
    assert (refused.value.code, refused.value.reason) == ("invalid_token", "token_missing")
    assert bearer.challenge(refused.value, realm="https://id.example/t") == 'Bearer realm="https://id.example/t"'


def test_a_token_in_two_places_is_refused() -> None:
    with pytest.raises(OAuthError) as refused:
        bearer.read("Bearer abc", IN_BODY)
    assert (refused.value.code, refused.value.reason) == ("invalid_request", "token_twice")


@given(st.none() | st.text(), st.none() | st.text())
def test_any_header_and_body_are_read_or_refused(header: str | None, in_body: str | None) -> None:
    form = Parameters([("access_token", in_body)]) if in_body is not None else None
    token = outcome_of(lambda: bearer.read(header, form))
    if isinstance(token, str):
        assert token
        assert token in (header or in_body or "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (invalid_token("not valid", "token_inactive"), "invalid_token"),
        (insufficient_scope("too little"), "insufficient_scope"),
        (invalid_request("twice", "token_twice"), "invalid_request"),
    ],
)
def test_a_challenge_names_the_error(error: OAuthError, code: str) -> None:
    challenge = bearer.challenge(error, realm="r")
    assert challenge == f'Bearer realm="r", error="{code}", error_description="{error.description}"'


def test_a_challenge_stays_one_header_whatever_parameters_were_repeated() -> None:
    form = Parameters(
        [('a"\r\nx: y', "1"), ('a"\r\nx: y', "2"), ("état", "1"), ("état", "2"), ("ok", "1"), ("ok", "2")]
    )
    with pytest.raises(OAuthError) as refused:
        form.check_not_repeated()
    challenge = bearer.challenge(refused.value, realm="r")
    assert challenge.isascii()
    assert challenge.isprintable()
    assert challenge.count('"') == 6
