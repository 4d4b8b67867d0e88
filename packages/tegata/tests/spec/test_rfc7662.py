"""RFC 7662: introspection."""

from __future__ import annotations

import pytest
from packages.tegata.tests.acceptance.contract import User
from packages.tegata.tests.acceptance.relying_party import Browser, Party, RelyingParty, refusal, success


def test_active_token_is_described(web: RelyingParty, browser: Browser, user: User) -> None:
    """§2.2."""
    tokens = web.tokens(browser, user, scope="openid email")
    answer = web.post("introspection", {"token": tokens["access_token"]})
    told = success(answer)
    assert told["active"] is True
    assert told["client_id"] == "demo-web"
    assert set(told["scope"].split()) == set(tokens["scope"].split())
    assert told["sub"] == web.verify(tokens["id_token"], audience="demo-web")["sub"]
    assert told["iss"] == web.tenant.issuer
    assert told["exp"] > told["iat"]
    assert "no-store" in answer.headers["cache-control"]


def test_refresh_token_can_be_described_by_its_own_client(web: RelyingParty, browser: Browser, user: User) -> None:
    """§2.1."""
    tokens = web.tokens(browser, user, scope="openid offline_access")
    assert web.introspect(tokens["refresh_token"])["active"] is True


@pytest.mark.parametrize("token", ["x", "A" * 5000, "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "手形"])
def test_anything_else_is_inactive_and_nothing_more(web: RelyingParty, token: str) -> None:
    """§2.2: no more about an inactive token."""
    assert web.introspect(token) == {"active": False}


def test_id_token_is_not_an_active_token(web: RelyingParty, browser: Browser, user: User) -> None:
    """§1.1: the endpoint is about access and refresh tokens."""
    assert web.introspect(web.tokens(browser, user)["id_token"]) == {"active": False}


def test_refresh_token_of_another_client_is_inactive(
    web: RelyingParty, party: Party, browser: Browser, user: User
) -> None:
    """§4: no scanning; a refresh token concerns its own client alone."""
    tokens = web.tokens(browser, user, scope="openid offline_access")
    assert party("demo", "post").introspect(tokens["refresh_token"]) == {"active": False}


def test_caller_must_authenticate(web: RelyingParty, party: Party) -> None:
    """§2.1, §2.3: a public client is nobody in particular."""
    assert web.http.post(web.endpoint("introspection"), data={"token": "x"}).status_code == 401
    spa = party("demo", "spa")
    assert spa.post("introspection", {"token": "x"}).status_code in {401, 403}


def test_missing_token_is_an_invalid_request(web: RelyingParty) -> None:
    """§2.1."""
    refusal(web.post("introspection", {}), "invalid_request")


def test_get_is_not_allowed(web: RelyingParty) -> None:
    """§2.1: POST."""
    answer = web.http.get(web.endpoint("introspection"), params={"token": "x"})
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]
