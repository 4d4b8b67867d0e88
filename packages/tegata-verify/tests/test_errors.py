"""Refusals as HTTP answers (RFC 6750 §3)."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tegata_verify import (
    AccessError,
    Challenges,
    InsufficientScope,
    InvalidRequest,
    KeysUnavailable,
    MissingToken,
    Reason,
    TokenError,
    build_refusal,
)

BEER = Challenges("beer")
CHALLENGE = re.compile(r'Bearer (?:[a-z_]+="[\x20\x21\x23-\x5B\x5D-\x7E]*"(?:, |$))+')


def build_challenge(error: AccessError, realm: str) -> str:
    ((name, value),) = Challenges(realm).headers(error)
    assert name == "WWW-Authenticate"
    return value


def test_without_a_token_the_challenge_has_no_error_code():
    refusal = build_refusal(MissingToken(), BEER)
    assert refusal.status == 401
    assert dict(refusal.headers)["WWW-Authenticate"] == 'Bearer realm="beer"'
    assert "error" not in refusal.body


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidRequest(Reason.TOKEN_IN_QUERY), 400, "invalid_request"),
        (TokenError(Reason.BAD_SIGNATURE), 401, "invalid_token"),
        (InsufficientScope(Reason.MISSING_ROLE), 403, "insufficient_scope"),
    ],
)
def test_each_error_has_its_status_and_code(error, status, code):
    refusal = build_refusal(error, BEER)
    headers = dict(refusal.headers)
    assert refusal.status == status
    assert headers["WWW-Authenticate"].startswith(f'Bearer realm="beer", error="{code}", error_description="')
    assert refusal.body["error"] == code
    assert headers["Cache-Control"] == "no-store"


def test_a_missing_scope_is_named():
    challenge = build_challenge(InsufficientScope(Reason.MISSING_SCOPE, ["read", "write"]), "beer")
    assert challenge.endswith(', scope="read write"')
    assert "scope=" not in build_challenge(InsufficientScope(Reason.MISSING_ROLE), "beer")


@pytest.mark.parametrize(("seconds", "said"), [(5, "5"), (0, "1"), (-3, "1")])
def test_missing_keys_are_our_fault_and_pass(seconds, said):
    refusal = build_refusal(KeysUnavailable(seconds, "connect timeout to 10.0.0.1"), BEER)
    assert refusal.status == 503
    assert dict(refusal.headers) == {"Cache-Control": "no-store", "Retry-After": said}
    assert "10.0.0.1" not in str(refusal)


@pytest.mark.parametrize("reason", list(Reason))
def test_the_reason_is_for_logs_alone(reason):
    error = TokenError(reason, "secret detail")
    refusal = build_refusal(error, BEER)
    assert str(reason) not in str(refusal) or reason is Reason.EXPIRED
    assert "secret detail" not in str(refusal)
    assert str(error) == f"{reason}: secret detail"


def test_only_expiry_is_told_apart_from_other_faults():
    texts = {build_refusal(TokenError(reason), BEER).body["error_description"] for reason in Reason}
    assert texts == {"The access token expired", "The access token is not valid for this service"}


@given(st.text(), st.lists(st.text(), max_size=3))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_text_breaks_out_of_the_challenge(realm, scopes):
    challenge = build_challenge(InsufficientScope(Reason.MISSING_SCOPE, scopes), realm)
    assert CHALLENGE.fullmatch(challenge)
    assert challenge.count('"') == 2 * (3 if not scopes else 4)


@pytest.mark.parametrize("evil", ['a"b', "a\\", "a\r\nSet-Cookie: x=1", "a\x00", "a\x7f", "é", '", error="x'])
def test_header_injection_is_defused(evil):
    challenge = build_challenge(InsufficientScope(Reason.MISSING_SCOPE, [evil]), evil)
    assert CHALLENGE.fullmatch(challenge)
    assert challenge.count(' error="') == 1


def test_errors_are_ordinary_exceptions_that_keep_their_traceback():
    with pytest.raises(AccessError) as caught, _context():
        raise TokenError(Reason.EXPIRED)
    assert caught.value.__traceback__ is not None


class _context:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False
