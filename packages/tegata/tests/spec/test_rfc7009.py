"""RFC 7009: revocation."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from packages.tegata.tests.acceptance.contract import User
from packages.tegata.tests.acceptance.relying_party import Browser, Party, RelyingParty, refusal, success

Tokens = dict[str, str]


@pytest.fixture
def tokens(web: RelyingParty, browser: Browser, user: User) -> Tokens:
    return web.tokens(browser, user, scope="openid offline_access")


@pytest.mark.parametrize("hint", [{}, {"token_type_hint": "access_token"}, {"token_type_hint": "refresh_token"}])
def test_access_token_is_revoked_whatever_the_hint(web: RelyingParty, tokens: Tokens, hint: Tokens) -> None:
    """§2.1: a wrong hint MUST extend the search."""
    answer = web.post("revocation", {"token": tokens["access_token"]} | hint)
    assert answer.status_code == 200
    assert web.introspect(tokens["access_token"]) == {"active": False}
    assert web.userinfo(tokens["access_token"]).status_code == 401


def test_revoking_the_refresh_token_ends_its_access_tokens(web: RelyingParty, tokens: Tokens) -> None:
    """§2.1: SHOULD also invalidate all access tokens of the grant; Tegata does."""
    assert web.post("revocation", {"token": tokens["refresh_token"]}).status_code == 200
    refusal(web.refresh(tokens["refresh_token"]), "invalid_grant")
    assert web.introspect(tokens["access_token"]) == {"active": False}


def test_unknown_token_is_no_error(web: RelyingParty) -> None:
    """§2.2."""
    assert web.post("revocation", {"token": "unknown"}).status_code == 200


def test_revoking_twice_is_no_error(web: RelyingParty, tokens: Tokens) -> None:
    """§2.2."""
    for _ in range(2):
        assert web.post("revocation", {"token": tokens["refresh_token"]}).status_code == 200


def test_token_of_another_client_survives(web: RelyingParty, party: Party, tokens: Tokens) -> None:
    """§2.1: verify that the token was issued to this client."""
    party("demo", "post").post("revocation", {"token": tokens["refresh_token"]})
    party("demo", "post").post("revocation", {"token": tokens["access_token"]})
    success(web.userinfo(tokens["access_token"]))
    success(web.refresh(tokens["refresh_token"]))


def test_client_must_authenticate(web: RelyingParty, tokens: Tokens) -> None:
    """§2.1."""
    answer = web.http.post(web.endpoint("revocation"), data={"token": tokens["access_token"]})
    assert answer.status_code in {400, 401}
    success(web.userinfo(tokens["access_token"]))


def test_missing_token_is_an_invalid_request(web: RelyingParty) -> None:
    """§2.2.1."""
    refusal(web.post("revocation", {}), "invalid_request")


def test_repeated_token_is_an_invalid_request(web: RelyingParty) -> None:
    """RFC 6749 §3.2."""
    _, headers = web.credentials({})
    headers["content-type"] = "application/x-www-form-urlencoded"
    body = urlencode([("token", "a"), ("token", "b")])
    refusal(web.http.post(web.endpoint("revocation"), content=body, headers=headers), "invalid_request")


def test_get_is_not_allowed(web: RelyingParty) -> None:
    """§2.1: POST."""
    answer = web.http.get(web.endpoint("revocation"), params={"token": "x"})
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]
