"""The authorization code grant: the same redirect URI, the verifier, one word for each refusal (RFC 6749 §4.1.3)."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from tegata.protocol.errors import OAuthError
from tegata.protocol.grants import authorization_code
from tegata.protocol.parameters import Parameters
from tegata.storage.records import TakenCode

URI = "https://rp.example/cb"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
OUTCOMES = get_args(get_type_hints(TakenCode)["outcome"])


def redeem(*, was_sent: bool = True, challenge: str | None = CHALLENGE, **sent: str) -> None:
    authorization_code.check_redemption(
        Parameters(sent.items()), redirect_uri=URI, redirect_uri_was_sent=was_sent, code_challenge=challenge
    )


def test_what_answers_the_authorization_request_is_redeemed() -> None:
    redeem(redirect_uri=URI, code_verifier=VERIFIER)
    redeem(was_sent=False, code_verifier=VERIFIER)
    redeem(was_sent=False, redirect_uri=URI, code_verifier=VERIFIER)
    redeem(challenge=None, redirect_uri=URI)


@pytest.mark.parametrize(
    ("sent", "challenge", "reason"),
    [
        pytest.param({"code_verifier": VERIFIER}, CHALLENGE, "redirect_uri_missing", id="no redirect URI"),
        pytest.param({"redirect_uri": ""}, CHALLENGE, "redirect_uri_missing", id="an empty one"),
        pytest.param(
            {"redirect_uri": URI + "/", "code_verifier": VERIFIER}, CHALLENGE, "redirect_uri_mismatch", id="another"
        ),
        pytest.param({"redirect_uri": URI}, CHALLENGE, "pkce_missing", id="no verifier"),
        pytest.param({"redirect_uri": URI, "code_verifier": ""}, CHALLENGE, "pkce_missing", id="an empty verifier"),
        pytest.param(
            {"redirect_uri": URI, "code_verifier": VERIFIER[::-1]}, CHALLENGE, "pkce_mismatch", id="a wrong one"
        ),
        pytest.param(
            {"redirect_uri": URI, "code_verifier": VERIFIER}, None, "pkce_downgrade", id="a stripped challenge"
        ),
    ],
)
def test_what_does_not_is_refused(sent: dict[str, str], challenge: str | None, reason: str) -> None:
    with pytest.raises(OAuthError) as refused:
        redeem(was_sent=True, challenge=challenge, **sent)
    assert (refused.value.code, refused.value.reason) == ("invalid_grant", reason)


def test_a_redirect_uri_is_compared_even_where_none_was_sent_before() -> None:
    with pytest.raises(OAuthError) as refused:
        redeem(was_sent=False, redirect_uri="https://evil.example/", code_verifier=VERIFIER)
    assert refused.value.reason == "redirect_uri_mismatch"


@pytest.mark.parametrize("outcome", [outcome for outcome in OUTCOMES if outcome != "taken"])
def test_every_outcome_of_the_store_is_an_invalid_grant_with_its_own_reason(outcome: str) -> None:
    error = authorization_code.refusal(outcome)
    assert (error.code, error.status, error.reason) == ("invalid_grant", 400, f"code_{outcome}")


def test_a_foreign_client_learns_no_more_than_of_an_unknown_code() -> None:
    foreign, unknown = (authorization_code.refusal(outcome) for outcome in ("wrong_client", "unknown"))
    assert foreign.description == unknown.description
