"""RFC 7636: PKCE."""

from __future__ import annotations

import secrets

import pytest
from packages.tegata.tests.acceptance.contract import User
from packages.tegata.tests.acceptance.relying_party import Browser, Party, RelyingParty, refusal, s256, success

from .conformance import Op


@pytest.fixture(params=["web", "spa"])
def op(request: pytest.FixtureRequest, party: Party, user: User) -> Op:
    return Op(party("demo", request.param), user, "query")


def test_challenge_is_required(op: Op, browser: Browser) -> None:
    """§4.4.1, RFC 9700 §2.1.1."""
    op.refused(browser, "invalid_request", pkce=False)


def test_plain_is_refused(op: Op, browser: Browser) -> None:
    """§4.4.1, RFC 9700 §2.1.1: the transformation must be S256."""
    op.refused(browser, "invalid_request", code_challenge="v" * 43, code_challenge_method="plain")


def test_method_left_out_means_plain_and_is_refused(op: Op, browser: Browser) -> None:
    """§4.3."""
    op.refused(browser, "invalid_request", code_challenge_method=None)


def test_method_without_challenge_is_refused(op: Op, browser: Browser) -> None:
    """§4.3."""
    op.refused(browser, "invalid_request", pkce=False, code_challenge_method="S256")


@pytest.mark.parametrize("challenge", ["short", "x" * 129, "a" * 42 + "!", "手" * 43])
def test_malformed_challenge_is_refused(op: Op, browser: Browser, challenge: str) -> None:
    """§4.2."""
    op.refused(browser, "invalid_request", code_challenge=challenge)


@pytest.mark.parametrize("changed", ["wrong", "missing", "challenge"])
def test_wrong_verifier_is_refused_and_the_code_is_spent(op: Op, browser: Browser, changed: str) -> None:
    """§4.6. The challenge itself is public, so it must not do as a verifier."""
    attempt = op.attempt()
    landing = browser.sign_in(attempt.url, op.user)
    verifier = {"wrong": "w" * 43, "missing": "", "challenge": attempt.params["code_challenge"]}[changed]
    answer = op.party.redeem(attempt, landing, code_verifier=verifier)
    assert answer.json()["error"] in (
        {"invalid_grant", "invalid_request"} if changed == "missing" else {"invalid_grant"}
    )
    refusal(op.party.redeem(attempt, landing), "invalid_grant")


@pytest.mark.parametrize("length", [43, 128])
def test_shortest_and_longest_verifiers_work(op: Op, browser: Browser, length: int) -> None:
    """§4.1."""
    verifier = secrets.token_urlsafe(120)[:length]
    attempt = op.attempt(code_challenge=s256(verifier))
    landing = browser.sign_in(attempt.url, op.user)
    success(op.party.redeem(attempt, landing, code_verifier=verifier))


def test_metadata_lists_s256_alone(web: RelyingParty) -> None:
    """RFC 8414 §2."""
    assert web.metadata["code_challenge_methods_supported"] == ["S256"]
