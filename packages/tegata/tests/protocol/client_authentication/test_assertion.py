"""Client assertions: whose they are, for whom, until when, and once (RFC 7521 §4.2, RFC 7523 §3)."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tegata.protocol.client_authentication import assertion
from tegata.protocol.errors import OAuthError

from ..outcome import outcome_of  # noqa: TID252 - tests are no installed package

NOW = 1_000_000.0
ISSUER, ENDPOINT = "https://id.example/t", "https://id.example/t/token"
GOOD: dict[str, Any] = {"iss": "web", "sub": "web", "aud": ISSUER, "exp": NOW + 60, "jti": "1"}


def token(claims: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2ln"


def check(**changes: Any) -> float:
    claims = {name: value for name, value in {**GOOD, **changes}.items() if value is not ...}
    return assertion.check_claims(claims, "web", (ISSUER, ENDPOINT), now=NOW)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="the least"),
        pytest.param({"aud": ENDPOINT}, id="for the endpoint"),
        pytest.param({"aud": ["https://other.example", ENDPOINT]}, id="for others as well"),
        pytest.param({"exp": NOW - 29}, id="just ended, within the leeway"),
        pytest.param({"exp": NOW + assertion.MAX_LIFETIME_SECONDS}, id="as long as allowed"),
        pytest.param({"nbf": NOW + 29, "iat": NOW + 29}, id="a clock that is a little fast"),
        pytest.param({"exp": int(NOW) + 5}, id="a whole number"),
        pytest.param({"jti": "x" * 256}, id="a long jti"),
        pytest.param({"nbf": None, "iat": None}, id="null for times that are optional"),
    ],
)
def test_an_assertion_is_taken_and_remembered_until_it_ends(changes: dict[str, Any]) -> None:
    until = check(**changes)
    assert until == {**GOOD, **changes}["exp"] + assertion.LEEWAY_SECONDS
    assert until > NOW


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "other"}, "assertion_client_mismatch"),
        ({"sub": "other"}, "assertion_client_mismatch"),
        ({"iss": ...}, "assertion_client_mismatch"),
        ({"sub": ["web"]}, "assertion_client_mismatch"),
        ({"aud": ...}, "assertion_audience"),
        ({"aud": ""}, "assertion_audience"),
        ({"aud": []}, "assertion_audience"),
        ({"aud": "https://id.example/other/token"}, "assertion_audience"),
        ({"aud": "https://id.example"}, "assertion_audience"),
        ({"aud": ISSUER + "/"}, "assertion_audience"),
        ({"aud": ISSUER.upper()}, "assertion_audience"),
        ({"aud": {ISSUER: 1}}, "assertion_audience"),
        ({"aud": [[ISSUER]]}, "assertion_audience"),
        ({"aud": [None, 5, {}]}, "assertion_audience"),
        ({"exp": ...}, "assertion_expired"),
        ({"exp": None}, "assertion_expired"),
        ({"exp": NOW - 30}, "assertion_expired"),
        ({"exp": 0}, "assertion_expired"),
        ({"exp": NOW + 3600 + 31}, "assertion_lives_too_long"),
        ({"exp": 1e10}, "assertion_lives_too_long"),
        ({"exp": True}, "assertion_malformed"),
        ({"exp": "9999999999"}, "assertion_malformed"),
        ({"exp": -1}, "assertion_malformed"),
        ({"exp": NOW * 1000 * 1000}, "assertion_malformed"),
        ({"exp": 10**400}, "assertion_malformed"),
        ({"exp": math.inf}, "assertion_malformed"),
        ({"exp": math.nan}, "assertion_malformed"),
        ({"exp": [1]}, "assertion_malformed"),
        ({"nbf": NOW + 31}, "assertion_from_the_future"),
        ({"iat": NOW + 31}, "assertion_from_the_future"),
        ({"nbf": "soon"}, "assertion_malformed"),
        ({"iat": False}, "assertion_malformed"),
        ({"jti": ...}, "assertion_without_jti"),
        ({"jti": None}, "assertion_without_jti"),
        ({"jti": ""}, "assertion_without_jti"),
        ({"jti": 5}, "assertion_without_jti"),
        ({"jti": ["1"]}, "assertion_without_jti"),
        ({"jti": "x" * 257}, "assertion_without_jti"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_an_assertion_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(OAuthError) as refused:
        check(**changes)
    assert (refused.value.code, refused.value.reason) == ("invalid_client", reason)


json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "nbf", "iat"]), json_value))
def test_any_claims_are_refused_or_remembered_for_a_bounded_time(claims: dict[str, Any]) -> None:
    until = outcome_of(lambda: check(**claims))
    if isinstance(until, float):
        assert NOW < until <= NOW + assertion.MAX_LIFETIME_SECONDS + 2 * assertion.LEEWAY_SECONDS
    else:
        assert until.code == "invalid_client"


def test_the_client_is_read_from_the_assertion() -> None:
    assert assertion.claimed_client_id(token({"sub": "web"}), None) == "web"
    assert assertion.claimed_client_id(token({"sub": "web"}), "web") == "web"


@pytest.mark.parametrize(
    ("text", "sent", "reason"),
    [
        pytest.param("", None, "assertion_malformed", id="nothing"),
        pytest.param("abc", None, "assertion_malformed", id="one part"),
        pytest.param("a.!.c", None, "assertion_malformed", id="no base64"),
        pytest.param("a.\u00e9\u00e9.c", None, "assertion_malformed", id="no ASCII"),
        pytest.param("a.gICA.c", None, "assertion_malformed", id="no UTF-8"),
        pytest.param(token([]), None, "assertion_malformed", id="a list"),
        pytest.param(token("sub"), None, "assertion_malformed", id="text"),
        pytest.param(token(None), None, "assertion_malformed", id="null"),
        pytest.param(token({}), None, "assertion_malformed", id="no sub"),
        pytest.param(token({"sub": 5}), None, "assertion_client_mismatch", id="a number"),
        pytest.param(token({"sub": ["web"]}), "web", "assertion_client_mismatch", id="a list of clients"),
        pytest.param(token({"sub": "web"}), "other", "assertion_client_mismatch", id="another client_id"),
        pytest.param(token({"sub": "a\x00b"}), None, "assertion_client_mismatch", id="NUL"),
        pytest.param(token({"sub": "\ud800"}), None, "assertion_client_mismatch", id="a lone surrogate"),
        pytest.param(token({"sub": ""}), None, "assertion_client_mismatch", id="an empty client"),
    ],
)
def test_no_client_is_read(text: str, sent: str | None, reason: str) -> None:
    with pytest.raises(OAuthError) as refused:
        assertion.claimed_client_id(text, sent)
    assert (refused.value.code, refused.value.reason) == ("invalid_client", reason)


@given(
    st.text() | st.builds(token, st.dictionaries(st.just("sub"), json_value)) | st.builds("a.{}.c".format, st.text())
)
@example(f"a.{base64.urlsafe_b64encode(b'[' * 9000).decode()}.c")
@example(f"a.{base64.urlsafe_b64encode(b'9' * 9000).decode()}.c")
def test_any_text_names_a_client_or_is_refused(text: str) -> None:
    found = outcome_of(lambda: assertion.claimed_client_id(text, None))
    if isinstance(found, str):
        assert found
        assert found.isprintable()
    else:
        assert found.code == "invalid_client"
