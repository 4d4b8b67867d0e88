"""RFC 6749: the MUSTs of the authorization and the token endpoint that can be seen from outside."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from packages.tegata.tests.acceptance.contract import User
from packages.tegata.tests.acceptance.relying_party import (
    Browser,
    Landing,
    Party,
    RelyingParty,
    basic,
    refusal,
    success,
)

from .conformance import Op, error_page

CALLBACK = "http://127.0.0.1:9000/callback"


@pytest.fixture
def op(web: RelyingParty, user: User) -> Op:
    return Op(web, user, "query")


# §3.1, §3.1.1, §3.1.2: the authorization endpoint


@pytest.mark.parametrize(
    "redirect_uri",
    [
        CALLBACK + "/",
        CALLBACK + "?a=b",
        CALLBACK + "#fragment",
        CALLBACK + "/../callback",
        "http://127.0.0.1:9001/callback",
        "https://127.0.0.1:9000/callback",
        "http://127.0.0.1:9000/Callback",
        "http://127.0.0.1:9000@evil.example/callback",
        "http://evil.example/callback",
        "//127.0.0.1:9000/callback",
        "javascript:alert(1)",
        "/callback",
        "http://127.0.0.1:9000/callback\r\nX-Injected: 1",
    ],
)
def test_redirect_uri_is_compared_exactly_and_never_followed(op: Op, browser: Browser, redirect_uri: str) -> None:
    """§3.1.2.3, §3.1.2.4, RFC 9700 §2.1."""
    shown = browser.visit(op.attempt(redirect_uri=redirect_uri).url)
    error_page(shown, "invalid_request")


def test_unknown_client_gets_a_page(op: Op, browser: Browser) -> None:
    """§4.1.2.1."""
    page = browser.visit(op.attempt(client_id="nobody").url)
    assert not isinstance(page, Landing)
    assert 400 <= page.status < 500
    assert "client_id" in page.texts["error-description"]


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_repeated_identification_is_refused_on_a_page(op: Op, browser: Browser, name: str) -> None:
    """§3.1: parameters MUST NOT be included more than once; whose answer it would be is unknown."""
    attempt = op.attempt()
    url = attempt.url + "&" + urlencode({name: attempt.params[name]})
    error_page(browser.visit(url), "invalid_request", name)


@pytest.mark.parametrize("name", ["scope", "nonce", "code_challenge", "response_type", "prompt"])
def test_other_repeated_parameters_are_refused_at_the_client(op: Op, browser: Browser, name: str) -> None:
    """§3.1."""
    attempt = op.attempt(**({"prompt": "login"} if name == "prompt" else {}))
    landing = browser.visit(attempt.url + "&" + urlencode({name: attempt.params[name]}))
    assert isinstance(landing, Landing)
    assert landing.params["error"] == "invalid_request"
    assert landing.params["state"] == attempt.state


@pytest.mark.parametrize("response_type", ["token", "id_token", "code token", "banana"])
def test_other_response_types_are_unsupported(op: Op, browser: Browser, response_type: str) -> None:
    """§3.1.1, §4.1.2.1; RFC 9700 §2.1.2 has no implicit grant."""
    op.refused(browser, "unsupported_response_type", response_type=response_type)


def test_missing_response_type_is_an_invalid_request(op: Op, browser: Browser) -> None:
    """§3.1.1."""
    op.refused(browser, "invalid_request", response_type=None)


def test_state_comes_back_exactly(op: Op, browser: Browser) -> None:
    """§4.1.2: the exact value received."""
    state = "a b+c%20d&e=f/手形?\"'<script>"
    assert op.happy(browser, state=state).landing.params["state"] == state


def test_absent_state_stays_absent(op: Op, browser: Browser) -> None:
    """§4.1.2."""
    assert "state" not in op.happy(browser, state=None).landing.params


def test_denial_is_told_to_the_client(op: Op, browser: Browser) -> None:
    """§4.1.2.1."""
    attempt = op.attempt(prompt="consent")
    landing = browser.sign_in(attempt.url, op.user, decision="deny")
    op.check_answer(attempt, landing)
    assert landing.params["error"] == "access_denied"


def test_empty_parameters_count_as_absent(op: Op, browser: Browser) -> None:
    """§3.1."""
    op.happy(browser, prompt="", display="", max_age="")


def test_unknown_scope_is_refused_or_left_out_and_never_granted(op: Op, browser: Browser) -> None:
    """§3.3: a scope that differs from the asked one MUST be told."""
    attempt = op.attempt(scope="openid not-a-scope")
    landing = browser.sign_in(attempt.url, op.user)
    if "error" in landing.params:
        assert landing.params["error"] == "invalid_scope"
    else:
        assert "not-a-scope" not in success(op.party.redeem(attempt, landing))["scope"].split()


def test_client_without_the_code_grant_is_unauthorized(party: Party, browser: Browser) -> None:
    """§4.1.2.1: `unauthorized_client`, or a page if the client has no redirect URI to answer to."""
    shown = browser.visit(party("demo", "service").attempt(redirect_uri=CALLBACK).url)
    if isinstance(shown, Landing):
        assert shown.params["error"] == "unauthorized_client"
    else:
        error_page(shown, "invalid_request")


# §2.3, §3.2: authentication at the token endpoint


def test_wrong_secret_is_challenged(web: RelyingParty) -> None:
    """§5.2: 401 with WWW-Authenticate that matches the scheme the client used."""
    answer = web.http.post(
        web.endpoint("token"),
        data={"grant_type": "client_credentials"},
        headers={"authorization": basic("demo-web", "wrong")},
    )
    refusal(answer, "invalid_client", 401)
    assert answer.headers["www-authenticate"].lower().startswith("basic")


@pytest.mark.parametrize(
    "authorization",
    ["Basic", "Basic !!!", "Basic ZGVtbw==", "Basic Og==", "Bearer abc", "Digest x", "Basic " + "A" * 9000],
)
def test_broken_authorization_headers_are_client_errors(web: RelyingParty, authorization: str) -> None:
    """§5.2."""
    answer = web.http.post(
        web.endpoint("token"), data={"grant_type": "client_credentials"}, headers={"authorization": authorization}
    )
    assert answer.status_code in {400, 401, 431}
    if answer.status_code != 431:
        assert answer.json()["error"] in {"invalid_client", "invalid_request"}


def test_two_ways_of_authentication_at_once_are_refused(web: RelyingParty) -> None:
    """§2.3: MUST NOT use more than one authentication method in each request."""
    form = {
        "grant_type": "client_credentials",
        "client_id": "demo-web",
        "client_secret": web.client.client_secret or "",
    }
    answer = web.http.post(
        web.endpoint("token"), data=form, headers={"authorization": basic("demo-web", web.client.client_secret or "")}
    )
    assert answer.status_code in {400, 401}
    assert answer.json()["error"] in {"invalid_request", "invalid_client"}


@pytest.mark.parametrize(("suffix", "wrong"), [("web", "client_secret_post"), ("post", "client_secret_basic")])
def test_client_must_use_its_registered_method(party: Party, suffix: str, wrong: str) -> None:
    """§2.3.1, OIDC Registration §2."""
    it = party("demo", suffix)
    form, secret = {"grant_type": "refresh_token", "refresh_token": "x"}, it.client.client_secret or ""
    if wrong == "client_secret_post":
        answer = it.http.post(
            it.endpoint("token"), data=form | {"client_id": it.client.client_id, "client_secret": secret}
        )
    else:
        headers = {"authorization": basic(it.client.client_id, secret)}
        answer = it.http.post(it.endpoint("token"), data=form, headers=headers)
    refusal(answer, "invalid_client", 401)


def test_confidential_client_cannot_pose_as_public(web: RelyingParty, op: Op, browser: Browser) -> None:
    """§3.2.1, §4.1.3: a confidential client MUST authenticate."""
    attempt = op.attempt()
    landing = browser.sign_in(attempt.url, op.user)
    form = {
        "grant_type": "authorization_code",
        "code": landing.code,
        "redirect_uri": attempt.redirect_uri,
        "client_id": "demo-web",
        "code_verifier": attempt.verifier or "",
    }
    refusal(web.http.post(web.endpoint("token"), data=form), "invalid_client", 401)


def test_client_id_in_the_body_must_match_the_authenticated_client(web: RelyingParty) -> None:
    """§3.2.1."""
    answer = web.token(grant_type="client_credentials", client_id="demo-post")
    assert answer.status_code in {400, 401}


# §4.1.3, §5.1, §5.2: codes and errors


def test_code_of_another_client_is_refused(op: Op, browser: Browser, party: Party) -> None:
    """§4.1.3."""
    attempt = op.attempt()
    landing = browser.sign_in(attempt.url, op.user)
    refusal(party("demo", "post").redeem(attempt, landing), "invalid_grant")


@pytest.mark.parametrize("redirect_uri", ["http://localhost:9000/callback", "http://127.0.0.1:9000/other"])
def test_redirect_uri_must_be_the_one_of_the_request(op: Op, browser: Browser, redirect_uri: str) -> None:
    """§4.1.3: identical values."""
    attempt = op.attempt(redirect_uri=CALLBACK)
    landing = browser.sign_in(attempt.url, op.user)
    refusal(op.party.redeem(attempt, landing, redirect_uri=redirect_uri), "invalid_grant")


@pytest.mark.parametrize("code", ["x", "A" * 43, "A" * 4000, "手形", "'; DROP TABLE codes; --"])
def test_unknown_codes_are_invalid_grants(web: RelyingParty, code: str) -> None:
    """§5.2."""
    answer = web.token(grant_type="authorization_code", code=code, redirect_uri=CALLBACK, code_verifier="v" * 43)
    refusal(answer, "invalid_grant")


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "invalid_request"),
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "password", "username": "a", "password": "b"}, "unsupported_grant_type"),
        ({"grant_type": "banana"}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code"}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "unknown"}, "invalid_grant"),
        ({"grant_type": "client_credentials"}, "unauthorized_client"),
    ],
)
def test_each_mistake_has_its_error(web: RelyingParty, form: dict[str, str], error: str) -> None:
    """§5.2: 400, JSON, not stored."""
    answer = web.post("token", form)
    refusal(answer, error)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("name", ["grant_type", "scope", "refresh_token"])
def test_repeated_token_parameters_are_refused(web: RelyingParty, name: str) -> None:
    """§3.2, P31."""
    form = {"grant_type": "refresh_token", "refresh_token": "x", "scope": "openid"}
    _, headers = web.credentials({})
    headers["content-type"] = "application/x-www-form-urlencoded"
    body = urlencode([*form.items(), (name, form[name])])
    refusal(web.http.post(web.endpoint("token"), content=body, headers=headers), "invalid_request")


def test_parameters_of_the_query_are_not_read(web: RelyingParty) -> None:
    """§3.2, §2.3.1: parameters belong into the body."""
    _, headers = web.credentials({})
    answer = web.http.post(web.endpoint("token") + "?grant_type=client_credentials", data={}, headers=headers)
    refusal(answer, "invalid_request")


def test_token_endpoint_takes_post_alone(web: RelyingParty) -> None:
    """§3.2."""
    answer = web.http.get(web.endpoint("token"))
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]


# §4.4, §6


def test_client_credentials_have_no_refresh_token(party: Party) -> None:
    """§4.4.3."""
    document = success(party("demo", "service").token(grant_type="client_credentials"))
    assert "refresh_token" not in document
    assert "id_token" not in document


def test_client_credentials_scope_cannot_exceed_the_clients(party: Party) -> None:
    """§3.3, §4.4.2."""
    answer = party("demo", "service").token(grant_type="client_credentials", scope="openid everything")
    refusal(answer, "invalid_scope")


def test_refresh_may_narrow_and_never_widen(op: Op, browser: Browser) -> None:
    """§6."""
    signed = op.happy(browser, scope="openid email offline_access")
    refresh_token = signed.tokens["refresh_token"]
    refusal(op.party.refresh(refresh_token, scope="openid email profile offline_access"), "invalid_scope")
    narrowed = success(op.party.refresh(refresh_token, scope="openid"))
    assert narrowed["scope"].split() == ["openid"]


def test_refusals_do_not_quote_what_was_sent(web: RelyingParty) -> None:
    """§5.2 limits the description's characters; a reflected value would also be a gift to attackers."""
    marker = "canary-<script>alert(1)</script>"
    for form in ({"grant_type": marker}, {"grant_type": "authorization_code", "code": marker, "redirect_uri": marker}):
        assert "canary" not in web.post("token", form).text
