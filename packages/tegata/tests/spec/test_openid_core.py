"""OpenID Connect Core 1.0, Discovery 1.0 and RP-Initiated Logout 1.0, beyond what the Foundation's modules ask."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from packages.tegata.tests.acceptance.contract import Dev, Tenant, User
from packages.tegata.tests.acceptance.fixtures import NewBrowser
from packages.tegata.tests.acceptance.pages import Page
from packages.tegata.tests.acceptance.relying_party import Browser, Landing, Party, RelyingParty, success

from .conformance import Op, error_page


@pytest.fixture
def op(web: RelyingParty, user: User) -> Op:
    return Op(web, user, "query")


# Core §3.1.2: authentication request


def test_without_openid_there_is_no_id_token(web: RelyingParty, browser: Browser, user: User) -> None:
    """§3.1.2.1: without the scope openid it is not an OpenID Connect request."""
    assert "id_token" not in web.tokens(browser, user, scope="email")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", "none login"),
        ("prompt", "banana"),
        ("max_age", "soon"),
        ("max_age", "-1"),
        ("display", "banana"),
        ("response_mode", "banana"),
        ("response_mode", "fragment"),
        ("claims", "no json"),
        ("claims", "[]"),
    ],
)
def test_senseless_values_are_invalid_requests(op: Op, browser: Browser, name: str, value: str) -> None:
    """§3.1.2.2, §3.1.2.6."""
    op.refused(browser, "invalid_request", **{name: value})


def test_prompt_none_never_shows_a_page(op: Op, browser: Browser) -> None:
    """§3.1.2.1: with more to consent to than before, the answer is an error or a code, never a question."""
    op.happy(browser, scope="openid")
    landing = browser.visit(op.attempt(scope="openid profile email address phone", prompt="none").url)
    assert isinstance(landing, Landing)
    assert landing.params.get("error", "consent_required") == "consent_required"


def test_prompt_none_with_the_hint_of_somebody_else(web: RelyingParty, new_browser: NewBrowser, demo: Tenant) -> None:
    """§3.1.2.1, §3.1.2.2: the hinted person is not signed in, so login_required."""
    first, second = demo.users[0], demo.users[1]
    hint = web.tokens(new_browser(), first)["id_token"]
    browser = new_browser()
    web.tokens(browser, second)
    landing = browser.visit(web.attempt(prompt="none", id_token_hint=hint).url)
    assert isinstance(landing, Landing)
    assert landing.params["error"] == "login_required"


def test_prompt_select_account_shows_a_choice(op: Op, browser: Browser) -> None:
    """§3.1.2.1."""
    op.happy(browser)
    shown = browser.visit(op.attempt(prompt="select_account").url)
    assert isinstance(shown, Page)
    assert shown.form_with(button="select-continue") is not None
    landing = browser.press(shown, "select-continue")
    assert isinstance(landing, Landing)
    assert "code" in landing.params


def test_prompt_consent_asks_even_if_granted(op: Op, browser: Browser) -> None:
    """§3.1.2.1."""
    op.happy(browser)
    browser.trail.clear()
    op.happy(browser, prompt="consent")
    assert browser.trail == ["consent"]


def test_max_age_zero_is_a_fresh_sign_in(op: Op, browser: Browser) -> None:
    """§3.1.2.1: the same as prompt=login."""
    op.happy(browser)
    browser.trail.clear()
    op.happy(browser, max_age="0")
    assert browser.trail[0] == "sign-in"


def test_max_age_tells_auth_time(op: Op, browser: Browser) -> None:
    """§2, §3.1.2.1: auth_time is required then."""
    assert isinstance(op.happy(browser, max_age="100").claims["auth_time"], int)


def test_claims_parameter_reaches_the_id_token(op: Op, browser: Browser) -> None:
    """§5.5: single claims for the ID token."""
    wanted = json.dumps({"id_token": {"email": None, "auth_time": {"essential": True}}})
    claims = op.happy(browser, claims=wanted).claims
    assert claims["email"]
    assert claims["auth_time"]


def test_essential_acr_that_cannot_be_met_is_refused(op: Op, browser: Browser) -> None:
    """§5.5.1.1."""
    wanted = json.dumps({"id_token": {"acr": {"essential": True, "values": ["urn:nothing-reaches-this"]}}})
    attempt = op.attempt(claims=wanted)
    landing = browser.sign_in(attempt.url, op.user)
    assert landing.params["error"] in {"unmet_authentication_requirements", "access_denied", "interaction_required"}


def test_personal_claims_come_from_userinfo(op: Op, browser: Browser) -> None:
    """§5.4: with an access token, the scopes' claims are at UserInfo and not in the ID token."""
    signed = op.happy(browser, scope="openid email address phone")
    assert not {"email", "address", "phone_number"} & signed.claims.keys()


def test_scopes_that_were_not_asked_release_nothing(op: Op, browser: Browser) -> None:
    """§5.4."""
    signed = op.happy(browser, scope="openid")
    told = success(op.party.userinfo(signed.tokens["access_token"]))
    assert not {"name", "email", "address", "phone_number"} & told.keys()


