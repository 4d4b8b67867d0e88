"""RFC 6750: bearer tokens at UserInfo and at the example API."""

from __future__ import annotations

import pytest
from packages.tegata.tests.acceptance.contract import Dev, User
from packages.tegata.tests.acceptance.relying_party import Browser, Party, RelyingParty, bearer, success


@pytest.fixture
def token(web: RelyingParty, browser: Browser, user: User) -> str:
    return str(web.tokens(browser, user)["access_token"])


def test_missing_token_is_challenged_without_an_error_code(web: RelyingParty) -> None:
    """§3, §3.1: a request without authentication gets no error code."""
    answer = web.http.get(web.endpoint("userinfo"))
    assert answer.status_code == 401
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith("Bearer")
    assert "error=" not in challenge


@pytest.mark.parametrize("broken", ["x", "a.b.c", "A" * 5000, "eyJhbGciOiJub25lIn0.e30."])
def test_broken_tokens_are_invalid_tokens(web: RelyingParty, broken: str) -> None:
    """§3.1."""
    answer = web.userinfo(broken)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("header", ["Bearer", "Bearer a b", "Bearer a,b", "Bearer =", "Basic abc", "abc"])
def test_malformed_headers_are_client_errors(web: RelyingParty, header: str) -> None:
    """§2.1."""
    assert web.http.get(web.endpoint("userinfo"), headers={"authorization": header}).status_code in {400, 401}


def test_scheme_is_case_insensitive(web: RelyingParty, token: str) -> None:
    """RFC 9110 §11.1."""
    success(web.http.get(web.endpoint("userinfo"), headers={"authorization": f"bEARER {token}"}))


def test_token_in_the_query_is_refused(web: RelyingParty, token: str) -> None:
    """§2.3, RFC 9700 §4.3.2: not in an address."""
    answer = web.http.get(web.endpoint("userinfo"), params={"access_token": token})
    assert answer.status_code in {400, 401}


def test_token_sent_twice_is_refused(web: RelyingParty, token: str) -> None:
    """§2: MUST NOT use more than one method; §3.1 makes it 400."""
    answer = web.http.post(web.endpoint("userinfo"), headers=bearer(token), data={"access_token": token})
    assert answer.status_code == 400


def test_id_token_is_no_access_token(web: RelyingParty, browser: Browser, user: User) -> None:
    """RFC 9068 §4, RFC 8725 §3.11."""
    id_token = web.tokens(browser, user)["id_token"]
    assert web.userinfo(id_token).status_code == 401


def test_token_without_openid_has_no_userinfo(party: Party) -> None:
    """OIDC Core §5.3: 403 insufficient_scope, or 401."""
    service = party("demo", "service")
    token = success(service.token(grant_type="client_credentials"))["access_token"]
    answer = service.userinfo(token)
    assert answer.status_code in {401, 403}
    assert "error=" in answer.headers["www-authenticate"]


def test_userinfo_is_not_stored(web: RelyingParty, token: str) -> None:
    """§5.3."""
    assert "no-store" in web.userinfo(token).headers["cache-control"]


def test_scope_decides_at_the_example_api(dev: Dev, web: RelyingParty, browser: Browser, user: User) -> None:
    """§3.1: 403 insufficient_scope, with the scope that is needed."""
    api = dev.base_url + "/example-api/experiments"
    without = web.tokens(browser, user, scope="openid")["access_token"]
    refused = web.http.get(api, headers=bearer(without))
    assert refused.status_code == 403
    assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]
    assert "read" in refused.headers["www-authenticate"]
    granted = web.tokens(browser, user, scope="openid read")["access_token"]
    assert web.http.get(api, headers=bearer(granted)).status_code == 200
    assert web.http.get(api).status_code == 401
