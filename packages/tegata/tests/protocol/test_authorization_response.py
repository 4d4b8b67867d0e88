"""The authorization response: state, iss, and a redirect URI that is kept to the letter (RFC 6749 §4.1.2, RFC 9207)."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegata.protocol.authorization_request import AnswerTo
from tegata.protocol.authorization_response import failure, redirect_location, success
from tegata.protocol.errors import invalid_request

ISSUER = "https://id.example/t"
TARGET = AnswerTo("https://rp.example/cb", redirect_uri_was_sent=True, response_mode="query", state="s")
STATELESS = AnswerTo("https://rp.example/cb", redirect_uri_was_sent=True, response_mode="query", state=None)


def test_success_has_the_code_the_state_and_the_issuer() -> None:
    assert success(TARGET, code="c", issuer=ISSUER) == {"code": "c", "iss": ISSUER, "state": "s"}
    assert success(STATELESS, code="c", issuer=ISSUER) == {"code": "c", "iss": ISSUER}


def test_failure_has_the_issuer_too_and_keeps_the_reason_for_the_log() -> None:
    """RFC 9207 §2."""
    answer = failure(TARGET, invalid_request("told", "secret_reason"), issuer=ISSUER)
    assert answer == {"error": "invalid_request", "error_description": "told", "iss": ISSUER, "state": "s"}


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("https://rp.example/cb", "https://rp.example/cb?code=c"),
        ("https://rp.example", "https://rp.example?code=c"),
        ("https://rp.example/cb?a=1&b=%20", "https://rp.example/cb?a=1&b=%20&code=c"),
        ("https://rp.example/cb?", "https://rp.example/cb?code=c"),
        ("https://rp.example/cb?a=1&", "https://rp.example/cb?a=1&code=c"),
        ("https://rp.example/cb;p", "https://rp.example/cb;p?code=c"),
        ("com.example.app:/cb", "com.example.app:/cb?code=c"),
        ("com.example.app://cb", "com.example.app://cb?code=c"),
        ("com.example.app:///cb", "com.example.app:///cb?code=c"),
        ("com.example.app:cb", "com.example.app:cb?code=c"),
        ("HTTPS://rp.example/cb", "HTTPS://rp.example/cb?code=c"),
    ],
)
def test_the_registered_text_is_kept_and_its_query_extended(uri: str, location: str) -> None:
    """RFC 6749 §3.1.2: the query component is retained."""
    assert redirect_location(uri, {"code": "c"}) == location


def test_without_parameters_the_address_stays_as_it_is() -> None:
    """Where somebody is sent after logout without state."""
    assert redirect_location("https://rp.example/bye", {}) == "https://rp.example/bye"
    assert redirect_location("https://rp.example/bye?a=1", {}) == "https://rp.example/bye?a=1"


@given(
    st.sampled_from(["https://rp.example/cb", "https://rp.example/cb?own=1", "com.example.app:/cb", "http://[::1]:9/"]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)
def test_any_state_comes_back_as_it_was_and_changes_nothing_else(uri: str, state: str) -> None:
    location = redirect_location(uri, success(AnswerTo(uri, True, "query", state), code="c", issuer=ISSUER))
    assert location.isascii()
    assert location.isprintable()
    assert location.startswith(uri)
    own = parse_qsl(urlsplit(uri).query)
    assert parse_qsl(urlsplit(location).query, keep_blank_values=True) == [
        *own,
        ("code", "c"),
        ("iss", ISSUER),
        ("state", state),
    ]
