"""PKCE: S256 or nothing, and no way to strip or weaken it (RFC 7636, RFC 9700 §4.8.2)."""

from __future__ import annotations

import base64
import hashlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegata.protocol import pkce
from tegata.protocol.errors import OAuthError

# RFC 7636 appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

UNRESERVED = string.ascii_letters + string.digits + "-._~"
verifiers = st.text(UNRESERVED, min_size=43, max_size=128)


def challenge_for(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def test_the_verifier_of_appendix_b_answers_its_challenge() -> None:
    pkce.check_challenge(CHALLENGE, "S256", required=True)
    pkce.check_verifier(CHALLENGE, VERIFIER)


@given(verifiers)
def test_every_verifier_answers_its_own_challenge(verifier: str) -> None:
    pkce.check_challenge(challenge_for(verifier), "S256", required=True)
    pkce.check_verifier(challenge_for(verifier), verifier)


@given(verifiers, verifiers)
def test_no_other_verifier_answers_it(one: str, other: str) -> None:
    if one == other:
        return
    with pytest.raises(OAuthError) as refused:
        pkce.check_verifier(challenge_for(one), other)
    assert (refused.value.code, refused.value.reason) == ("invalid_grant", "pkce_mismatch")


@pytest.mark.parametrize(
    ("challenge", "method", "required", "reason"),
    [
        pytest.param(None, None, True, "pkce_missing", id="none where one is required"),
        pytest.param(None, "S256", False, "pkce_malformed", id="a method alone"),
        pytest.param(CHALLENGE, None, False, "pkce_method", id="no method, which means plain"),
        pytest.param(CHALLENGE, "plain", False, "pkce_method", id="plain"),
        pytest.param(CHALLENGE, "s256", True, "pkce_method", id="the method in lower case"),
        pytest.param(CHALLENGE, "S256 ", True, "pkce_method", id="the method with a space"),
        pytest.param(CHALLENGE, "S512", True, "pkce_method", id="a method that does not exist"),
        pytest.param(CHALLENGE[:-1], "S256", True, "pkce_malformed", id="42 characters"),
        pytest.param(CHALLENGE + "A", "S256", True, "pkce_malformed", id="44 characters"),
        pytest.param(CHALLENGE[:-1] + "=", "S256", True, "pkce_malformed", id="padding"),
        pytest.param(CHALLENGE[:-1] + "+", "S256", True, "pkce_malformed", id="base64 that is not for URLs"),
        pytest.param(CHALLENGE + "\n", "S256", True, "pkce_malformed", id="a line feed at the end"),
        pytest.param("\uff10" * 43, "S256", True, "pkce_malformed", id="full-width digits"),
    ],
)
def test_a_challenge_is_refused(challenge: str | None, method: str | None, required: bool, reason: str) -> None:
    with pytest.raises(OAuthError) as refused:
        pkce.check_challenge(challenge, method, required=required)
    assert (refused.value.code, refused.value.reason) == ("invalid_request", reason)


def test_a_request_without_pkce_passes_where_it_is_not_required() -> None:
    pkce.check_challenge(None, None, required=False)
    pkce.check_verifier(None, None)


@pytest.mark.parametrize(
    ("challenge", "verifier", "reason"),
    [
        pytest.param(CHALLENGE, None, "pkce_missing", id="no verifier"),
        pytest.param(None, VERIFIER, "pkce_downgrade", id="a verifier whose challenge was stripped"),
        pytest.param(CHALLENGE, CHALLENGE, "pkce_mismatch", id="the challenge itself, as with plain"),
        pytest.param(CHALLENGE, VERIFIER[:-1], "pkce_mismatch", id="42 characters"),
        pytest.param(CHALLENGE, VERIFIER + "\n", "pkce_mismatch", id="a line feed at the end"),
        pytest.param(CHALLENGE, "\u00e9" * 43, "pkce_mismatch", id="characters outside ASCII"),
        pytest.param(challenge_for("a" * 129), "a" * 129, "pkce_mismatch", id="129 characters, rightly hashed"),
        pytest.param(challenge_for("a" * 42), "a" * 42, "pkce_mismatch", id="42 characters, rightly hashed"),
        pytest.param(challenge_for("a b" * 20), "a b" * 20, "pkce_mismatch", id="spaces, rightly hashed"),
    ],
)
def test_a_verifier_is_refused(challenge: str | None, verifier: str | None, reason: str) -> None:
    with pytest.raises(OAuthError) as refused:
        pkce.check_verifier(challenge, verifier)
    assert (refused.value.code, refused.value.reason) == ("invalid_grant", reason)


@given(st.text())
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(OAuthError):
        pkce.check_challenge(text, "S256", required=True)
    with pytest.raises(OAuthError):
        pkce.check_verifier(CHALLENGE, text)