def test_subject_is_stable_across_sign_ins_and_clients(
    web: RelyingParty, party: Party, new_browser: NewBrowser
) -> None:
    """§2, §8: a public subject never changes."""
    user = web.tenant.users[0]
    subjects = {
        it.verify(it.tokens(new_browser(), user)["id_token"], audience=it.client.client_id)["sub"]
        for it in (web, web, party("demo", "post"))
    }
    assert len(subjects) == 1


def test_refreshed_id_token_keeps_its_facts(op: Op, browser: Browser) -> None:
    """§12.2: iss, sub, aud, auth_time as before; iat new; no nonce or the same."""
    signed = op.happy(browser, scope="openid offline_access")
    again = success(op.party.refresh(signed.tokens["refresh_token"]))
    if "id_token" not in again:
        return
    claims = op.party.verify(again["id_token"], audience=op.party.client.client_id)
    for name in ("iss", "sub", "aud", "auth_time"):
        assert claims[name] == signed.claims[name]
    assert claims.get("nonce", signed.claims["nonce"]) == signed.claims["nonce"]


# Discovery §4, RFC 8414 §3


@pytest.mark.parametrize("tenant_name", ["demo", "other"])
def test_every_well_known_address_says_the_same(dev: Dev, web: RelyingParty, tenant_name: str) -> None:
    """P33: one builder for all of them."""
    issuer = dev.tenant(tenant_name).issuer
    addresses = [
        f"{issuer}/.well-known/openid-configuration",
        f"{dev.base_url}/.well-known/oauth-authorization-server/{tenant_name}",
        f"{dev.base_url}/.well-known/openid-configuration/{tenant_name}",
    ]
    documents = [success(web.http.get(address)) for address in addresses]
    assert documents[0] == documents[1] == documents[2]
    assert documents[0]["issuer"] == issuer


def test_unknown_tenant_is_not_found(dev: Dev, web: RelyingParty) -> None:
    for path in (
        "/nobody/.well-known/openid-configuration",
        "/.well-known/openid-configuration/nobody",
        "/nobody/jwks",
    ):
        assert web.http.get(dev.base_url + path).status_code == 404


def test_metadata_lists_only_what_works(web: RelyingParty) -> None:
    """P36: computed from what is switched on."""
    assert set(web.metadata["grant_types_supported"]) == {"authorization_code", "refresh_token", "client_credentials"}
    assert web.metadata["response_types_supported"] == ["code"]
    methods = {"client_secret_basic", "client_secret_post", "private_key_jwt", "none"}
    assert set(web.metadata["token_endpoint_auth_methods_supported"]) == methods


# RP-Initiated Logout


def test_end_session_takes_post(op: Op, browser: Browser) -> None:
    """RP-Initiated Logout §2: GET and POST."""
    signed = op.happy(browser)
    wanted = op.party.client.post_logout_redirect_uris[0]
    form = {"id_token_hint": signed.tokens["id_token"], "post_logout_redirect_uri": wanted, "state": "x"}
    shown = browser.visit(op.party.endpoint("end_session"), data=form)
    if isinstance(shown, Page):
        shown = browser.press(shown, "logout-approve")
    assert isinstance(shown, Landing)
    assert shown.params == {"state": "x"}


def test_hint_and_client_id_must_agree(op: Op, browser: Browser) -> None:
    """RP-Initiated Logout §2."""
    signed = op.happy(browser)
    query = urlencode({"id_token_hint": signed.tokens["id_token"], "client_id": "demo-post"})
    error_page(browser.visit(op.party.endpoint("end_session") + "?" + query), "invalid_request")
    landing = browser.visit(op.attempt(prompt="none").url)
    assert isinstance(landing, Landing)
    assert "code" in landing.params


def test_expired_or_old_hint_of_the_same_person_still_names_the_client(op: Op, browser: Browser) -> None:
    """RP-Initiated Logout §2: the OP SHOULD accept ID tokens of an earlier session; here one of a sign-in before."""
    old = op.happy(browser).tokens["id_token"]
    op.happy(browser, prompt="login")
    wanted = op.party.client.post_logout_redirect_uris[0]
    query = urlencode({"id_token_hint": old, "post_logout_redirect_uri": wanted})
    shown = browser.visit(op.party.endpoint("end_session") + "?" + query)
    if isinstance(shown, Page):
        shown = browser.press(shown, "logout-approve")
    assert isinstance(shown, Landing)
    assert shown.url.split("?")[0] == wanted


def test_logout_leaves_offline_tokens_alone(op: Op, browser: Browser) -> None:
    """P76: signing out of a browser ends its session; a refresh token with offline_access lives on (Core §11)."""
    signed = op.happy(browser, scope="openid offline_access", prompt="consent")
    shown = browser.visit(
        op.party.endpoint("end_session") + "?" + urlencode({"id_token_hint": signed.tokens["id_token"]})
    )
    assert isinstance(shown, Page)
    if shown.form_with(button="logout-approve"):
        browser.press(shown, "logout-approve")
    success(op.party.refresh(signed.tokens["refresh_token"]))
